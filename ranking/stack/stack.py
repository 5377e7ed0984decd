"""The search stack of Figure 4: candidates by tokens and by embeddings, L1, L2 with relevance, and one blended list.

Shape suffixes: Q queries, B queries of a batch, n candidates of a batch, R retrievers.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.errors import DataError, SettingError
from ranking.stack.blending import EveryNth, Utility, WeightedSum
from ranking.stack.parts import Blender, Catalogue, FeatureSource, FloatArray, IntArray, Retriever, Scorer, best_first
from ranking.stack.results import STAGES, Result, SearchResults

__all__ = ["RELEVANCE_FEATURE", "FirstStage", "SearchStack", "SecondStage", "measure_latency"]

RELEVANCE_FEATURE = "relevance"  # column under which L2 sees the expected grade


@dataclass(frozen=True, kw_only=True)
class FirstStage:
    """L1: a cheap score of every candidate, and how many of each type it keeps."""

    features: FeatureSource
    scorer: Scorer
    keep: int = 100


@dataclass(frozen=True, kw_only=True)
class SecondStage:
    """L2 with relevance.

    Attributes
    ----------
    features
        Of the candidates that L1 kept.
    scorer
        Scores them.
    relevance
        Predicts the expected grade; null leaves relevance out.
    relevance_features
        Features of the relevance model, where they are others than the scorer's.
    relevance_as_feature
        Whether the scorer sees the expected grade, as the column `relevance`.
    utility
        What score and grade make together.
    """

    features: FeatureSource
    scorer: Scorer
    relevance: Scorer | None = None
    relevance_features: FeatureSource | None = None
    relevance_as_feature: bool = True
    utility: Utility = field(default_factory=WeightedSum)


@dataclass(frozen=True)
class _Pool:
    """Candidates of a batch, n of them, sorted by query and row."""

    query: IntArray
    row: IntArray
    ranks: npt.NDArray[np.int32]  # (n, R)
    scores: npt.NDArray[np.float32]  # (n, R)

    def take(self, rows: IntArray) -> "_Pool":
        return _Pool(self.query[rows], self.row[rows], self.ranks[rows], self.scores[rows])


@dataclass(frozen=True, kw_only=True)
class SearchStack:
    """Searches: `search` one query, `search_many` many at once.

    Every stage can be replaced: `dataclasses.replace(stack, l1=...)` or `stack.with_retriever(...)` gives another stack
    that shares the rest.

    Attributes
    ----------
    catalogue
        What can be shown; rows are of it.
    retrievers
        Find candidates, with distinct names. What several find is one candidate.
    l1, l2
        The two stages of scoring; without an L1, L2 scores every candidate.
    blender
        Makes one list of pins and products.
    depth
        Results of a query, at most.

    Raises
    ------
    SettingError
        If there is no retriever, two have one name, or a stage keeps nothing.
    """

    catalogue: Catalogue
    retrievers: tuple[Retriever, ...]
    l1: FirstStage | None
    l2: SecondStage
    blender: Blender = field(default_factory=EveryNth)
    depth: int = 24

    def __post_init__(self) -> None:
        names = [one.name for one in self.retrievers]
        if not names:
            raise SettingError("a search stack needs at least one retriever")
        if len(set(names)) < len(names):
            raise SettingError(f"each retriever needs a name of its own, got {', '.join(names)}")
        keep = 1 if self.l1 is None else self.l1.keep
        if self.depth < 1 or keep < 1:
            raise SettingError(f"L1 must keep 1 candidate or more and a list hold 1; got {keep} and {self.depth}")

    def with_retriever(self, retriever: Retriever) -> "SearchStack":
        """The same stack with this retriever in the place of the one of its name.

        Raises
        ------
        SettingError
            If there is none of that name.
        """
        names = [one.name for one in self.retrievers]
        if retriever.name not in names:
            raise SettingError(f"the stack has no retriever '{retriever.name}'; it has {', '.join(names)}")
        return replace(
            self, retrievers=tuple(retriever if one.name == retriever.name else one for one in self.retrievers)
        )

    def search(self, query: str) -> list[Result]:
        """The results of one query, the best first, each with how it got its place."""
        return self.search_many([query]).of(0)

    def search_many(self, queries: Sequence[str], batch_size: int = 256) -> SearchResults:
        """The results of many queries; those of a query don't depend on the others.

        Parameters
        ----------
        queries
            Texts (Q).
        batch_size
            Queries at once, which bounds memory.

        Raises
        ------
        DataError
            If a model gives no number, or another number of scores than candidates.
        SettingError
            If the batch size is below one.
        """
        if batch_size < 1:
            raise SettingError(f"a batch must hold 1 query or more, got {batch_size}")
        parts = [self._batch(list(queries[start : start + batch_size])) for start in range(0, len(queries), batch_size)]
        parts = parts or [self._batch([])]
        counts = np.concatenate([np.diff(part.offsets) for part in parts])
        together = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in (
                "rows", "retrieved_ranks", "retrieved_scores", "l1_scores", "l1_ranks", "l2_scores", "l2_ranks",
                "relevance", "utilities", "candidates",
            )
        }  # fmt: skip
        return SearchResults(
            catalogue=self.catalogue,
            queries=list(queries),
            retrievers=parts[0].retrievers,
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            seconds={stage: sum(part.seconds[stage] for part in parts) for stage in STAGES},
            **together,
        )

    def score_all(self, queries: Sequence[str], batch_size: int = 256) -> tuple[pa.Table, FloatArray]:
        """Every candidate of every query with its utility by L2, as L1 is to keep up with; no L1, no blending.

        Returns
        -------
        pairs
            `query`, `entity_id`, `entity_type` of n candidates, query by query.
        utilities
            float64 (n,); what must not be shown is below all that may be.

        Raises
        ------
        DataError
            If the retrievers find nothing at all, or as in `search_many`.
        """
        tables, utilities = [], []
        for start in range(0, len(queries), batch_size):
            part = list(queries[start : start + batch_size])
            pool = self._retrieve(part)
            found = self.l2.utility.combine(*self._second(pool, part))
            allowed = found[~np.isneginf(found)]
            tables.append(self._pairs(pool, part))
            utilities.append(np.where(np.isneginf(found), allowed.min(initial=0.0) - 1, found))
        if not any(table.num_rows for table in tables):
            raise DataError(f"the retrievers find no candidate for any of {len(queries)} queries")
        return pa.concat_tables(tables), np.concatenate(utilities)

    def _batch(self, queries: list[str]) -> SearchResults:
        clock = _Clock()
        pool = self._retrieve(queries)
        found = np.bincount(pool.query, minlength=len(queries)).astype(np.int64)
        clock.lap("retrieval")
        l1_scores, l1_rank = np.full(len(pool.row), np.nan), np.full(len(pool.row), -1)
        if self.l1 is not None:
            l1_scores = self._predict(self.l1.scorer, self.l1.features, pool, queries)
            order, rank = self._ranked(pool, l1_scores)
            kept = order[rank < self.l1.keep]
            l1_rank = rank[rank < self.l1.keep]
            pool, l1_scores = pool.take(kept), l1_scores[kept]
        clock.lap("l1")
        l2_scores, relevance = self._second(pool, queries)
        utilities = self.l2.utility.combine(l2_scores, relevance)
        order, l2_rank = self._ranked(pool, utilities)
        shown = ~np.isneginf(utilities[order])
        order, l2_rank = order[shown], l2_rank[shown]
        clock.lap("l2")
        blended = self._blend(pool.query[order], self.catalogue.kinds[pool.row[order]], utilities[order])
        last = order[blended]
        results = SearchResults(
            catalogue=self.catalogue,
            queries=queries,
            retrievers=tuple(one.name for one in self.retrievers),
            offsets=np.searchsorted(pool.query[last], np.arange(len(queries) + 1)).astype(np.int64),
            rows=pool.row[last],
            retrieved_ranks=pool.ranks[last],
            retrieved_scores=pool.scores[last],
            l1_scores=l1_scores[last],
            l1_ranks=l1_rank[last] + 1,
            l2_scores=l2_scores[last],
            l2_ranks=l2_rank[blended] + 1,
            relevance=relevance[last],
            utilities=utilities[last],
            candidates=found,
            seconds=clock.seconds,
        )
        clock.lap("blending")
        return results

    def _retrieve(self, queries: list[str]) -> _Pool:
        """Distinct candidates of all retrievers."""
        size = len(self.catalogue)
        keys, ranks, scores = [], [], []
        for retriever in self.retrievers:
            found = retriever.retrieve(queries)
            query, place = np.nonzero(found.rows >= 0)
            keys.append(query * size + found.rows[query, place])
            ranks.append(place + 1)
            scores.append(found.scores[query, place])
        distinct = np.unique(np.concatenate(keys))
        rank_nR = np.zeros((len(distinct), len(keys)), np.int32)
        score_nR = np.full((len(distinct), len(keys)), np.nan, np.float32)
        for which, own in enumerate(keys):
            at = np.searchsorted(distinct, own)
            rank_nR[at, which] = ranks[which]
            score_nR[at, which] = scores[which]
        return _Pool(distinct // size, distinct % size, rank_nR, score_nR)

    def _pairs(self, pool: _Pool, queries: list[str]) -> pa.Table:
        return pa.table(
            {
                "query": pa.array(queries, pa.string()).take(pa.array(pool.query)),
                "entity_id": self.catalogue.ids.take(pa.array(pool.row)),
                "entity_type": self.catalogue.types(pool.row),
            }
        )

    def _predict(self, scorer: Scorer, source: FeatureSource, pool: _Pool, queries: list[str]) -> FloatArray:
        if not len(pool.row):
            return np.zeros(0)
        return _scores(scorer, source.compute(self._pairs(pool, queries)), len(pool.row))

    def _second(self, pool: _Pool, queries: list[str]) -> tuple[FloatArray, FloatArray]:
        number = len(pool.row)
        relevance = np.full(number, np.nan)
        if not number:
            return np.zeros(0), relevance
        pairs = self._pairs(pool, queries)
        features = self.l2.features.compute(pairs)
        if self.l2.relevance is not None:
            own = self.l2.relevance_features
            judged = features if own is None or own is self.l2.features else own.compute(pairs)
            relevance = _scores(self.l2.relevance, judged, number)
            if self.l2.relevance_as_feature:
                features = features.append_column(RELEVANCE_FEATURE, pa.array(relevance))
        return _scores(self.l2.scorer, features, number), relevance

    def _ranked(self, pool: _Pool, scores: FloatArray) -> tuple[IntArray, IntArray]:
        """The order by query, kind and falling score, and each one's rank there within query and kind, from 0."""
        group = pool.query * 4 + self.catalogue.kinds[pool.row]
        order = best_first(scores, pool.row, group)
        ordered = group[order]
        return order, np.arange(len(order)) - np.searchsorted(ordered, ordered)

    def _blend(self, query: IntArray, kinds: npt.NDArray[np.int8], utilities: FloatArray) -> IntArray:
        """Places, in what is given, of the results of all queries, query by query."""
        ends = np.flatnonzero(np.r_[query[1:] != query[:-1], np.ones(min(1, len(query)), np.bool_)]) + 1
        starts = np.r_[0, ends[:-1]][: len(ends)]
        parts = [
            first + self.blender.blend(kinds[first:last], utilities[first:last])[: self.depth]
            for first, last in zip(starts.tolist(), ends.tolist(), strict=True)
        ]
        return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)


class _Clock:
    """Wall time of each stage, one after another."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] += now - self._last
        self._last = now


def measure_latency(stack: SearchStack, queries: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
    """Stage (and `all`) -> `p50` and `p90` milliseconds of a query, searched one by one.

    Raises
    ------
    SettingError
        If there is no query.
    """
    if not queries:
        raise SettingError("the latency of a stack needs at least one query")
    taken = [stack.search_many([query]).seconds for query in queries]
    of_stage = {stage: np.array([one[stage] for one in taken]) * 1000 for stage in STAGES}
    of_stage["all"] = np.sum(list(of_stage.values()), axis=0)
    return {
        stage: {"p50": float(np.quantile(values, 0.5)), "p90": float(np.quantile(values, 0.9))}
        for stage, values in of_stage.items()
    }


def _scores(scorer: Scorer, features: pa.Table, number: int) -> FloatArray:
    if features.num_rows != number:
        raise DataError(
            f"a source of features gives {features.num_rows} rows for {number} candidates; it must keep all"
        )
    scores = np.asarray(scorer.predict(features), np.float64)
    if scores.shape != (number,):
        raise DataError(f"a model of the stack gives scores of shape {scores.shape} for {number} candidates")
    return scores
