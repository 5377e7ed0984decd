"""The stages that `omnifeat rank train|predict|evaluate --stage` knows. A new stage is one line here."""

from pathlib import Path
from typing import Any

import numpy as np

from omnifeat.errors import DataError, SettingError
from ranking.actions import check_action_gains, read_actions
from ranking.base import LightGBMModel
from ranking.groups import check_grades, to_numpy
from ranking.l1 import L1Ranker, check_scores
from ranking.l2 import L2Ranker
from ranking.metrics import QueryRanks, kept_of_top
from ranking.ranker import LambdaRanker
from ranking.saving import load_model
from ranking.stage import Evaluation, FloatArray, MeasureSettings, Stage, fit_ranker
from ranking.stages_relevance import fit_engagement, measure_engagement, measure_relevance, picture_engagement

__all__ = ["PLAIN", "STAGES", "load_for_stage", "stage_named", "stage_of_kind"]

_LARGEST_EXPONENT = 30  # of gains 2^grade - 1, as in `LambdaRanker`


def measure_grades(
    model: LambdaRanker, labels: Any, scores: FloatArray, query_ids: Any, settings: MeasureSettings
) -> Evaluation:
    """NDCG@k with the gains the ranker was trained with, and MRR of grades above zero."""
    grades = check_grades(labels, len(scores))
    largest = int(grades.max())
    if model.label_gain is not None:
        if len(model.label_gain) <= largest:
            raise SettingError(f"The model has gains for grades below {len(model.label_gain)}; there is a {largest}.")
        gains = np.asarray(model.label_gain, dtype=np.float64)[grades]
    else:
        gains = np.exp2(grades) - 1 if largest <= _LARGEST_EXPONENT else grades.astype(np.float64)
    return _order_figures(gains, scores, query_ids, settings)


def measure_l2(
    model: L2Ranker, labels: Any, scores: FloatArray, query_ids: Any, settings: MeasureSettings
) -> Evaluation:
    """NDCG@k by the gains of actions, MRR, and for each action the share of it in the first k and its MRR."""
    if to_numpy(labels).dtype.kind != "O":
        return measure_grades(model, labels, scores, query_ids, settings)
    known = check_action_gains(model.action_gains)
    places = read_actions(labels, len(scores), known)
    found = _order_figures(np.array([*known.values(), 0.0])[places], scores, query_ids, settings)
    ranks = QueryRanks(scores, query_ids)
    per_query, counts = {}, {}
    for place, action in enumerate(known):
        acted = places == place
        counts[f"rows with {action}"] = int(acted.sum())
        if acted.any():
            per_query[f"{action} in first {settings.k}"] = ranks.recall(acted, settings.k)
            per_query[f"{action} MRR"] = ranks.mrr(acted)
    return found.merged(Evaluation(found.queries, per_query, {}, counts))


def measure_l1(
    model: L1Ranker, labels: Any, scores: FloatArray, query_ids: Any, settings: MeasureSettings
) -> Evaluation:
    """What L1 keeps of the reference's first `top`, within its own first N, and its cost; or NDCG of grades."""
    costs = {f"cost: {name}": value for name, value in model.cost_.items()}
    if model.target == "grades":
        found = measure_grades(model, labels, scores, query_ids, settings)
        return found.merged(Evaluation(found.queries, {}, costs))
    reference = check_scores(labels, len(scores))
    ranks = QueryRanks(scores, query_ids)
    sizes = ranks.sizes()
    per_query, counts = {}, {}
    for within in settings.within:
        longer = sizes > within
        counts[f"queries of more than {within} rows"] = int(longer.sum())
        if longer.any():  # a query that L1 lets through whole says nothing
            kept = kept_of_top(reference, scores, query_ids, top=settings.top, within=within)
            per_query[f"top {settings.top} kept in first {within}"] = np.where(longer, kept, np.nan)
    return Evaluation(ranks.queries, per_query, costs, counts)


def _order_figures(gains: FloatArray, scores: FloatArray, query_ids: Any, settings: MeasureSettings) -> Evaluation:
    ranks = QueryRanks(scores, query_ids)
    ndcg = ranks.ndcg(gains, settings.k)
    return Evaluation(
        ranks.queries,
        {f"NDCG@{settings.k}": ndcg, "MRR": ranks.mrr(gains > 0)},
        {},
        {"queries": len(ranks.queries), "queries without a positive": int(np.isnan(ndcg).sum())},
    )


# What is trained where no stage is named: grades, of whatever they are.
PLAIN = Stage("lambda-ranker", "grade", fit_ranker, measure_grades, positions=True)

STAGES = {
    "l1": Stage("l1", "score", fit_ranker, measure_l1, teacher=True),
    "l2": Stage("l2", "action", fit_ranker, measure_l2, positions=True),
    "relevance": Stage("relevance", "grade", fit_ranker, measure_relevance),
    "ads-engagement": Stage(
        "ads-engagement",
        "action",
        fit_engagement,
        measure_engagement,
        positions=True,
        as_shown=True,
        entity_type="product",
        pictures=picture_engagement,
    ),
    "ads-relevance": Stage("ads-relevance", "grade", fit_ranker, measure_relevance, entity_type="product"),
}


def stage_named(name: str | None) -> Stage:
    """The stage of a name, the plain ranker's for None; raises `SettingError` for an unknown one."""
    if name is None:
        return PLAIN
    if name not in STAGES:
        raise SettingError(f"There is no stage {name!r}; choose one of {', '.join(STAGES)}.")
    return STAGES[name]


def stage_of_kind(kind: str) -> Stage:
    """The stage whose model is of this kind; the plain ranker's if there is none."""
    return next((stage for stage in STAGES.values() if stage.kind == kind), PLAIN)


def load_for_stage(folder: str | Path, name: str | None) -> LightGBMModel:
    """Load a model; raises `DataError` where a stage is named and the model is of another."""
    model = load_model(folder)
    if name is not None and stage_named(name).kind != model.kind:
        raise DataError(
            f"Folder {folder} holds a model of kind {model.kind!r}, not one of stage {name!r}; give another folder, or "
            "leave --stage out."
        )
    return model
