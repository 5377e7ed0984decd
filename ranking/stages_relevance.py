"""What measures the relevance and ads models in `omnifeat rank evaluate`."""

from typing import Any

import numpy as np

from ranking.ads import AdsEngagementModel, long_clicks
from ranking.groups import check_grades
from ranking.metrics import QueryRanks
from ranking.probability_metrics import probability_figures
from ranking.relevance import RelevanceModel
from ranking.relevance_metrics import accuracy, spearman, spearman_within, weighted_top_relevance
from ranking.stage import Evaluation, FloatArray, MeasureSettings

__all__ = ["measure_engagement", "measure_relevance"]

_TOP = 8  # section 5.2


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
        {
            "accuracy": accuracy(scores, grades),
            "Spearman": spearman(scores, grades),
            "mean absolute error": float(np.abs(scores - grades).mean()),
            "mean grade": float(grades.mean()),
            "mean expected grade": float(scores.mean()),
        },
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
        {shown: figures[name] for name, shown in names.items()},
        {"queries": len(ranks.queries), "long clicks": int(clicked.sum())},
    )
