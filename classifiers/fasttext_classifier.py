"""The baseline of section 5.4: FastText over the text of queries, with the interface of `InterestClassifier`.

Shapes: Q queries, P classes of a model, H hidden units.
"""

import re
import sys
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifiers.paths import PathBaseline
from omnifeat.data.text_lists import text_list
from omnifeat.errors import MissingDependencyError, SettingError
from omnifeat.scratch import temporary_folder
from omnifeat.text import normalise

__all__ = ["LABEL", "LOSSES", "DivergedError", "FastTextClassifier", "fasttext_lines"]

FloatArray = npt.NDArray[np.float64]
LOSSES = ("softmax", "hierarchical-softmax", "one-vs-all")
_LIBRARY_LOSSES = dict(zip(LOSSES, ("softmax", "hs", "ova"), strict=True))
LABEL = "__label__"
# What fastText takes for something else than a word: the white space it splits at besides a blank (null and vertical
# tab among it), and the mark of a line's end, at which it stops reading.
_SPLITTING = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")
_LOGITS_AT_ONCE = 4_000_000
_MOST = 2**31 - 1  # the library's integers


class DivergedError(SettingError):
    """The learning rate is too high for the data: weights became infinite."""


class FastTextClassifier(PathBaseline):
    """Bags of words, word n-grams and character n-grams through one linear layer, by the `fasttext-community` library.

    Texts are normalised as everywhere here (NFKC, lower case, white space). Rows are put in an order of their own
    before they are shuffled by the seed, because fastText reads them in turn: the same rows in any order, with one
    thread, give the same classifier.

    Parameters
    ----------
    loss : "softmax", "hierarchical-softmax" or "one-vs-all"
        One-vs-all is for queries of several interests: each class has a probability of its own. The softmaxes
        take one of a row's interests at random in each epoch.
    target : "paths" or "levels"
        One model over whole paths, summed up the tree; or a model per level.
    char_ngrams : (int, int)
        Shortest and longest character n-gram; (0, 0) for none.
    word_ngrams : int
        Longest run of words; 1 for words alone.
    epochs : int
    learning_rate : float
        Falls to zero over the epochs.
    dim : int
        H.
    buckets : int
        Hash buckets that character n-grams and runs of words share; memory is `buckets` x `dim` x 4 bytes a model.
    seed : int
    threads : int
        More than one is quicker and no longer repeatable.

    Attributes
    ----------
    labels_, depth_ : see `PathBaseline`
    """

    def __init__(
        self,
        *,
        loss: str = "softmax",
        target: str = "paths",
        char_ngrams: tuple[int, int] = (3, 5),
        word_ngrams: int = 2,
        epochs: int = 200,
        learning_rate: float = 0.5,
        dim: int = 100,
        buckets: int = 200_000,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        self.loss = loss
        self.target = target
        self.char_ngrams = char_ngrams
        self.word_ngrams = word_ngrams
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.dim = dim
        self.buckets = buckets
        self.seed = seed
        self.threads = threads

    def save(self, path: str | Path) -> None:
        """Write a folder with fastText's own `.bin` files and a JSON; raises `OutputError` if it cannot be."""
        from classifiers.baseline_files import save_fasttext

        save_fasttext(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "FastTextClassifier":
        """Read a classifier written by `save`; raises `DataError` if a file is missing or was changed."""
        from classifiers.baseline_files import load_fasttext

        return load_fasttext(path)

    def _check_settings(self) -> None:
        if self.loss not in LOSSES:
            raise SettingError(
                f"There is no loss {self.loss!r} of FastTextClassifier; choose one of {', '.join(LOSSES)}."
            )
        for name, least in (("word_ngrams", 1), ("epochs", 1), ("dim", 1), ("buckets", 1), ("threads", 1), ("seed", 0)):
            value: Any = getattr(self, name)
            if not _is_whole(value) or not least <= value <= _MOST:
                raise SettingError(
                    f"The {name!r} setting of FastTextClassifier must be a whole number from {least} to {_MOST}; "
                    f"got {value!r}."
                )
        if not _are_lengths(self.char_ngrams):
            raise SettingError(
                "The 'char_ngrams' setting of FastTextClassifier must be (0, 0) or two lengths from 1, the shorter "
                f"first; got {self.char_ngrams!r}."
            )
        rate: Any = self.learning_rate
        if not isinstance(rate, Real) or not float(rate) > 0:
            raise SettingError(
                f"The 'learning_rate' setting of FastTextClassifier must be above 0; got {self.learning_rate!r}."
            )

    def _inputs(self, X: Any, fitting: bool) -> list[str]:
        return fasttext_lines(X)

    def _one_against_all(self) -> bool:
        return self.loss == "one-vs-all"

    def _fit_head(self, inputs: list[str], labels: list[tuple[int, ...]], classes: int) -> "_Head":
        # A label's number has a fixed width, so that sorting lines does not depend on how many classes there are.
        lines = sorted(
            " ".join([*(f"{LABEL}{label:09d}" for label in of_row), text])
            for text, of_row in zip(inputs, labels, strict=True)
        )
        order = np.random.default_rng(self.seed).permutation(len(lines))
        with temporary_folder() as scratch:
            file = scratch / "train.txt"
            with file.open("w", encoding="utf-8", newline="\n") as stream:
                stream.writelines(f"{lines[index]}\n" for index in order)
            try:
                model = fasttext_module().train_supervised(
                    str(file),
                    loss=_LIBRARY_LOSSES[self.loss],
                    minn=int(self.char_ngrams[0]),
                    maxn=int(self.char_ngrams[1]),
                    wordNgrams=int(self.word_ngrams),
                    epoch=int(self.epochs),
                    lr=float(self.learning_rate),
                    dim=int(self.dim),
                    bucket=int(self.buckets),
                    seed=int(self.seed),
                    thread=int(self.threads),
                    label=LABEL,
                    verbose=0,
                )
            except RuntimeError as error:
                if "nan" not in str(error).lower():
                    raise
                raise DivergedError(
                    f"Training of fastText diverged at a learning rate of {self.learning_rate}; choose a lower one."
                ) from None
        return _Head(model, self.loss)

    def _head_probabilities(self, head: "_Head", inputs: list[str]) -> FloatArray:
        return head.probabilities(inputs)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral)


def _are_lengths(lengths: Any) -> bool:
    """Whether these are (0, 0) or two whole numbers from 1, the smaller first."""
    if not isinstance(lengths, tuple | list) or len(lengths) != 2:
        return False
    shortest, longest = lengths
    if not all(_is_whole(length) for length in lengths):
        return False
    return bool(shortest == longest == 0 or 1 <= shortest <= longest <= _MOST)


class _Head:
    """One fastText model, its classes brought back into the order of their numbers."""

    def __init__(self, model: Any, loss: str) -> None:
        self.model = model
        self.loss = loss
        self._column = np.array([int(label.removeprefix(LABEL)) for label in model.get_labels()], dtype=np.int64)
        self._weights_PH: FloatArray | None = None

    def probabilities(self, lines: Sequence[str]) -> FloatArray:
        """Float64 (Q, P)."""
        if self.loss == "hierarchical-softmax":
            found_QP = self._by_library(lines)
            totals = found_QP.sum(axis=1, keepdims=True)  # fastText adds 1e-5 at each step down its tree
            return np.divide(found_QP, totals, out=np.full(found_QP.shape, 1 / found_QP.shape[1]), where=totals > 0)
        if self._weights_PH is None:
            self._weights_PH = np.asarray(self.model.get_output_matrix(), dtype=np.float64)
        found_QP = np.empty((len(lines), len(self._column)))
        block = max(1, _LOGITS_AT_ONCE // len(self._column))
        for start in range(0, len(lines), block):
            hidden = [self.model.get_sentence_vector(line) for line in lines[start : start + block]]
            # einsum, not a matrix product: a row's sums must not depend on how many rows are beside it
            logits = np.einsum("qh,ph->qp", np.asarray(hidden, dtype=np.float64), self._weights_PH)
            found_QP[start : start + len(logits), self._column] = _shares(logits, self.loss)
        return found_QP

    def _by_library(self, lines: Sequence[str]) -> FloatArray:
        """As fastText's own `predict`, which leaves out classes below 1e-5: those get zero."""
        found_QP = np.zeros((len(lines), len(self._column)))
        for row, line in enumerate(lines):
            labels, shares = self.model.predict(line, k=-1)
            for label, share in zip(labels, shares, strict=True):
                found_QP[row, int(label.removeprefix(LABEL))] = min(float(share), 1.0)
        return found_QP


def _shares(logits: FloatArray, loss: str) -> FloatArray:
    if loss == "one-vs-all":
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -500, 500))))
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def fasttext_lines(X: Any) -> list[str]:
    """Texts as fastText may read them: normalised, one line each, no word that it would take for a label or an end.

    Raises
    ------
    DataError
        Something is not text, or null.
    """
    texts = text_list(X, empty=True)
    lines = [_SPLITTING.sub(" ", text) for text in normalise(pa.array(texts, pa.string())).to_pylist()]
    # The prefix inside a query is text; without its first underscores fastText reads it as such.
    return [" ".join(_plain_word(word) for word in line.split()) for line in lines]


def _plain_word(word: str) -> str:
    while word.startswith(LABEL):
        word = word.removeprefix("__")
    return "< /s >" if word == "</s>" else word


def fasttext_module() -> Any:
    """The library, imported when it is needed.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """
    try:
        import fasttext
    except ImportError:
        raise MissingDependencyError(
            f"FastText is not installed; add it with `{Path(sys.executable).name} -m pip install fasttext-community`."
        ) from None
    return fasttext
