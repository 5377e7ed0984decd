"""What the baselines share: paths of interests as classes, and their probabilities summed up the tree.

Shapes: Q queries, P places where paths end, C interests of a level.
"""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from classifiers.interest import InterestPath
from omnifeat.data.text_lists import is_unicode, refuse_tables
from omnifeat.errors import DataError, SettingError

__all__ = ["TARGETS", "PathBaseline", "path_sets"]

FloatArray = npt.NDArray[np.float64]
PathSet = tuple[InterestPath, ...]
TARGETS = ("paths", "levels")
_COLLECTIONS = (list, tuple, set, frozenset, np.ndarray)


def path_sets(paths: Sequence[Any], rows: int) -> list[PathSet]:
    """The interests of each row as a sorted tuple of paths; a row may give one path, or several in any collection.

    Raises
    ------
    DataError
        There are fewer or more than the rows, or a row has no path, or one that is not names from the root.
    """
    refuse_tables(paths, "interests")
    if not hasattr(paths, "__len__"):
        raise DataError(f"Interests must be a list, one for each of the {rows} queries; got {paths!r}.")
    if len(paths) != rows:
        raise DataError(f"There must be interests for each of the {rows} queries; got {len(paths)}.")
    checked = []
    for row, given in enumerate(paths, start=1):
        several = [given] if isinstance(given, tuple) and given and isinstance(given[0], str) else given
        if not isinstance(several, _COLLECTIONS) or not len(several) or not all(_is_path(path) for path in several):
            raise DataError(
                f"The interests of row {row} must be a path of names from the root, such as ('animals', 'birds'), or "
                f"several of them; got {given!r}."
            )
        checked.append(tuple(sorted({tuple(path) for path in several})))
    return checked


def _is_path(path: Any) -> bool:
    return (
        isinstance(path, tuple | list)
        and len(path) > 0
        and all(isinstance(name, str) and name and is_unicode(name) for name in path)
    )


