"""A peer: the `hiclass` library's local classifier per parent node, over vectors, with the baselines' interface."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from classifiers.interest import InterestPath
from classifiers.paths import path_sets
from omnifeat.errors import DataError, MissingDependencyError, SettingError

__all__ = ["HiclassClassifier"]

FloatArray = npt.NDArray[np.float64]


class HiclassClassifier(BaseEstimator):
    """Logistic regressions per parent, as hiclass arranges them; for comparison only.

    What hiclass answers is given as it is, faults included: its probabilities of a row depend on the other rows that
    are asked about, and are brought to sum to one at each level, so that a path that ends above a level has no
    probability of ending there. One interest a row. It has no format without pickle, so it cannot be saved.

    Parameters
    ----------
    inverse_regularisation : float
        Scikit-learn's `C`; vectors are brought to mean 0 and deviation 1 in each dimension first.
    max_iterations : int
        Steps of the optimiser.
    """

    def __init__(self, *, inverse_regularisation: float = 0.1, max_iterations: int = 200) -> None:
        self.inverse_regularisation = inverse_regularisation
        self.max_iterations = max_iterations

    def fit(self, X: Any, paths: Sequence[Any]) -> Self:
        """Learn from Q vectors and the path of each; of several paths of a row the first by name is taken.

        Raises
        ------
        DataError
            Vectors or paths that are not so.
        MissingDependencyError
            The library is not installed.
        """
        vectors_QD = _vectors(X)
        own = [of_row[0] for of_row in path_sets(paths, len(vectors_QD))]
        self.depth_ = max(len(path) for path in own)
        self.mean_, deviation = vectors_QD.mean(axis=0), vectors_QD.std(axis=0)
        self.scale_ = np.where(deviation > 1e-9, deviation, 1.0)
        # hiclass takes equal names at two places for one node: each node gets a name of its own
        self._nodes = sorted({path[:cut] for path in own for cut in range(1, len(path) + 1)})
        name = {path: f"n{place}" for place, path in enumerate(self._nodes)}
        labels = [[name[path[: cut + 1]] if len(path) > cut else "" for cut in range(self.depth_)] for path in own]
        regression = LogisticRegression(C=self.inverse_regularisation, max_iter=self.max_iterations, tol=1e-3)
        self._model = hiclass_module().LocalClassifierPerParentNode(
            local_classifier=regression, return_all_probabilities=True, verbose=50
        )
        self._model.fit(self._scaled(vectors_QD), np.array(labels))
        return self

    def classes_at(self, level: int) -> list[InterestPath]:
        """Paths of the interests of a level (0 at the root), in the order of `predict_proba`'s columns."""
        self._check_level(level)
        return [path for path in self._nodes if len(path) == level + 1]

    def predict_proba(self, X: Any, level: int) -> FloatArray:
        """Probability of each interest of a level as hiclass gives it, float64 (Q, C)."""
        self._check_level(level)
        return self.predict_levels(X)[level]

    def predict_levels(self, X: Any) -> list[FloatArray]:
        """`predict_proba` of every level."""
        self._check_level(0)
        found = self._model.predict_proba(self._scaled(_vectors(X)))
        columns = {f"n{place}": path for place, path in enumerate(self._nodes)}
        ordered = []
        for level, shares in enumerate(found):
            # the empty name stands for paths that ended above: hiclass gives it a column, and no probability
            names = enumerate(map(str, self._model.classes_[level]))
            place = {columns[name]: column for column, name in names if name}
            ordered.append(
                np.column_stack([np.asarray(shares, np.float64)[:, place[path]] for path in self.classes_at(level)])
            )
        return ordered

    def predict(self, X: Any, level: int | None = None) -> list[InterestPath]:
        """One interest per query: the most probable of a level, or the whole path as hiclass walks it."""
        if level is not None:
            classes = self.classes_at(level)
            return [classes[index] for index in self.predict_proba(X, level).argmax(axis=1)]
        self._check_level(0)
        found = self._model.predict(self._scaled(_vectors(X)))
        return [self._nodes[int([name for name in names if name][-1][1:])] for names in found]

    def save(self, path: str | Path) -> None:
        """Refused: hiclass models can be pickled only."""
        raise SettingError(f"A HiclassClassifier cannot be saved to {path}, for hiclass has no format but pickle.")

    def _scaled(self, vectors_QD: FloatArray) -> FloatArray:
        return np.asarray((vectors_QD - self.mean_) / self.scale_)

    def _check_level(self, level: int) -> None:
        if not hasattr(self, "_model"):
            raise NotFittedError("This HiclassClassifier is not fitted yet; call fit.")
        if not 0 <= level < self.depth_:
            raise SettingError(f"There is no level {level}; the classifier has levels 0 to {self.depth_ - 1}.")


def hiclass_module() -> Any:
    """The library, imported when it is needed; raises `MissingDependencyError` with the command that installs it."""
    try:
        import hiclass
    except ImportError:
        raise MissingDependencyError(
            f"The library hiclass is not installed; add it with `{Path(sys.executable).name} -m pip install hiclass`."
        ) from None
    return hiclass


def _vectors(X: Any) -> FloatArray:
    vectors_QD = np.asarray(X, dtype=np.float64)
    if vectors_QD.ndim != 2 or len(vectors_QD) == 0 or not np.isfinite(vectors_QD).all():
        raise DataError(f"Vectors must be finite numbers (queries, width); got shape {vectors_QD.shape}.")
    return vectors_QD
