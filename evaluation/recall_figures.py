"""Figures of a recall study's rows from the ranks of their pairs, with intervals and paired differences.

Shapes: P pairs, S rows (systems) of the study.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from evaluation.bootstrap import Interval, cluster_intervals, paired_differences
from evaluation.judged_pairs import group_mean_figures
from evaluation.recall import EvaluationPairs, per_query_sums
from evaluation.recall_settings import REFERENCE, RecallSettings

__all__ = ["GroupResult", "RowResult", "measure_average", "measure_group"]

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RowResult:
    """Figures of one row on one group of pairs.

    Attributes
    ----------
    recall
        k -> Recall@k with its interval.
    mean_reciprocal_rank
        With its interval.
    differences
        Reference row -> recall at the first k less the reference's, on the same resamples; null for the reference
        itself.
    """

    recall: dict[int, Interval]
    mean_reciprocal_rank: Interval
    differences: dict[str, Interval | None]


@dataclass(frozen=True)
class GroupResult:
    """All rows on one group of pairs; pairs and queries are counted once each."""

    pairs: int
    queries: int
    rows: dict[str, RowResult]


def measure_group(
    ranks: dict[str, IntArray], pairs: EvaluationPairs, members: BoolArray, settings: RecallSettings
) -> GroupResult:
    """Figures of the rows on the pairs that are `members`, bool (P,), from ranks int64 (P,) of each row."""
    queries = pairs.pair_queries[members]
    ranks_PS = np.column_stack([of_row[members] for of_row in ranks.values()])
    intervals = partial(cluster_intervals, resamples=settings.resamples, level=settings.level, seed=settings.seed)
    less = partial(paired_differences, resamples=settings.resamples, level=settings.level, seed=settings.seed)

    def sums(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        return per_query_sums(values, queries, len(pairs.queries))

    recall = {k: intervals(*sums((ranks_PS <= k).astype(np.float64))) for k in settings.ks}
    within = ranks_PS <= settings.most if settings.most is not None else np.ones_like(ranks_PS, dtype=bool)
    reciprocal = intervals(*sums(within / ranks_PS))
    hits = sums((ranks_PS <= settings.ks[0]).astype(np.float64))
    differences = {other: less(*hits, list(ranks).index(other)) for other in _references(ranks, settings)}
    return _result(list(ranks), recall, reciprocal, differences, queries)


def measure_average(
    ranks: dict[str, IntArray], pairs: EvaluationPairs, groups: dict[str, BoolArray], settings: RecallSettings
) -> GroupResult:
    """The mean of the groups' figures."""
    ranks_PS = np.column_stack(list(ranks.values()))
    mean = partial(group_mean_figures, resamples=settings.resamples, level=settings.level, seed=settings.seed)
    hits = {k: mean((ranks_PS <= k).astype(np.float64), pairs, groups) for k in settings.ks}
    main, recall = hits[settings.ks[0]], {k: figures.intervals() for k, figures in hits.items()}
    differences = {other: main.less(list(ranks).index(other)).intervals() for other in _references(ranks, settings)}
    queries = pairs.pair_queries[np.logical_or.reduce(list(groups.values()))]
    return _result(list(ranks), recall, mean(1 / ranks_PS, pairs, groups).intervals(), differences, queries)


def _references(ranks: dict[str, IntArray], settings: RecallSettings) -> tuple[str, ...]:
    return settings.references if settings.references is not None else (REFERENCE,) * (REFERENCE in ranks)


def _result(
    names: list[str],
    recall: dict[int, list[Interval]],
    reciprocal: list[Interval],
    differences: dict[str, list[Interval]],
    queries: IntArray,
) -> GroupResult:
    """Figures of all rows by row; `queries` holds that of each pair."""
    rows = {
        name: RowResult(
            {k: intervals[place] for k, intervals in recall.items()},
            reciprocal[place],
            {other: None if other == name else found[place] for other, found in differences.items()},
        )
        for place, name in enumerate(names)
    }
    return GroupResult(len(queries), len(np.unique(queries)), rows)
