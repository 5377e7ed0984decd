"""Baselines of one multinomial logistic regression: over TF-IDF of a query's text, or over any encoder's vectors.

Shapes: Q queries, F features, P classes of a model.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse
from safetensors.numpy import save as save_tensors
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from classifiers.paths import PathBaseline
from omnifeat.data.artefacts import checked, read_list
from omnifeat.data.files import replace_when_whole
from omnifeat.data.tensor_files import read_tensors, tensor_of
from omnifeat.data.text_lists import text_list
from omnifeat.errors import DataError, SettingError
from omnifeat.text import normalise

__all__ = ["EmbeddingLogisticClassifier", "TfidfLogisticClassifier"]

FloatArray = npt.NDArray[np.float64]
_NUMBERS, _WORDS = "classifier.safetensors", "vocabulary.json"
_REMEDY = "train the classifier again"


class _Linear(NamedTuple):
    """Scores of classes: weights float64 (P, F), intercepts float64 (P,)."""

    weights: FloatArray
    intercepts: FloatArray


class _Logistic(PathBaseline):
    """The regression that both share; a row of several interests is several rows that weigh as much as one."""

    inverse_regularisation: float
    max_iterations: int

    def _check_settings(self) -> None:
        name = type(self).__name__
        if not self.inverse_regularisation > 0:
            raise SettingError(
                f"The 'inverse_regularisation' setting of {name} must be above 0; got {self.inverse_regularisation!r}."
            )
        if not isinstance(self.max_iterations, int) or self.max_iterations < 1:
            raise SettingError(
                f"The 'max_iterations' setting of {name} must be a whole number from 1; got {self.max_iterations!r}."
            )

    def _fit_head(self, inputs: Any, labels: list[tuple[int, ...]], classes: int) -> _Linear:
        rows = np.array([row for row, of_row in enumerate(labels) for _ in of_row], dtype=np.int64)
        targets = np.array([label for of_row in labels for label in of_row], dtype=np.int64)
        weights = np.array([1 / len(of_row) for of_row in labels for _ in of_row])
        model = LogisticRegression(C=self.inverse_regularisation, max_iter=self.max_iterations, tol=1e-3)
        model.fit(inputs[rows], targets, sample_weight=weights)
        coefficients, intercepts = model.coef_, model.intercept_
        if classes == 2:  # one row then tells the second class from the first
            coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
            intercepts = np.concatenate([np.zeros_like(intercepts), intercepts])
        return _Linear(coefficients.astype(np.float64), intercepts.astype(np.float64))

    def _head_probabilities(self, head: _Linear, inputs: Any) -> FloatArray:
        logits_QP = np.asarray(inputs @ head.weights.T) + head.intercepts
        exponentials = np.exp(logits_QP - logits_QP.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))

    def _save(self, path: str | Path, kind: str, tensors: dict[str, FloatArray], words: Any = None) -> None:
        from classifiers.baseline_files import write_folder

        self._depth()
        for place, head in enumerate(self.heads_):
            if head is not None:
                tensors[f"model_{place}.weights"] = np.ascontiguousarray(head.weights)
                tensors[f"model_{place}.intercepts"] = head.intercepts
        with replace_when_whole(path) as folder:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / _NUMBERS).write_bytes(save_tensors(tensors))
            names = [_NUMBERS]
            if words is not None:
                (folder / _WORDS).write_text(json.dumps(words, ensure_ascii=False) + "\n", encoding="utf-8")
                names.append(_WORDS)
            write_folder(folder, kind, self, names)

    def _read(self, files: dict[str, Path], folder: Path) -> tuple[dict[str, npt.NDArray[Any]], Path]:
        """The tensors that `_save` wrote, and their file."""
        from classifiers.baseline_files import known_file

        file = known_file(files, _NUMBERS, folder)
        return read_tensors(file, remedy=_REMEDY), file

    def _take_heads(self, tensors: dict[str, npt.NDArray[Any]], width: int, file: Path) -> None:
        """Take the models over inputs of this width."""
        self.heads_ = []
        for place, classes in enumerate(self.labels_):
            if len(classes) == 1:
                self.heads_.append(None)
                continue
            names = f"model_{place}.weights", f"model_{place}.intercepts"
            shapes = (len(classes), width), (len(classes),)
            parts = (
                tensor_of(tensors, name, np.float64, shape, where=file, remedy=_REMEDY)
                for name, shape in zip(names, shapes, strict=True)
            )
            self.heads_.append(_Linear(*parts))


class TfidfLogisticClassifier(_Logistic):
    """Logistic regression over TF-IDF of a query's words, runs of two words, and character n-grams within words.

    Parameters
    ----------
    target : "paths" or "levels"
        As in `PathBaseline`.
    char_ngrams : (int, int)
        Shortest and longest character n-gram.
    word_ngrams : int
        Longest run of words.
    features : int
        The most frequent words, and as many character n-grams, that are kept.
    inverse_regularisation : float
        Scikit-learn's `C`.
    max_iterations : int
        Steps of the optimiser.
    """

    def __init__(
        self,
        *,
        target: str = "paths",
        char_ngrams: tuple[int, int] = (2, 5),
        word_ngrams: int = 2,
        features: int = 20_000,
        inverse_regularisation: float = 30.0,
        max_iterations: int = 200,
    ) -> None:
        self.target = target
        self.char_ngrams = char_ngrams
        self.word_ngrams = word_ngrams
        self.features = features
        self.inverse_regularisation = inverse_regularisation
        self.max_iterations = max_iterations

    def save(self, path: str | Path) -> None:
        """Write a folder without pickle; raises `OutputError` if it cannot be."""
        self._depth()
        terms = [vectorizer.get_feature_names_out().tolist() for vectorizer in self._vectorizers]
        tensors = {f"idf_{place}": vectorizer.idf_ for place, vectorizer in enumerate(self._vectorizers)}
        self._save(path, "tfidf-logistic", tensors, terms)

    @classmethod
    def load(cls, path: str | Path) -> "TfidfLogisticClassifier":
        """Read a classifier written by `save`; raises `DataError` if a file is missing or was changed."""
        from classifiers.baseline_files import known_file, read_folder

        folder = Path(path)
        classifier, files = read_folder(folder, "tfidf-logistic", cls)
        tensors, file = classifier._read(files, folder)
        place = known_file(files, _WORDS, folder)
        vectorizers = classifier._new_vectorizers()
        terms = checked(list[list[str]], read_list(place, remedy=_REMEDY), where=place, remedy=_REMEDY)
        if len(terms) != len(vectorizers) or any(not own or len(set(own)) != len(own) for own in terms):
            raise DataError(f"File {place} must hold {len(vectorizers)} lists of distinct terms; {_REMEDY}.")
        for number, (vectorizer, own) in enumerate(zip(vectorizers, terms, strict=True)):
            vectorizer.vocabulary = {term: column for column, term in enumerate(own)}
            vectorizer.idf_ = tensor_of(tensors, f"idf_{number}", np.float64, (len(own),), where=file, remedy=_REMEDY)
        classifier._vectorizers = vectorizers
        classifier._take_heads(tensors, sum(map(len, terms)), file)
        return classifier

    def _check_settings(self) -> None:
        super()._check_settings()
        for name in ("word_ngrams", "features"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise SettingError(
                    f"The {name!r} setting of TfidfLogisticClassifier must be a whole number from 1; "
                    f"got {getattr(self, name)!r}."
                )
        shortest, longest = self.char_ngrams
        if not 1 <= shortest <= longest:
            raise SettingError(
                "The 'char_ngrams' setting of TfidfLogisticClassifier must be two lengths from 1, the shorter first; "
                f"got {self.char_ngrams!r}."
            )

    def _new_vectorizers(self) -> list[TfidfVectorizer]:
        common: dict[str, Any] = {"lowercase": False, "sublinear_tf": True, "max_features": self.features}
        # any run of what is not white space: a word of one letter, or an emoji, is a word
        words = TfidfVectorizer(token_pattern=r"\S+", ngram_range=(1, self.word_ngrams), **common)
        return [words, TfidfVectorizer(analyzer="char_wb", ngram_range=self.char_ngrams, **common)]

    def _inputs(self, X: Any, fitting: bool) -> Any:
        texts = _normal_texts(X)
        if fitting:
            self._vectorizers = self._new_vectorizers()
            if not any(texts):
                raise DataError("There are no words to learn from; give at least one query that is not blank.")
            return scipy.sparse.hstack([one.fit_transform(texts) for one in self._vectorizers], format="csr")
        return scipy.sparse.hstack([one.transform(texts) for one in self._vectorizers], format="csr")


class EmbeddingLogisticClassifier(_Logistic):
    """Logistic regression over vectors of queries, of any encoder: what a flat classifier makes of the same vectors.

    Parameters
    ----------
    target : "paths" or "levels"
        As in `PathBaseline`.
    inverse_regularisation : float
        Scikit-learn's `C`; vectors are brought to mean 0 and deviation 1 in each dimension first.
    max_iterations : int
        Steps of the optimiser.
    """

    def __init__(
        self, *, target: str = "paths", inverse_regularisation: float = 0.01, max_iterations: int = 200
    ) -> None:
        self.target = target
        self.inverse_regularisation = inverse_regularisation
        self.max_iterations = max_iterations

    def save(self, path: str | Path) -> None:
        """Write a folder without pickle; raises `OutputError` if it cannot be."""
        self._depth()
        self._save(path, "embedding-logistic", {"mean": self.mean_, "scale": self.scale_})

    @classmethod
    def load(cls, path: str | Path) -> "EmbeddingLogisticClassifier":
        """Read a classifier written by `save`; raises `DataError` if a file is missing or was changed."""
        from classifiers.baseline_files import read_folder

        folder = Path(path)
        classifier, files = read_folder(folder, "embedding-logistic", cls)
        tensors, file = classifier._read(files, folder)
        classifier.mean_ = tensor_of(tensors, "mean", np.float64, (None,), where=file, remedy=_REMEDY)
        width = len(classifier.mean_)
        classifier.scale_ = tensor_of(tensors, "scale", np.float64, (width,), where=file, remedy=_REMEDY)
        if not (classifier.scale_ > 0).all():
            raise DataError(f"The tensor 'scale' of {file} holds a number that is not above 0; {_REMEDY}.")
        classifier._take_heads(tensors, width, file)
        return classifier

    def _inputs(self, X: Any, fitting: bool) -> FloatArray:
        vectors_QD = np.asarray(X, dtype=np.float64)
        if vectors_QD.ndim != 2 or not np.isfinite(vectors_QD).all():
            raise DataError(f"Vectors must be finite numbers (queries, width); got shape {vectors_QD.shape}.")
        if fitting:
            self.mean_, deviation = vectors_QD.mean(axis=0), vectors_QD.std(axis=0)
            self.scale_ = np.where(deviation > 1e-9, deviation, 1.0)
        elif vectors_QD.shape[1] != len(self.mean_):
            raise DataError(
                f"Vectors are {vectors_QD.shape[1]} wide, but the classifier learnt from {len(self.mean_)}."
            )
        return np.asarray((vectors_QD - self.mean_) / self.scale_)


def _normal_texts(X: Any) -> list[str]:
    found: list[str] = normalise(pa.array(text_list(X, empty=True), pa.string())).to_pylist()
    return found
