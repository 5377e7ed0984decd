"""Classifiers of queries over frozen query embeddings."""

from classifiers.interest import InterestClassifier
from classifiers.taxonomy import Taxonomy

__all__ = ["InterestClassifier", "Taxonomy"]
