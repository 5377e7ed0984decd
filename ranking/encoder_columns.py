"""Cosine columns of pairs with a catalogue whose vectors stay in memory: `omnifeat.featurize` for serving.

`omnifeat.featurize` reads a table of pairs twice to encode what it names. A ranker that answers queries has the
catalogue encoded beforehand and meets queries one at a time. Both take their vectors from `PairVectors` and their
columns from `omnifeat.feature_columns`.

Shape suffixes: N entities of the catalogue, Q queries with a vector, D dim, P pairs.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.embedding_table import EmbeddingTable
from omnifeat.entity_sources import EntitySource
from omnifeat.feature_columns import ENGAGED
from omnifeat.frozen import FrozenEncoder
from omnifeat.keys import KeyIndex, as_strings
from omnifeat.pair_vectors import PairVectors, Progress
from omnifeat.scratch import Scratch
from omnifeat.text.normalise import normalise

__all__ = ["EncoderColumns"]

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


class EncoderColumns:
    """The cosine columns of one encoder.

    Queries that were met are kept, `room` of them beside the engaged queries; when it is full it is emptied.

    Parameters
    ----------
    prefix
        Put before the names of the columns.
    ids, types
        Of the N entities of the catalogue, in the order of their rows.
    wanted
        Rows of the catalogue to encode; all if None. Pairs with others have nulls.
    """

    def __init__(
        self,
        encoder: FrozenEncoder,
        prefix: str,
        sources: Sequence[EntitySource],
        ids: pa.LargeStringArray,
        types: pa.LargeStringArray,
        *,
        wanted: Int64 | None,
        tables: Sequence[EmbeddingTable],
        leave_out_own_query: bool,
        room: int,
        scratch: Scratch,
        threads: int,
        progress: Progress,
    ) -> None:
        self.encoder, self.prefix = encoder, prefix
        self._threads = threads
        vectors = PairVectors(encoder, scratch, threads=threads, progress=progress)
        rows = np.arange(len(ids)) if wanted is None else wanted
        taken = pa.array(rows)
        vectors.number(pa.nulls(len(rows), pa.large_string()), ids.take(taken), types.take(taken))
        self._row_of: Int32 = np.full(len(ids) + 1, -1, dtype=np.int32)  # the last is for row -1
        self._row_of[rows] = np.arange(len(rows), dtype=np.int32)
        vectors.read_ids(sources)
        vectors.look_up(tables)
        vectors.encode(sources, vectors.blank_queries())
        self._vectors = vectors
        present = {name for source in sources for name in source.schema.names}
        self._engaged_queries = len(vectors.queries)
        self._room = room
        # the engaged queries' vectors first, then those of queries that are met
        engaged = vectors.query_vectors
        self._queries_QD = scratch.matrix(self._engaged_queries + room, encoder.dim)
        self._queries_QD[: len(engaged)] = engaged
        self._norms_QW = np.zeros((len(self._queries_QD), vectors.query_norms.shape[1]), dtype=np.float32)
        self._norms_QW[: len(engaged)] = vectors.query_norms
        vectors.query_vectors = self._queries_QD[:0]
        self._whole = len(vectors.widths) - 1
        self._whole_norms = np.ascontiguousarray(self._norms_QW[:, self._whole])
        self._texts = KeyIndex()
        self._text_of: Int64 = np.full(len(self._queries_QD) if leave_out_own_query else 0, -1, dtype=np.int64)
        if leave_out_own_query and self._engaged_queries:
            texts = normalise(vectors.queries.strings())
            self._text_of[: self._engaged_queries] = self._texts.intern(as_strings(texts, ENGAGED))
        self._met: dict[str, int] = {}
        # the matrices of queries are filled in place as queries are met
        self._columns = replace(
            vectors.columns(engaged=ENGAGED in present, leave_out=self._text_of if len(self._text_of) else None),
            queries=self._queries_QD,
            query_norms=self._norms_QW,
            whole_query_norms=self._whole_norms,
        )

    @property
    def names(self) -> list[str]:
        """Names of the columns, in their order, with the prefix."""
        return [self.prefix + name for name in self._columns.names]

    def columns(self, queries: pa.LargeStringArray, query_rows_P: Int32, entity_rows_P: Int32) -> list[Float32]:
        """The columns of pairs, float32 (P,) each, in the order of `names`; NaN where there is no cosine.

        Parameters
        ----------
        queries
            Distinct query texts, as they were given, at most `room`; none null or blank.
        query_rows_P, entity_rows_P
            Rows of `queries` and of the catalogue, -1 for none.
        """
        slots = np.append(self._slots(queries), np.int32(-1))
        return self._columns.of(slots[query_rows_P], self._row_of[entity_rows_P])

    def _slots(self, queries: pa.LargeStringArray) -> Int32:
        """The rows of the queries' vectors; what has none is encoded."""
        slots = self._vectors.queries.find(queries)
        new = np.flatnonzero(slots < 0)
        if not len(new):
            return slots
        texts = queries.take(pa.array(new)).to_pylist()
        missing = [text for text in texts if text not in self._met]
        if len(self._met) + len(missing) > self._room:
            self._met, missing = {}, texts
        if missing:
            first = self._engaged_queries + len(self._met)
            where = slice(first, first + len(missing))
            encoded = self.encoder.encode_queries(missing)
            self._queries_QD[where] = encoded
            self._norms_QW[where] = self._vectors.norms(encoded)
            self._whole_norms[where] = self._norms_QW[where, self._whole]
            if len(self._text_of):
                self._text_of[where] = self._texts.find(as_strings(normalise(pa.array(missing)), "query"))
            self._met |= {text: first + place for place, text in enumerate(missing)}
        slots[new] = [self._met[text] for text in texts]
        return slots


def is_blank(texts: pa.Array) -> npt.NDArray[np.bool_]:
    """Which texts are null, empty or white space."""
    trimmed = pc.utf8_trim_whitespace(texts)
    return np.asarray(pc.fill_null(pc.equal(trimmed, ""), True).to_numpy(zero_copy_only=False), dtype=np.bool_)
