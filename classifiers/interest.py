"""A classifier of query embeddings into a tree of interests, level by level (section 5.4 of the paper).

Shapes: Q queries, D embedding width, C nodes of a level.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from omnifeat.errors import DataError, FingerprintError, SettingError

__all__ = ["InterestClassifier", "InterestPath", "Level"]

InterestPath = tuple[str, ...]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Level:
    """Nodes of one level and the linear scores that tell them apart.

    `paths` names each node by its path from the root. A node with `ends` True stands for the queries that go no deeper
    than its path, which is the parent's: without it all of a parent's probability would pass on to its children.
    `parents` int64 (C,) are nodes of the level above (zeros at the root); `weights` float64 (C, D), `intercepts` (C,).
    """

    paths: tuple[InterestPath, ...]
    ends: npt.NDArray[np.bool_]
    parents: IntArray
    weights: FloatArray
    intercepts: FloatArray


class InterestClassifier(BaseEstimator):
    """Multinomial logistic regression per level, held together by the tree.

    A level's regression gives P(child | parent), its softmax among the children of each parent; a node's probability
    is that times its parent's, so that it never exceeds it and the children of a node never sum to more than it has.
    A row's result does not depend on the rows beside it.

    Parameters
    ----------
    inverse_regularisation : float
        Scikit-learn's `C`: lower keeps the weights closer to zero.
    max_iterations : int
        Steps of the optimiser for each level; scikit-learn warns if they were too few.
    encoder_fingerprint : str or None
        Fingerprint of the frozen encoder that made the embeddings; embeddings of another are refused.

    Attributes
    ----------
    levels_ : tuple of Level
        What was learnt, from the root down.
    mean_, scale_ : float64 (D,)
        Mean and standard deviation of the embeddings of `fit`; each dimension is brought to mean 0 and deviation 1.
    n_features_in_ : int
        D.
    """

    def __init__(
        self,
        *,
        inverse_regularisation: float = 0.1,
        max_iterations: int = 1000,
        encoder_fingerprint: str | None = None,
    ) -> None:
        self.inverse_regularisation = inverse_regularisation
        self.max_iterations = max_iterations
        self.encoder_fingerprint = encoder_fingerprint

    def fit(self, X: Any, paths: Sequence[Sequence[str]], *, sample_weight: Any = None) -> Self:
        """Learn from Q queries.

        Parameters
        ----------
        X : float (Q, D)
            Query embeddings.
        paths : Q tuples of text
            The interest of each query as its path from the root, such as `("smileys", "face-smiling")`. A path may end
            above a leaf. A query of several interests stands in several rows.
        sample_weight : (Q,) or None
            Weight of each row, above zero.

        Raises
        ------
        DataError
            Embeddings, paths or weights that are not as above.
        SettingError
            A setting out of its range.
        """
        if not self.inverse_regularisation > 0:
            raise SettingError(
                "The 'inverse_regularisation' setting of InterestClassifier must be above 0; "
                f"got {self.inverse_regularisation!r}."
            )
        if not isinstance(self.max_iterations, int) or self.max_iterations < 1:
            raise SettingError(
                "The 'max_iterations' setting of InterestClassifier must be a whole number from 1; "
                f"got {self.max_iterations!r}."
            )
        embeddings_QD = _embeddings(X)
        checked = _paths(paths, len(embeddings_QD))
        weights_Q = _sample_weights(sample_weight, len(embeddings_QD))
        self.mean_ = embeddings_QD.mean(axis=0)
        deviation = embeddings_QD.std(axis=0)
        # A dimension that does not vary (but for rounding) says nothing: its centred value is left as it is.
        self.scale_ = np.where(deviation > 1e-9 * np.maximum(1.0, np.abs(self.mean_)), deviation, 1.0)
        self.n_features_in_ = embeddings_QD.shape[1]
        scaled_QD = (embeddings_QD - self.mean_) / self.scale_

        levels: list[Level] = []
        for depth in range(max(len(path) for path in checked)):
            levels.append(self._fit_level(depth, scaled_QD, checked, weights_Q, levels))
        self.levels_ = tuple(levels)
        self.encoder_fingerprint_ = self.encoder_fingerprint
        return self

    def _fit_level(
        self,
        depth: int,
        scaled_QD: FloatArray,
        paths: Sequence[InterestPath],
        weights_Q: FloatArray,
        above: Sequence[Level],
    ) -> Level:
        """Learn the nodes at one depth; `above` holds the levels already learnt."""
        nodes = {path[: depth + 1] for path in paths if len(path) > depth}
        divided = {path[:depth] for path in nodes}
        rows = [row for row, path in enumerate(paths) if len(path) >= depth and path[:depth] in divided]
        # (path, whether queries end there): the path of an ending node is as long as its parent's.
        node_of_row = [(paths[row][: depth + 1], len(paths[row]) == depth) for row in rows]
        order = sorted(set(node_of_row))
        place = {node: index for index, node in enumerate(order)}
        targets = np.array([place[node] for node in node_of_row], dtype=np.int64)
        if depth == 0:
            parents = np.zeros(len(order), dtype=np.int64)
        else:
            parent_place = {
                path: index
                for index, (path, end) in enumerate(zip(above[-1].paths, above[-1].ends, strict=True))
                if not end
            }
            parents = np.array([parent_place[path[:depth]] for path, _ in order], dtype=np.int64)
        weights, intercepts = self._regression(scaled_QD[rows], targets, len(order), weights_Q[rows])
        return Level(
            tuple(path for path, _ in order),
            np.array([end for _, end in order], dtype=np.bool_),
            parents,
            weights,
            intercepts,
        )

    def _regression(
        self, scaled: FloatArray, targets: IntArray, classes: int, sample_weight: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        if classes == 1:
            return np.zeros((1, scaled.shape[1])), np.zeros(1)
        model = LogisticRegression(C=self.inverse_regularisation, max_iter=self.max_iterations)
        model.fit(scaled, targets, sample_weight=sample_weight)
        weights, intercepts = model.coef_, model.intercept_
        if classes == 2:  # one row then tells the second class from the first
            weights = np.concatenate([np.zeros_like(weights), weights])
            intercepts = np.concatenate([np.zeros_like(intercepts), intercepts])
        return weights.astype(np.float64), intercepts.astype(np.float64)

    def classes_at(self, level: int) -> list[InterestPath]:
        """Paths of the interests of a level (0 at the root), in the order of `predict_proba`'s columns."""
        found = self._level(level)
        return [path for path, end in zip(found.paths, found.ends, strict=True) if not end]

    def predict_proba(self, X: Any, level: int, *, encoder_fingerprint: str | None = None) -> FloatArray:
        """Probability of each interest of a level, float64 (Q, interests of the level).

        A row's sum is 1 at the root, and below it the share of queries that go so deep.

        Raises
        ------
        NotFittedError
            The classifier has not been fitted.
        SettingError
            There is no such level.
        DataError
            Embeddings of another width, or that are not finite.
        FingerprintError
            `encoder_fingerprint` is not the encoder's that the classifier was trained on.
        """
        found = self._level(level)
        probabilities = self._probabilities(X, encoder_fingerprint)[level]
        return probabilities[:, ~found.ends]

    def predict(
        self, X: Any, level: int | None = None, *, encoder_fingerprint: str | None = None
    ) -> list[InterestPath]:
        """One interest per query, as its path from the root; of equals the first in order of name.

        With a level, the most probable of that level. Without, the most probable place where a path ends: a leaf, or
        an interest at which queries of `fit` ended. Raised errors as in `predict_proba`.
        """
        if level is not None:
            classes = self.classes_at(level)
            probabilities = self.predict_proba(X, level, encoder_fingerprint=encoder_fingerprint)
            return [classes[index] for index in probabilities.argmax(axis=1)]
        levels = self._fitted_levels()
        per_level = self._probabilities(X, encoder_fingerprint)
        paths: list[InterestPath] = []
        columns: list[FloatArray] = []
        for depth, (found, probabilities) in enumerate(zip(levels, per_level, strict=True)):
            divided = set(levels[depth + 1].parents.tolist()) if depth + 1 < len(levels) else set()
            for index, path in enumerate(found.paths):
                if found.ends[index] or index not in divided:
                    paths.append(path)
                    columns.append(probabilities[:, index])
        best = np.column_stack(columns).argmax(axis=1)
        return [paths[index] for index in best]

    def check_encoder(self, fingerprint: str) -> None:
        """Raise `FingerprintError` if the classifier was trained on embeddings of another encoder than this one."""
        self._fitted_levels()
        own = self.encoder_fingerprint_
        if own is not None and own != fingerprint:
            raise FingerprintError(
                f"The classifier takes embeddings of encoder {own}, but these are of encoder {fingerprint}; "
                "use the same encoder, or train the classifier anew."
            )

    def save(self, path: str | Path) -> None:
        """Write the classifier as a folder (see `classifiers.saving`); raises `OutputError` if it cannot be."""
        from classifiers.saving import save_classifier

        save_classifier(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "InterestClassifier":
        """Read a classifier written by `save`; raises `DataError` if a file is missing or was changed."""
        from classifiers.saving import load_classifier

        return load_classifier(path)

    def __sklearn_is_fitted__(self) -> bool:
        """Whether `fit` or `load` has been called."""
        return hasattr(self, "levels_")

    def _fitted_levels(self) -> tuple[Level, ...]:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError("This InterestClassifier is not fitted yet; call fit, or load a saved one.")
        return self.levels_

    def _level(self, level: int) -> Level:
        levels = self._fitted_levels()
        if not 0 <= level < len(levels):
            raise SettingError(f"There is no level {level}; the classifier has levels 0 to {len(levels) - 1}.")
        return levels[level]

    def _probabilities(self, X: Any, encoder_fingerprint: str | None) -> list[FloatArray]:
        """Probabilities of all nodes, float64 (Q, C) per level."""
        levels = self._fitted_levels()
        if encoder_fingerprint is not None:
            self.check_encoder(encoder_fingerprint)
        embeddings_QD = _embeddings(X, self.n_features_in_)
        scaled_QD = (embeddings_QD - self.mean_) / self.scale_
        probabilities: list[FloatArray] = []
        for found in levels:
            logits_QC = scaled_QD @ found.weights.T + found.intercepts
            conditional_QC = _softmax_among_siblings(logits_QC, found.parents)
            probabilities.append(
                conditional_QC * probabilities[-1][:, found.parents] if probabilities else conditional_QC
            )
        return probabilities


def _softmax_among_siblings(logits_QC: FloatArray, parents_C: IntArray) -> FloatArray:
    """Softmax over the nodes that share a parent, float64 (Q, C)."""
    conditional_QC = np.empty_like(logits_QC)
    for parent in np.unique(parents_C):
        siblings = np.flatnonzero(parents_C == parent)
        logits = logits_QC[:, siblings]
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        conditional_QC[:, siblings] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return conditional_QC


def _embeddings(X: Any, width: int | None = None) -> FloatArray:
    try:
        embeddings = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError("Embeddings must be an array of numbers (queries, width); got something else.") from None
    if embeddings.ndim != 2 or embeddings.shape[1] == 0:
        raise DataError(f"Embeddings must have shape (queries, width); got {embeddings.shape} instead.")
    if width is None and len(embeddings) == 0:
        raise DataError("There are no embeddings to learn from; give at least one query.")
    if width is not None and embeddings.shape[1] != width:
        raise DataError(f"Embeddings are {embeddings.shape[1]} wide, but the classifier was trained on width {width}.")
    finite = np.isfinite(embeddings).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise DataError(f"The embedding in row {row} holds NaN or infinity; encode the query again or leave it out.")
    return embeddings


def _paths(paths: Sequence[Sequence[str]], rows: int) -> list[InterestPath]:
    if len(paths) != rows:
        raise DataError(f"There must be one path for each of the {rows} embeddings; got {len(paths)}.")
    checked = []
    for row, path in enumerate(paths):
        if isinstance(path, str) or not path or not all(isinstance(name, str) and name for name in path):
            raise DataError(
                f"The path of row {row} must be a tuple of names from the root, such as ('animals', 'birds'); "
                f"got {path!r}."
            )
        checked.append(tuple(path))
    return checked


def _sample_weights(sample_weight: Any, rows: int) -> FloatArray:
    if sample_weight is None:
        return np.ones(rows)
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (rows,) or not (np.isfinite(weights).all() and (weights > 0).all()):
        raise DataError(f"Sample weights must be {rows} numbers above zero, one a row; got shape {weights.shape}.")
    return weights
