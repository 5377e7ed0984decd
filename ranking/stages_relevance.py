"""What fits, measures and draws the relevance and ads models in `omnifeat rank train` and `evaluate`."""

from pathlib import Path
from typing import Any

import numpy as np

from ranking.ads import AdsEngagementModel, long_clicks
from ranking.groups import check_grades
from ranking.metrics import QueryRanks
from ranking.probability_metrics import calibration_curve, probability_figures
from ranking.relevance import RelevanceModel
from ranking.relevance_metrics import accuracy, spearman, spearman_within, weighted_top_relevance
from ranking.stage import Evaluation, FitData, FloatArray, MeasureSettings

__all__ = ["fit_engagement", "measure_engagement", "measure_relevance", "picture_engagement"]

_TOP = 8  # section 5.2


def fit_engagement(model: AdsEngagementModel, data: FitData) -> None:
    """Fit with the positions of the log, and of the evaluation set, where there are any."""
    model.fit(
        data.features,
        data.labels,
        query_ids=data.query_ids,
        positions=data.positions,
        split_ids=data.split_ids,
        eval_X=data.eval_features,
        eval_y=data.eval_labels,
        eval_query_ids=data.eval_query_ids,
        eval_positions=data.eval_positions,
    )


def picture_engagement(folder: Path, labels: Any, scores: FloatArray) -> list[str]:
    """The calibration curve, by bins of equal counts: long clicks are rare, and most rows lie close to 0."""
    from ranking.calibration_picture import save_calibration

    curve = calibration_curve(scores, long_clicks(labels, len(scores)), by="count")
    save_calibration(folder / "calibration.png", curve, "Probability of a long click: said and came")
    return ["calibration.png"]


def measure_relevance(
    model: RelevanceModel, labels: Any, scores: FloatArray, query_ids: Any, settings: MeasureSettings
) -> Evaluation:
    """NDCG@k with the grade as gain, weighted relevance of the first 8 (section 5.2), accuracy, Spearman and error."""
    grades = check_grades(labels, len(scores), "grade").astype(np.float64)
    ranks = QueryRanks(scores, query_ids)
    ndcg = ranks.ndcg(grades, settings.k)
    return Evaluation(
        ranks.queries,
        {
            f"NDCG@{settings.k}": ndcg,
            f"weighted top-{_TOP} relevance": weighted_top_relevance(scores, grades, query_ids, _TOP),
            "Spearman within query": spearman_within(scores, grades, query_ids),
        },
        _telling(
            {
                "accuracy": accuracy(scores, grades),
                "Spearman": spearman(scores, grades),
                "mean absolute error": float(np.abs(scores - grades).mean()),
                "mean grade": float(grades.mean()),
                "mean expected grade": float(scores.mean()),
            }
        ),
        {"queries": len(ranks.queries), "queries without a positive": int(np.isnan(ndcg).sum())},
    )


def measure_engagement(
    model: AdsEngagementModel, labels: Any, scores: FloatArray, query_ids: Any, settings: MeasureSettings
) -> Evaluation:
    """AUC, log loss, normalised entropy and calibration error of long clicks, and MRR of the first one."""
    clicked = long_clicks(labels, len(scores))
    ranks = QueryRanks(scores, query_ids)
    names = {
        "base_rate": "base rate",
        "mean_probability": "mean probability",
        "auc": "AUC",
        "log_loss": "log loss",
        "normalised_entropy": "normalised entropy",
        "expected_calibration_error": "calibration error",
        "expected_calibration_error_by_count": "calibration error by count",
    }
    figures = probability_figures(scores, clicked)
    return Evaluation(
        ranks.queries,
        {"MRR of a long click": ranks.mrr(clicked == 1)},
        _telling({shown: figures[name] for name, shown in names.items()}),
        {"queries": len(ranks.queries), "long clicks": int(clicked.sum())},
    )


def _telling(figures: dict[str, float]) -> dict[str, float]:
    """The figures that say something: no order can be told of outcomes that are all the same."""
    return {name: value for name, value in figures.items() if not np.isnan(value)}
