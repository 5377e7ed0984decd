"""Any saved classifier of queries, whatever it is."""

import json
from pathlib import Path
from typing import Any

from classifiers.fasttext_classifier import FastTextClassifier
from classifiers.interest import InterestClassifier
from classifiers.logistic import EmbeddingLogisticClassifier, TfidfLogisticClassifier

__all__ = ["load_any", "takes_text"]

_KINDS = {
    "fasttext": FastTextClassifier,
    "tfidf-logistic": TfidfLogisticClassifier,
    "embedding-logistic": EmbeddingLogisticClassifier,
}


def load_any(path: str | Path) -> Any:
    """An `InterestClassifier` or one of the baselines, as its folder says.

    Raises
    ------
    DataError
        There is no such folder, or its classifier cannot be read.
    """
    try:
        tree = json.loads((Path(path) / "classifier.json").read_text(encoding="utf-8"))
        kind = tree.get("kind") if isinstance(tree, dict) else None
    except (OSError, ValueError):
        kind = None  # `InterestClassifier.load` says what is wrong
    return _KINDS.get(kind, InterestClassifier).load(path)  # type: ignore[arg-type, attr-defined]


def takes_text(classifier: Any) -> bool:
    """Whether a classifier reads the text of queries, and not their embeddings."""
    return isinstance(classifier, FastTextClassifier | TfidfLogisticClassifier)
