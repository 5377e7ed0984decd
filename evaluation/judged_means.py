"""Judged relevance of several score columns: means over queries with intervals, over all pairs and over new ones.

**New pairs**: pairs that the encoder was trained on are taken out of both the judgments and the ranking, and the
measure is worked out anew on what is left; scores stay as they are. **New queries**: only queries that the encoder was
trained on with no entity at all. In both, a query without a positive judgment left is left out and counted.

Shapes: Q queries, S score columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evaluation.bootstrap import Interval, cluster_intervals, paired_differences
from evaluation.judged import JudgedFigures, judged_figures
from evaluation.seen_pairs import Knowledge
from evaluation.tables import json_interval

__all__ = ["JudgedMeans", "MeansSettings", "NewMeans", "judged_means", "new_means"]


@dataclass(frozen=True, kw_only=True)
class MeansSettings:
    """Measures, the first of which is the main one; the gain; and the bootstrap over queries."""

    measures: tuple[str, ...] = ("nDCG@10",)
    gain: str = "linear"
    resamples: int = 1000
    level: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class JudgedMeans:
    """Figures of each score column: per query, their means, and the main one less the reference's on the same draws."""

    figures: dict[str, JudgedFigures]
    intervals: dict[str, dict[str, Interval]]
    differences: dict[str, Interval | None]


@dataclass(frozen=True)
class NewMeans:
    """The main measure of each score column over what is new to the encoder, and its difference from the reference's.

    `rows` are the judged pairs that are left, `queries` those with a positive judgment among them.
    """

    rows: int
    queries: int
    queries_without_positive: int
    intervals: dict[str, Interval]
    differences: dict[str, Interval | None]

    def as_json(self) -> dict[str, Any]:
        """As JSON values; null where there is no query."""
        return {
            "rows": self.rows,
            "queries": self.queries,
            "queries_without_positive": self.queries_without_positive,
            "columns": {
                name: {"value": json_interval(interval), "difference": json_interval(self.differences[name])}
                for name, interval in self.intervals.items()
            },
        }


def judged_means(
    judgments: pd.DataFrame, rows: pd.DataFrame, columns: Sequence[str], reference: str, settings: MeansSettings
) -> JudgedMeans:
    """Measures of the score columns of a run; parameters and errors as in `judged_figures`."""
    figures = {
        column: judged_figures(judgments, rows, column, settings.measures, gain=settings.gain) for column in columns
    }
    counts = np.ones(len(figures[columns[0]].queries))
    bootstrap: dict[str, Any] = {"resamples": settings.resamples, "level": settings.level, "seed": settings.seed}
    intervals: dict[str, dict[str, Interval]] = {column: {} for column in columns}
    differences: dict[str, Interval | None] = {}
    for place, measure in enumerate(settings.measures):
        values_QS = np.column_stack([figures[column].values[:, place] for column in columns])
        for column, interval in zip(columns, cluster_intervals(values_QS, counts, **bootstrap), strict=True):
            intervals[column][measure] = interval
        if place == 0:
            found = paired_differences(values_QS, counts, list(columns).index(reference), **bootstrap)
            differences = dict(zip(columns, found, strict=True)) | {reference: None}
    return JudgedMeans(figures, intervals, differences)


def new_means(
    judgments: pd.DataFrame,
    of_judgments: Knowledge,
    rows: pd.DataFrame,
    of_rows: Knowledge,
    columns: Sequence[str],
    reference: str,
    settings: MeansSettings,
) -> dict[str, NewMeans]:
    """The main measure over new pairs and over new queries; what is known of the judgments and of the run's rows."""
    groups = {}
    in_run = of_rows.new
    for name, members in of_judgments.new.items():
        left = judgments[members]
        means = judged_means(left, rows[in_run[name]], columns, reference, settings)
        one, main = means.figures[reference], settings.measures[0]
        groups[name] = NewMeans(
            rows=len(left),
            queries=len(one.queries),
            queries_without_positive=one.queries_without_positive,
            intervals={column: means.intervals[column][main] for column in columns},
            differences=means.differences,
        )
    return groups
