"""Bags of hashed tokens: 2-hash embeddings with learned importance weights (section 3.4.2).

Shape legend: T tokens of a batch, B bags, V vocabulary, H hashes, R table rows, D embedding width.
"""

import numpy as np
import torch
from torch import Tensor, nn

from omnifeat.models.hashed_bags import hashed_bag_sums

__all__ = ["HashEmbedding", "hash_rows", "plain_bag_sums"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(values: np.ndarray) -> np.ndarray:
    """Finalizer of splitmix64: a bijection of uint64 that spreads neighbouring numbers."""
    mixed = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def hash_rows(vocabulary: int, rows: int, hashes: int, seed: int) -> np.ndarray:
    """Table rows of every token id under every hash function: `(vocabulary, hashes)` int32, values in `[0, rows)`.

    Hash function k takes id i to `mix(i + mix(seed + (k + 1) * golden)) mod rows` in 64-bit arithmetic, `mix` being
    splitmix64's finalizer. It depends on nothing but its arguments: not on the process, the platform or the library.
    """
    with np.errstate(over="ignore"):
        ids_V = np.arange(vocabulary, dtype=np.uint64)
        starts_H = _mix(np.uint64(seed) + np.arange(1, hashes + 1, dtype=np.uint64) * _GOLDEN)
        mixed_VH = _mix(ids_V[:, None] * _GOLDEN + starts_H[None, :])
    return (mixed_VH % np.uint64(rows)).astype(np.int32)


def plain_bag_sums(table: Tensor, importance: Tensor, token_rows: Tensor, ids: Tensor, offsets: Tensor) -> Tensor:
    """`omnifeat.models.hashed_bags.hashed_bag_sums` by torch's own operations, for any device and type of number."""
    ids_T = ids.long()
    rows_TH = token_rows.index_select(0, ids_T)
    # embedding instead of indexing: its backward adds up repeated ids far faster on CPU
    weights_TH = nn.functional.embedding(ids_T, importance)
    sums_BD: Tensor = nn.functional.embedding_bag(
        rows_TH.reshape(-1).long(),
        table,
        offsets.long() * token_rows.shape[1],
        mode="sum",
        per_sample_weights=weights_TH.reshape(-1),
        include_last_offset=True,
    )
    return sums_BD


class HashEmbedding(nn.Module):
    """Sum over a bag of `w1[i] * E[h1(i)] + w2[i] * E[h2(i)]`, for each token i.

    Each token id is hashed to `hashes` rows of one table `E`; its weights, one per hash, are learned. So a vocabulary
    of 1.26 million tokens needs a table of 100,000 rows, and tokens that share one row seldom share both.

    Parameters
    ----------
    vocabulary
        Number of token ids.
    rows, dim
        Shape of the table.
    hashes, seed
        Number of hash functions and the seed that they derive from.
    pooling
        `"sum"`, `"mean"` (over the number of tokens) or `"sqrt"` (sum over the root of the number of tokens).
    """

    token_rows: Tensor  # (V, H)

    def __init__(
        self,
        vocabulary: int,
        rows: int,
        dim: int,
        *,
        hashes: int = 2,
        pooling: str = "sum",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.hashes = hashes
        self.pooling = pooling
        self.dim = dim
        # recomputed from the settings at every start, so it isn't stored with the weights
        self.register_buffer(
            "token_rows", torch.from_numpy(hash_rows(vocabulary, rows, hashes, seed)), persistent=False
        )
        self.table = nn.Parameter(torch.empty(rows, dim))
        self.importance = nn.Parameter(torch.empty(vocabulary, hashes))
        # Sums of a smaller start the layers after them have to blow up first.
        # The weights start so that a token's variance is the table's.
        nn.init.normal_(self.table, std=0.02)
        nn.init.constant_(self.importance, hashes**-0.5)

    def forward(self, ids_T: Tensor, offsets_B1: Tensor) -> Tensor:
        """Embeddings of the bags: float `(B, dim)`; an empty bag is zero.

        Parameters
        ----------
        ids_T
            Token ids of all bags, one bag after another: integers `(T,)`.
        offsets_B1
            Bag b holds `ids_T[offsets_B1[b]:offsets_B1[b + 1]]`: int64 `(B + 1,)`.
        """
        compiled = self.table.device.type == "cpu" and self.table.dtype == torch.float32
        sums = hashed_bag_sums if compiled else plain_bag_sums
        sums_BD = sums(self.table, self.importance, self.token_rows, ids_T, offsets_B1)
        if self.pooling == "sum":
            return sums_BD
        counts_B1 = (offsets_B1[1:] - offsets_B1[:-1]).clamp(min=1).to(sums_BD.dtype).unsqueeze(1)
        return sums_BD / (counts_B1 if self.pooling == "mean" else counts_B1.sqrt())
