"""Query embeddings taken from tables that `omnifeat embed --queries` wrote, and encoded only where they lack one."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.text_lists import text_list
from omnifeat.embedding_table import EmbeddingTable
from omnifeat.errors import DataError
from omnifeat.frozen import FrozenEncoder

__all__ = ["KnownQueries"]

Float32 = npt.NDArray[np.float32]


class KnownQueries:
    """Encodes queries as `encoder` does, taking what stands in `tables` from there.

    Parameters
    ----------
    encoder
        The encoder that made the tables.
    tables
        Paths of embedding tables of queries.
    name
        What messages call the encoder.

    Raises
    ------
    DataError
        If a file is no embedding table of queries.
    FingerprintError
        If another encoder made it.
    """

    def __init__(self, encoder: FrozenEncoder, tables: Sequence[str], name: str = "the encoder") -> None:
        self._encoder = encoder
        self._tables = [EmbeddingTable.open(path) for path in tables]
        for table in self._tables:
            table.check_encoder(name, encoder.fingerprint, encoder.dim)
            if table.kind != "queries":
                raise DataError(f"{table.path} holds embeddings of {table.kind}; give a table of queries.")

    @property
    def fingerprint(self) -> str:
        """The encoder's."""
        return self._encoder.fingerprint

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        return self._encoder.dim

    def encode_queries(self, texts: Sequence[str]) -> Float32:
        """Embeddings float32 `(len(texts), dim)` of unit length; raises what reading a table and encoding raise."""
        texts = text_list(texts)
        distinct = list(dict.fromkeys(texts))
        wanted = pa.array(distinct, pa.large_string())
        vectors = np.empty((len(distinct), self._encoder.dim), np.float32)
        known = np.zeros(len(distinct), np.bool_)
        for table in self._tables:
            for batch in table.batches():
                places = pc.index_in(batch.keys, wanted)
                rows = np.flatnonzero(places.is_valid().to_numpy(zero_copy_only=False))
                into = places.drop_null().to_numpy()
                vectors[into], known[into] = batch.vectors[rows], True
        unknown = np.flatnonzero(~known)
        if len(unknown):
            vectors[unknown] = self._encoder.encode_queries([distinct[row] for row in unknown])
        place = {text: row for row, text in enumerate(distinct)}
        return vectors[[place[text] for text in texts]]
