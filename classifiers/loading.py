"""Any saved classifier of queries, whatever it is."""

from pathlib import Path
from typing import Any

from classifiers.fasttext_classifier import FastTextClassifier
from classifiers.interest import InterestClassifier
from classifiers.logistic import EmbeddingLogisticClassifier, TfidfLogisticClassifier
from omnifeat.data.artefacts import member, read_object

__all__ = ["load_any", "takes_text"]

_REMEDY = "train the classifier again"
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
    folder = Path(path)
    kind: object = None
    if folder.is_dir():  # else `InterestClassifier.load` says what is wrong
        kind = read_object(member(folder, "classifier.json", remedy=_REMEDY), remedy=_REMEDY).get("kind")
    of_kind: Any = _KINDS.get(kind, InterestClassifier) if isinstance(kind, str) else InterestClassifier
    return of_kind.load(path)


def takes_text(classifier: Any) -> bool:
    """Whether a classifier reads the text of queries, and not their embeddings."""
    return isinstance(classifier, FastTextClassifier | TfidfLogisticClassifier)
