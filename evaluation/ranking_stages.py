"""The stages at which rankers with other embedding features are compared: what each learns from and is measured by.

| stage | learns from | figures |
|---|---|---|
| `l2` | actions in the impressions of a request | NDCG@10 with the gains of actions, MRR of an action |
| `l1` | its own L2's scores of a query's candidates | share of the candidates with an action kept in the first `keep` |
| `relevance` | grades | NDCG@10 (gain of a grade: the grade), weighted relevance of the first 8 |
| `ads-engagement` | long clicks on products | AUC, normalised entropy |
| `ads-relevance` | grades of products | as `relevance` |

Every figure is a total over a total, both of queries, so that whole queries can be drawn again.

Shape suffixes: n rows, Q queries.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.errors import DataError
from ranking.actions import action_gains
from ranking.ads import AdsEngagementModel, long_clicks
from ranking.base import LightGBMModel
from ranking.l1 import L1Ranker
from ranking.l2 import L2Ranker
from ranking.metrics import QueryRanks
from ranking.relevance import AdsRelevanceModel, RelevanceModel
from ranking.relevance_metrics import weighted_top_relevance

__all__ = [
    "COMPARED_STAGES",
    "LOWER_IS_BETTER",
    "NORMALISED_ENTROPY",
    "WEIGHTED_RELEVANCE",
    "ComparedStage",
    "FitSettings",
    "Totals",
]

WEIGHTED_RELEVANCE, NORMALISED_ENTROPY = "weighted relevance of the first 8", "normalised entropy"
LOWER_IS_BETTER = frozenset({NORMALISED_ENTROPY})

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Totals = dict[str, tuple[FloatArray, FloatArray]]
"""Figure -> sums and counts, float64 (Q,) each, of the queries by their codes."""

_VALIDATION = 0.2  # of the training queries, for early stopping: the same queries for every set of features


@dataclass(frozen=True)
class FitSettings:
    """What all models share; `keep` is how many candidates L1 lets through, `l1_features` how many it may ask for."""

    trees: int = 300
    learning_rate: float = 0.05
    leaves: int = 31
    seed: int = 0
    threads: int | None = None
    keep: int = 10
    l1_features: int = 10

    @property
    def common(self) -> dict[str, Any]:
        """As every model takes them."""
        return {
            "n_estimators": self.trees,
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "seed": self.seed,
            "threads": self.threads,
            "validation_fraction": _VALIDATION,
        }


@dataclass(frozen=True)
class ComparedStage:
    """One stage.

    Attributes
    ----------
    table
        Which pairs of the dataset it learns from: `impressions` or `judgments`.
    prepare
        The rows that count, of a table of features.
    fit
        Trains on rows with these columns, given the L2 of the same columns for `l1`, and returns the model.
    measure
        Totals of the figures, the one that pictures show first, over some rows: given the rows, their scores, the codes
        (n,) of their queries, how many queries there are, and the settings.
    """

    table: str
    description: str
    prepare: Callable[[pa.Table], pa.Table]
    fit: Callable[[pa.Table, Sequence[str], FitSettings, LightGBMModel | None], LightGBMModel]
    measure: Callable[[pa.Table, FloatArray, IntArray, int, FitSettings], Totals]


def _products(rows: pa.Table) -> pa.Table:
    return rows.filter(pc.equal(rows["entity_type"], "product"))


def _candidates(rows: pa.Table) -> pa.Table:
    """Each entity that was shown for a query once, the last time that it was, with whether it ever got an action."""
    frame = pd.DataFrame(
        {name: rows[name].to_numpy() for name in ("query", "entity_id", "entity_type")}
        | {"acted": pc.is_valid(rows["action"]).to_numpy(), "row": np.arange(rows.num_rows)}
    )
    found = frame.groupby(["query", "entity_id", "entity_type"], sort=False).agg(
        acted=("acted", "max"), row=("row", "max")
    )
    found = found.sort_values("row")
    kept = rows.take(pa.array(found["row"].to_numpy()))
    return kept.append_column("acted", pa.array(found["acted"].to_numpy(dtype=bool)))


def _fit_l2(rows: pa.Table, columns: Sequence[str], settings: FitSettings, _: LightGBMModel | None) -> LightGBMModel:
    return L2Ranker(**settings.common).fit(
        rows.select(list(columns)), rows["action"], query_ids=rows["request_id"], split_ids=rows["query"]
    )


def _fit_l1(
    rows: pa.Table, columns: Sequence[str], settings: FitSettings, teacher: LightGBMModel | None
) -> LightGBMModel:
    if teacher is None:
        raise DataError("L1 learns from the scores of L2; train that first.")
    features = rows.select(list(columns))
    model = L1Ranker(
        target="scores",
        keep=settings.keep,
        max_features=settings.l1_features,
        seed=settings.seed,
        threads=settings.threads,
        validation_fraction=_VALIDATION,
    )
    return model.fit(features, teacher.predict(features), query_ids=rows["query"])


def _fit_relevance(model: type[RelevanceModel]) -> Callable[..., LightGBMModel]:
    def fit(rows: pa.Table, columns: Sequence[str], settings: FitSettings, _: LightGBMModel | None) -> LightGBMModel:
        grades = rows["grade"].to_numpy()
        return model(**settings.common).fit(rows.select(list(columns)), grades, query_ids=rows["query"])

    return fit


def _fit_engagement(
    rows: pa.Table, columns: Sequence[str], settings: FitSettings, _: LightGBMModel | None
) -> LightGBMModel:
    return AdsEngagementModel(**settings.common).fit(
        rows.select(list(columns)), rows["action"], query_ids=rows["request_id"], split_ids=rows["query"]
    )


def _measure_l2(rows: pa.Table, scores: FloatArray, codes: IntArray, queries: int, settings: FitSettings) -> Totals:
    """Means over the requests that had an action."""
    ranks = QueryRanks(scores, rows["request_id"])
    gains = action_gains(rows["action"], rows.num_rows)
    query_of_request = np.empty(len(ranks.queries), dtype=np.int64)
    query_of_request[ranks.codes] = codes
    return {
        "NDCG@10": _means(ranks.ndcg(gains, 10), query_of_request, queries),
        "MRR": _means(ranks.mrr(gains > 0), query_of_request, queries),
    }


def _measure_l1(rows: pa.Table, scores: FloatArray, codes: IntArray, queries: int, settings: FitSettings) -> Totals:
    """Of the queries with more candidates than are let through: those with an action that are let through, of all."""
    ranks = QueryRanks(scores, codes)
    acted = rows["acted"].to_numpy().astype(np.float64)
    longer = np.bincount(codes, minlength=queries)[codes] > settings.keep
    through = ranks.top(settings.keep) if len(scores) else scores
    sums, counts = _per_query(codes, acted * through * longer, queries), _per_query(codes, acted * longer, queries)
    return {f"kept in first {settings.keep}": (sums, counts)}


def _measure_relevance(
    rows: pa.Table, scores: FloatArray, codes: IntArray, queries: int, settings: FitSettings
) -> Totals:
    grades = rows["grade"].to_numpy()
    ranks = QueryRanks(scores, codes)
    of_query = np.asarray(ranks.queries, dtype=np.int64)
    weighted = weighted_top_relevance(scores, grades.astype(np.int64), codes)
    return {
        "NDCG@10": _means(ranks.ndcg(grades, 10), of_query, queries),
        WEIGHTED_RELEVANCE: _means(weighted, of_query, queries),
    }


def _measure_engagement(
    rows: pa.Table, scores: FloatArray, codes: IntArray, queries: int, settings: FitSettings
) -> Totals:
    """AUC is a mean over long clicks: the share of the other rows that score lower, ties as one half.

    Where queries are drawn again, the other rows stay those of the data. Normalised entropy is the log loss over the
    entropy of the base rate of the data.
    """
    clicked = long_clicks(rows["action"], rows.num_rows)
    others = np.sort(scores[clicked == 0])
    below = np.searchsorted(others, scores, "left") + np.searchsorted(others, scores, "right")
    share = below / max(2 * len(others), 1)
    base = clicked.mean()
    entropy = -(base * np.log(base) + (1 - base) * np.log1p(-base)) if 0 < base < 1 else np.nan
    loss = -np.log(np.clip(np.where(clicked == 1, scores, 1 - scores), 1e-12, None)) / entropy
    known = np.full(len(codes), float(0 < base < 1))
    return {
        "AUC": (_per_query(codes, share * clicked * known, queries), _per_query(codes, clicked * known, queries)),
        NORMALISED_ENTROPY: (_per_query(codes, np.nan_to_num(loss), queries), _per_query(codes, known, queries)),
    }


def _means(values: FloatArray, queries_of_values: IntArray, queries: int) -> tuple[FloatArray, FloatArray]:
    """Sums and counts of the values that are there."""
    known = ~np.isnan(values)
    of_known = queries_of_values[known]
    return _per_query(of_known, values[known], queries), _per_query(of_known, np.ones(len(of_known)), queries)


def _per_query(codes: IntArray, values: FloatArray, queries: int) -> FloatArray:
    return np.bincount(codes, weights=values, minlength=queries).astype(np.float64)


def _all(rows: pa.Table) -> pa.Table:
    return rows


COMPARED_STAGES: Mapping[str, ComparedStage] = {
    "l2": ComparedStage("impressions", "order of what a request shows", _all, _fit_l2, _measure_l2),
    "l1": ComparedStage("impressions", "candidates let through to L2", _candidates, _fit_l1, _measure_l1),
    "relevance": ComparedStage(
        "judgments", "predicted grades", _all, _fit_relevance(RelevanceModel), _measure_relevance
    ),
    "ads-engagement": ComparedStage(
        "impressions", "probability of a long click on a product", _products, _fit_engagement, _measure_engagement
    ),
    "ads-relevance": ComparedStage(
        "judgments", "predicted grades of products", _products, _fit_relevance(AdsRelevanceModel), _measure_relevance
    ),
}
"""Name -> stage, in the order in which they are shown."""
