"""Retrieval by tokens and by embeddings, exact or from an index, and results that are kept between stacks.

Shape suffixes: N entities of a retriever, Q queries, B queries of a block, K candidates, D width.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.errors import DataError, SettingError
from omnifeat.retrieval.hnsw import HnswIndex
from omnifeat.retrieval.lexical import LexicalScorer
from ranking.stack.parts import ABSENT, Candidates, Catalogue, IntArray, Retriever

__all__ = ["EmbeddingRetriever", "IndexRetriever", "Remembered", "TokenRetriever"]

Float32 = npt.NDArray[np.float32]

_BLOCK_BYTES = 64 * 1024 * 1024


class TokenRetriever:
    """Token-based retrieval: the entities of the highest scores, of those that share a token with the query.

    Parameters
    ----------
    name
        As a trace names it.
    scorer
        A fitted scorer of N texts.
    rows : int64 (N,)
        Rows of the catalogue that the texts are of.
    k
        Candidates of a query, at most.

    Raises
    ------
    SettingError
        If `k` is below one, or the scorer has another number of texts than there are rows.
    """

    def __init__(self, name: str, scorer: LexicalScorer, rows: IntArray, k: int) -> None:
        _check(name, k, scorer.size, len(rows))
        self.name = name
        self._scorer, self._rows, self._k = scorer, rows, k

    def retrieve(self, queries: Sequence[str]) -> Candidates:
        """The best entities of each query by (-score, row); those with a score of zero are not found."""
        found = _empty(len(queries), self._k)
        for start, scores_BN in self._scorer.score_blocks(list(queries), _BLOCK_BYTES):
            _best(scores_BN, self._rows, start, found, positive=True)
        return found


class EmbeddingRetriever:
    """Retrieval by the cosine of query and entity embeddings, exact.

    Parameters
    ----------
    name
        As a trace names it.
    encode_queries
        Unit vectors float32 (Q, D) of query texts, of the encoder that the entities' vectors come from.
    vectors : float32 (N, D)
        Of the entities; one that is zero tells nothing, and its entity is never found.
    rows : int64 (N,)
        Rows of the catalogue that the vectors are of.
    k
        Candidates of a query, at most.

    Raises
    ------
    SettingError
        If `k` is below one, or there is another number of vectors than rows.
    """

    def __init__(
        self, name: str, encode_queries: Callable[[Sequence[str]], Float32], vectors: Float32, rows: IntArray, k: int
    ) -> None:
        _check(name, k, len(vectors), len(rows))
        self.name = name
        there = (vectors != 0).any(axis=1)
        self._vectors_ND: Float32 = vectors if there.all() else vectors[there]
        self._rows: IntArray = rows if there.all() else rows[there]
        self._encode, self._k = encode_queries, k

    def retrieve(self, queries: Sequence[str]) -> Candidates:
        """The nearest entities of each query by (-cosine, row)."""
        found = _empty(len(queries), self._k)
        if not len(queries):
            return found
        vectors_QD = self._encode(queries)
        size = max(1, _BLOCK_BYTES // max(1, 4 * len(self._rows)))
        for start in range(0, len(queries), size):
            _best(vectors_QD[start : start + size] @ self._vectors_ND.T, self._rows, start, found, positive=False)
        return found


class IndexRetriever:
    """Retrieval from a graph of embeddings (HNSW, section 5), or exactly where the index has none.

    Parameters
    ----------
    name
        As a trace names it.
    encode_queries
        Unit vectors float32 (Q, D) of query texts, of the index's encoder.
    index
        Entities with ids and types.
    catalogue
        Holds all entities of the index.
    k
        Candidates of a query, at most.

    Raises
    ------
    SettingError
        If `k` is below one.
    DataError
        If an entity of the index is not in the catalogue, or the index does not say its types.
    """

    def __init__(
        self,
        name: str,
        encode_queries: Callable[[Sequence[str]], Float32],
        index: HnswIndex,
        catalogue: Catalogue,
        k: int,
    ) -> None:
        _check(name, k, 0, 0)
        if index.types is None:
            raise DataError(
                f"the index of retriever '{name}' does not say which entities are pins; build it with types"
            )
        self.name = name
        pairs = pa.table({"entity_id": index.ids.cast(pa.string()), "entity_type": index.types.cast(pa.string())})
        self._rows = catalogue.find(pairs)
        self._encode, self._index, self._k = encode_queries, index, k

    def retrieve(self, queries: Sequence[str]) -> Candidates:
        """The nearest entities that the index finds, by (-cosine, id)."""
        found = _empty(len(queries), self._k)
        if len(queries):
            hits = self._index.search(self._encode(queries), self._k)
            found.rows[hits.query_rows, hits.ranks - 1] = self._rows[hits.rows]
            found.scores[hits.query_rows, hits.ranks - 1] = hits.scores
        return found


class Remembered:
    """A retriever whose results are kept, query by query: for stacks that differ elsewhere."""

    def __init__(self, retriever: Retriever) -> None:
        self.retriever = retriever
        self._kept: dict[str, tuple[IntArray, Float32]] = {}

    @property
    def name(self) -> str:
        """The retriever's own."""
        return self.retriever.name

    def retrieve(self, queries: Sequence[str]) -> Candidates:
        """What the retriever finds; it is asked only for queries that were not asked before."""
        new = [query for query in dict.fromkeys(queries) if query not in self._kept]
        if new:
            found = self.retriever.retrieve(new)
            self._kept |= {query: (found.rows[row], found.scores[row]) for row, query in enumerate(new)}
        kept = [self._kept[query] for query in queries]
        if not kept:
            return _empty(0, 1)
        return Candidates(np.stack([rows for rows, _ in kept]), np.stack([scores for _, scores in kept]))


def _check(name: str, k: int, texts: int, rows: int) -> None:
    if k < 1:
        raise SettingError(f"retriever '{name}' must find 1 candidate or more, got {k}")
    if texts != rows:
        raise SettingError(f"retriever '{name}' has {texts} entities for {rows} rows of the catalogue")


def _empty(queries: int, k: int) -> Candidates:
    return Candidates(np.full((queries, k), ABSENT, np.int64), np.full((queries, k), np.nan, np.float32))


def _best(scores_BN: Float32, rows_N: IntArray, start: int, found: Candidates, *, positive: bool) -> None:
    k = found.rows.shape[1]
    for place, of_query in enumerate(scores_BN, start):
        candidates = np.flatnonzero(of_query > 0) if positive else np.arange(len(of_query))
        if len(candidates) > k:
            # all that reach the k-th score, so that rows decide among equals at the border
            known = of_query[candidates]
            candidates = candidates[known >= np.partition(known, len(known) - k)[len(known) - k]]
        order = np.lexsort((rows_N[candidates], -of_query[candidates]))[:k]
        chosen = candidates[order]
        found.rows[place, : len(chosen)] = rows_N[chosen]
        found.scores[place, : len(chosen)] = of_query[chosen]
