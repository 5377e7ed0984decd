"""Compatibility encoders: fixed maps that bring existing embeddings to the queries' width (section 3.4.3).

Shape legend: B entities, W width of the existing embedding, D width of the query embedding.
"""

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["FixedProjection", "semi_orthogonal"]


def semi_orthogonal(rows: int, columns: int, seed: int) -> Tensor:
    """Seeded random matrix `(rows, columns)` float32 whose shorter side is orthonormal; the identity if square."""
    if rows == columns:
        return torch.eye(rows)
    tall = np.random.default_rng(seed).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    # QR leaves signs open; fixing them makes the matrix the same whatever library computes it
    q = q * np.sign(np.diag(r))
    matrix = q if rows > columns else q.T
    return torch.from_numpy(np.ascontiguousarray(matrix, dtype=np.float32))


class FixedProjection(nn.Module):
    """Existing embedding `(B, width)` -> `(B, dim)` of unit length; a zero vector stays zero. Nothing is learned.

    Where `width == dim` it is the identity, and where `width < dim` an isometry: the cosine of two mapped vectors is
    the cosine of the two originals, so that queries learn the existing space itself. Where `width > dim` a
    semi-orthogonal projection keeps cosines only roughly. The matrix is seeded and stored with the weights.
    """

    matrix: Tensor  # (D, W)

    def __init__(self, width: int, dim: int, *, seed: int = 0) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("matrix", semi_orthogonal(dim, width, seed))

    def forward(self, vectors_BW: Tensor) -> Tensor:
        """Map and normalise: `(B, width)` -> `(B, dim)`."""
        projected_BD = nn.functional.linear(vectors_BW, self.matrix)
        return nn.functional.normalize(projected_BD, dim=-1)
