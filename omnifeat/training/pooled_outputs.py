"""Pooled outputs of a query transformer that is not trained, kept for other trainings on the same queries."""

import hashlib
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from omnifeat.data.artefacts import LibraryCall, regular_file
from omnifeat.data.files import replace_when_whole
from omnifeat.errors import DataError
from omnifeat.models.pieces import Pieces
from omnifeat.models.query import QueryEncoder
from omnifeat.models.query_table import QueryTable

__all__ = ["PooledOutputs"]


class PooledOutputs:
    """A folder of pooled outputs, each file those of one table of queries by one transformer.

    A file is named by a digest of the transformer's weights, of how it pools and of the word pieces: another
    transformer, or other queries, never find it. Outputs are float32, as they were first made.

    Parameters
    ----------
    folder
        Made when the first outputs are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, table: QueryTable, encoder: QueryEncoder, device: torch.device) -> QueryTable:
        """The table with its pooled outputs: read where they were kept, else made and kept.

        Raises
        ------
        OutputError
            The folder cannot be written.
        DataError
            A file of the folder does not hold what was kept there.
        """
        pieces = table.pieces
        if pieces is None:
            return table
        path = self._folder / f"pooled-{_digest(pieces, encoder)}.safetensors"
        if path.exists():
            remedy = "remove it, and it is made again"
            regular_file(path, remedy=remedy)
            with LibraryCall(f"{path} cannot be read", remedy=remedy):
                pooled = load_file(path)["pooled"]
            shape = (len(table), encoder.projection.in_features)
            if pooled.shape != shape or pooled.dtype != torch.float32 or not pooled.isfinite().all():
                raise DataError(f"{path} does not hold finite outputs of shape {list(shape)}; {remedy}.")
            return table.having_pooled(pooled)
        found = table.with_pooled(encoder, device)
        if found.pooled is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            with replace_when_whole(path) as partial:
                save_file({"pooled": found.pooled}, partial)
        return found


def _digest(pieces: Pieces, encoder: QueryEncoder) -> str:
    digest = hashlib.sha256(encoder.pooling.encode())
    for name, weight in sorted(encoder.backbone.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    for array in (pieces.offsets, pieces.ids):
        digest.update(array.tobytes())
    return digest.hexdigest()[:24]
