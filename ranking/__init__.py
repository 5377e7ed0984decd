"""LightGBM rankers over frozen embedding features."""

from ranking.cross_validation import CrossValidation, cross_validate
from ranking.l1 import L1Ranker
from ranking.l2 import L2Ranker
from ranking.lexical_features import lexical_features
from ranking.ranker import LambdaRanker
from ranking.saving import load_model

__all__ = [
    "CrossValidation",
    "L1Ranker",
    "L2Ranker",
    "LambdaRanker",
    "cross_validate",
    "lexical_features",
    "load_model",
]
