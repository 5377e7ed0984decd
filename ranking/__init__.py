"""LightGBM rankers over frozen embedding features."""

from ranking.cross_validation import CrossValidation, cross_validate
from ranking.lexical_features import lexical_features
from ranking.ranker import LambdaRanker
from ranking.saving import load_model

__all__ = ["CrossValidation", "LambdaRanker", "cross_validate", "lexical_features", "load_model"]
