"""LightGBM rankers over frozen embedding features, and the search stack that uses them."""

from ranking.cross_validation import CrossValidation, cross_validate
from ranking.lexical_features import lexical_features
from ranking.ranker import LambdaRanker
from ranking.saving import load_model
from ranking.stack import SearchStack

__all__ = ["CrossValidation", "LambdaRanker", "SearchStack", "cross_validate", "lexical_features", "load_model"]
