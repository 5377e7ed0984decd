"""What a search stack returns: the list of each query, how each result got its place, and what the stages took.

Shape suffixes: n results of all queries, R retrievers, Q queries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.errors import SettingError
from ranking.stack.parts import ABSENT, Catalogue, FloatArray, IntArray

__all__ = ["STAGES", "Result", "SearchResults"]

STAGES = ("retrieval", "l1", "l2", "blending")


@dataclass(frozen=True, kw_only=True)
class Result:
    """One result and how it got its place. Ranks and places begin at 1.

    Attributes
    ----------
    query, entity_id, entity_type
        The pair.
    place
        On the page.
    retrieved
        Retriever -> rank and score, of those that found it.
    l1_rank, l1_score
        Among the query's candidates of its type; 0 and NaN where the stack has no L1.
    l2_rank, l2_score
        Among the query's candidates of its type that L1 kept, by utility.
    relevance
        Expected grade; NaN where the stack has no relevance model.
    utility
        By which it was blended.
    """

    query: str
    entity_id: str
    entity_type: str
    place: int
    retrieved: Mapping[str, tuple[int, float]]
    l1_rank: int
    l1_score: float
    l2_rank: int
    l2_score: float
    relevance: float
    utility: float

    def explain(self) -> str:
        """The same as a line of text."""
        found = ", ".join(f"{name} rank {rank} ({score:.3f})" for name, (rank, score) in self.retrieved.items())
        light = "" if self.l1_rank == 0 else f"; L1 rank {self.l1_rank} ({self.l1_score:.3f})"
        relevance = "" if np.isnan(self.relevance) else f"; relevance {self.relevance:.2f}"
        return (
            f"{self.place}. {self.entity_type} {self.entity_id}: {found}{light}{relevance}; "
            f"L2 rank {self.l2_rank} of the {self.entity_type}s ({self.l2_score:.3f}, utility "
            f"{self.utility:.3f})"
        )


@dataclass(frozen=True)
class SearchResults:
    """The results of Q queries, n in all, query by query and place by place.

    Attributes
    ----------
    queries
        Query texts (Q).
    retrievers
        Names (R).
    offsets : int64 (Q + 1,)
        Where each query's results begin.
    rows : int64 (n,)
        Of the catalogue.
    retrieved_ranks : int32 (n, R)
        Rank by each retriever, 0 where it did not find the entity.
    retrieved_scores : float32 (n, R)
        NaN there.
    l1_scores, l2_scores, relevance, utilities : float64 (n,)
        See `Result`.
    l1_ranks, l2_ranks : int64 (n,)
        From 1.
    candidates : int64 (Q,)
        Distinct candidates that the retrievers found.
    seconds
        Stage -> wall time of all queries together.
    """

    catalogue: Catalogue
    queries: Sequence[str]
    retrievers: tuple[str, ...]
    offsets: IntArray
    rows: IntArray
    retrieved_ranks: npt.NDArray[np.int32]
    retrieved_scores: npt.NDArray[np.float32]
    l1_scores: FloatArray
    l1_ranks: IntArray
    l2_scores: FloatArray
    l2_ranks: IntArray
    relevance: FloatArray
    utilities: FloatArray
    candidates: IntArray
    seconds: Mapping[str, float]

    def of(self, query: int) -> list[Result]:
        """The results of one query, by its number, with their traces."""
        first, last = int(self.offsets[query]), int(self.offsets[query + 1])
        return [self._result(query, at, at - first + 1) for at in range(first, last)]

    def pages(self, size: int) -> IntArray:
        """Rows int64 (Q, size) of the first results of each query; -1 for an empty place.

        Raises
        ------
        SettingError
            If a page holds nothing.
        """
        if size < 1:
            raise SettingError(f"a page must hold 1 result or more, got {size}")
        counts = np.diff(self.offsets)
        place = np.arange(len(self.rows)) - np.repeat(self.offsets[:-1], counts)
        inside = place < size
        pages = np.full((len(self.queries), size), ABSENT, np.int64)
        pages[np.repeat(np.arange(len(self.queries)), counts)[inside], place[inside]] = self.rows[inside]
        return pages

    def table(self) -> pa.Table:
        """All results with their traces: a row a result, a rank and a score for each retriever."""
        counts = np.diff(self.offsets)
        columns = {
            "query": pa.array(self.queries, pa.string()).take(pa.array(np.repeat(np.arange(len(counts)), counts))),
            "entity_id": self.catalogue.ids.take(pa.array(self.rows)),
            "entity_type": self.catalogue.types(self.rows),
            "place": pa.array(np.arange(len(self.rows)) - np.repeat(self.offsets[:-1], counts) + 1),
        }
        for place, name in enumerate(self.retrievers):
            there = self.retrieved_ranks[:, place] > 0
            columns[f"{name}_rank"] = pa.array(self.retrieved_ranks[:, place], mask=~there)
            columns[f"{name}_score"] = pa.array(self.retrieved_scores[:, place], mask=~there)
        for name in ("l1_ranks", "l1_scores", "l2_ranks", "l2_scores"):
            columns[name[:-1]] = pa.array(getattr(self, name), from_pandas=True)
        columns["relevance"] = pa.array(self.relevance, from_pandas=True)
        columns["utility"] = pa.array(self.utilities)
        return pa.table(columns)

    def _result(self, query: int, at: int, place: int) -> Result:
        row = int(self.rows[at])
        found = {
            name: (int(self.retrieved_ranks[at, which]), float(self.retrieved_scores[at, which]))
            for which, name in enumerate(self.retrievers)
            if self.retrieved_ranks[at, which]
        }
        return Result(
            query=self.queries[query],
            entity_id=self.catalogue.ids[row].as_py(),
            entity_type=self.catalogue.types(self.rows[at : at + 1])[0].as_py(),
            place=place,
            retrieved=found,
            l1_rank=int(self.l1_ranks[at]),
            l1_score=float(self.l1_scores[at]),
            l2_rank=int(self.l2_ranks[at]),
            l2_score=float(self.l2_scores[at]),
            relevance=float(self.relevance[at]),
            utility=float(self.utilities[at]),
        )