class PathBaseline(BaseEstimator):
    """A flat classifier over paths, made to answer at every level.

    With the target `paths` one model tells apart the places where paths end, and an interest above has the sum of what
    lies below it (the largest, where classes are scored one against all): consistent down the tree. With `levels` there
    is one model per level over paths cut off there, and levels need not agree. In both, a path that ends above a level
    is a class of its own, so that a query may have no interest at a level.

    A subclass holds its settings, gives `_inputs`, `_fit_head`, `_head_probabilities`, and its file name.

    Attributes
    ----------
    labels_ : tuple of tuple of path
        The classes of each model, in the order of its columns: one model, or one per level.
    depth_ : int
        Number of levels.
    """

    target: str
    labels_: tuple[tuple[InterestPath, ...], ...]
    depth_: int

    @abstractmethod
    def _inputs(self, X: Any, fitting: bool) -> Any:
        """Check what is to be classified; raises `DataError`."""

    @abstractmethod
    def _fit_head(self, inputs: Any, labels: list[tuple[int, ...]], classes: int) -> Any:
        """Learn to tell apart `classes` >= 2 classes; `labels` are those of each row."""

    @abstractmethod
    def _head_probabilities(self, head: Any, inputs: Any) -> FloatArray:
        """Probabilities float64 (Q, classes) of what `_fit_head` gave."""

    @abstractmethod
    def _check_settings(self) -> None:
        """Raise `SettingError` for a setting out of its range."""

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Write the classifier as a folder without pickle; raises `OutputError` if it cannot be."""

    def fit(self, X: Any, paths: Sequence[Any]) -> Self:
        """Learn from Q queries, each with one path from the root or several.

        The result does not depend on the order of the rows.

        Raises
        ------
        DataError
            Queries or paths that are not as above.
        SettingError
            A setting out of its range.
        """
        self.check_settings()
        inputs = self._inputs(X, True)
        rows = path_sets(paths, len(X))
        if not rows:
            raise DataError("There are no queries to learn from; give at least one.")
        self.depth_ = max(len(path) for of_row in rows for path in of_row)
        cuts = [self.depth_] if self.target == "paths" else list(range(1, self.depth_ + 1))
        labels: list[tuple[InterestPath, ...]] = []
        heads: list[Any] = []
        for cut in cuts:
            of_rows = [{path[:cut] for path in of_row} for of_row in rows]
            classes = tuple(sorted({path for of_row in of_rows for path in of_row}))
            place = {path: index for index, path in enumerate(classes)}
            numbered = [tuple(sorted(place[path] for path in of_row)) for of_row in of_rows]
            labels.append(classes)
            heads.append(self._fit_head(inputs, numbered, len(classes)) if len(classes) > 1 else None)
        self.labels_, self.heads_ = tuple(labels), heads
        return self

    def check_settings(self) -> None:
        """Raise `SettingError` for a setting out of its range, before anything is fitted."""
        self._check_settings()
        if self.target not in TARGETS:
            raise SettingError(f"There is no target {self.target!r}; choose one of {', '.join(TARGETS)}.")

    def classes_at(self, level: int) -> list[InterestPath]:
        """Paths of the interests of a level (0 at the root), in the order of `predict_proba`'s columns."""
        cut, _ = self._labels_for(level)
        return sorted({path[: level + 1] for path in cut if len(path) > level})

    def predict_proba(self, X: Any, level: int) -> FloatArray:
        """Probability of each interest of a level, float64 (Q, C), between 0 and 1.

        Raises
        ------
        NotFittedError
            The classifier has not been fitted.
        SettingError
            There is no such level.
        DataError
            Queries that are not what `fit` takes.
        """
        labels, head = self._labels_for(level)
        ends_QP = self._probabilities(head, self._inputs(X, False), len(labels), len(X))
        return self._summed(ends_QP, labels, level)

    def predict_levels(self, X: Any) -> list[FloatArray]:
        """`predict_proba` of every level, with each model applied once."""
        self._labels_for(0)
        inputs = self._inputs(X, False)
        found: list[FloatArray] = []
        last: Any = None
        for level in range(self.depth_):
            labels, head = self._labels_for(level)
            if last is None or self.target == "levels":
                last = self._probabilities(head, inputs, len(labels), len(X))
            found.append(self._summed(last, labels, level))
        return found

    def predict(self, X: Any, level: int | None = None) -> list[InterestPath]:
        """One interest per query, of equals the first by name: of a level, or the whole path without one."""
        if level is not None:
            classes = self.classes_at(level)
            return [classes[index] for index in self.predict_proba(X, level).argmax(axis=1)]
        labels, head = self._labels_for(self._depth() - 1)
        ends_QP = self._probabilities(head, self._inputs(X, False), len(labels), len(X))
        return [labels[index] for index in ends_QP.argmax(axis=1)]

    def __sklearn_is_fitted__(self) -> bool:
        """Whether `fit` or `load` has been called."""
        return hasattr(self, "labels_")

    def _depth(self) -> int:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(f"This {type(self).__name__} is not fitted yet; call fit, or load a saved one.")
        return self.depth_

    def _labels_for(self, level: int) -> tuple[tuple[InterestPath, ...], Any]:
        depth = self._depth()
        if not 0 <= level < depth:
            raise SettingError(f"There is no level {level}; the classifier has levels 0 to {depth - 1}.")
        place = level if self.target == "levels" else 0
        return self.labels_[place], self.heads_[place]

    def _probabilities(self, head: Any, inputs: Any, classes: int, rows: int) -> FloatArray:
        if head is None:  # a single class is certain
            return np.ones((rows, classes))
        return self._head_probabilities(head, inputs)

    def _one_against_all(self) -> bool:
        """Whether the probabilities of the classes of a model do not share one whole."""
        return False

    def _summed(self, ends_QP: FloatArray, labels: tuple[InterestPath, ...], level: int) -> FloatArray:
        columns = sorted({path[: level + 1] for path in labels if len(path) > level})
        # Labels are sorted, so those below one interest lie side by side; those that end above are left out.
        kept = [index for index, path in enumerate(labels) if len(path) > level]
        place = {path: column for column, path in enumerate(columns)}
        owner = np.array([place[labels[index][: level + 1]] for index in kept], dtype=np.int64)
        starts = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
        gather = np.maximum if self._one_against_all() else np.add
        summed = gather.reduceat(ends_QP[:, kept], starts, axis=1)
        return np.minimum(summed, 1.0)  # a sum of many may pass 1 by a rounding
