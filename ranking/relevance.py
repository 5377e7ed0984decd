"""Relevance of an entity for a query, from human grades: the relevance model of section 5.2, and that of ads (5.3)."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from omnifeat.errors import DataError, SettingError
from ranking.base import LightGBMModel, Rows, TrainingFeatures, train_booster
from ranking.calibration import Calibration, SavedCalibration, check_calibration, fit_calibration
from ranking.groups import check_grades
from ranking.held_out import Parts, check_evaluation, split_parts

__all__ = ["HEADS", "AdsRelevanceModel", "RelevanceModel", "monotone"]

FloatArray = npt.NDArray[np.float64]

HEADS = ("ordinal", "multiclass")


class RelevanceModel(LightGBMModel):
    """Predicts the grade that raters would give, as a probability of each grade and as the expected grade.

    Both heads give P(grade > g) for every grade g but the highest; each of these is calibrated on queries that the
    boosters never learnt from, and they are then made to fall with g. The expected grade is the lowest grade plus the
    sum of P(grade > g) times the step from g to the next grade. It compares across queries, and so it is a feature of
    L2 as it is: add it as a column with `omnifeat rank predict --stage relevance`.

    The order of rows and of columns doesn't change the model, and a row's prediction depends on that row alone.

    Parameters
    ----------
    head : str
        `ordinal` trains one binary booster for each P(grade > g), which shares nothing but the features and knows the
        order of grades; `multiclass` one booster with a softmax over the grades, which does not.
    calibration : str
        `platt`, `isotonic` or `none` (see `ranking.calibration`).
    validation_fraction : float
        Share of the queries that is held out, by a hash of the query, where `fit` gets no evaluation set. On the same
        rows the number of trees is chosen and the calibration fitted; the trees are never grown on them.
    n_estimators, learning_rate, num_leaves, min_child_samples, reg_lambda, colsample_bytree
        As LightGBM has them; for `ordinal`, of each booster.
    early_stopping_rounds : int
        Trees without a better log loss on the held-out rows after which a booster stops.
    monotonic_cst : mapping of str to int or None
        Feature -> 1 where the grade may never fall as it grows, -1 where it may never rise; with `ordinal` alone.
    seed : int
    threads : int or None
        None for all cores; the model does not depend on it.
    encoder_fingerprint : str or None
        The frozen encoder behind the features. Without it, what the table of `fit` carries is taken.
    lightgbm_parameters : mapping or None
        Further parameters of LightGBM, over all that is set here.

    Attributes
    ----------
    classes_ : list of int
        The grades, rising.
    trees_ : list of int
        Trees of each booster.
    rows_, queries_, held_out_rows_, held_out_queries_ : int
        What the boosters learnt from, and what was held out.
    """

    kind: ClassVar[str] = "relevance"
    _fitted: ClassVar[Mapping[str, Any]] = {
        "classes_": list[int],
        "calibrations_": list[SavedCalibration],
        "trees_": list[int],
        "rows_": int,
        "queries_": int,
        "held_out_rows_": int,
        "held_out_queries_": int,
    }

    classes_: list[int]
    calibrations_: list[dict[str, Any]]
    trees_: list[int]

    def __init__(
        self,
        *,
        head: str = "ordinal",
        calibration: str = "platt",
        validation_fraction: float = 0.2,
        n_estimators: int = 300,
        learning_rate: float = 0.05,
        num_leaves: int = 15,
        min_child_samples: int = 20,
        reg_lambda: float = 0.0,
        colsample_bytree: float = 1.0,
        early_stopping_rounds: int = 30,
        monotonic_cst: Mapping[str, int] | None = None,
        seed: int = 0,
        threads: int | None = None,
        encoder_fingerprint: str | None = None,
        lightgbm_parameters: Mapping[str, Any] | None = None,
    ) -> None:
        self.head = head
        self.calibration = calibration
        self.validation_fraction = validation_fraction
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_child_samples = min_child_samples
        self.reg_lambda = reg_lambda
        self.colsample_bytree = colsample_bytree
        self.early_stopping_rounds = early_stopping_rounds
        self.monotonic_cst = monotonic_cst
        self.seed = seed
        self.threads = threads
        self.encoder_fingerprint = encoder_fingerprint
        self.lightgbm_parameters = lightgbm_parameters

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        query_ids: Any,
        split_ids: Any = None,
        eval_X: Any = None,
        eval_y: Any = None,
        eval_query_ids: Any = None,
    ) -> Self:
        """Train on n judged pairs, in any order.

        Parameters
        ----------
        X : pandas, Polars or Arrow table, dict of columns, or array (n, features)
            Numeric features; null and NaN are missing values.
        y : (n,) whole numbers from 0
            Grades, higher for better.
        query_ids : (n,)
            The query of each row, text or number: rows of one query are never parted.
        split_ids : (n,) or None
            What is never parted instead, where `query_ids` are requests of which several are of one query.
        eval_X, eval_y, eval_query_ids
            Rows to choose the number of trees and to calibrate on, in place of a held-out part; all three or none.
            They must be no rows of the training.

        Raises
        ------
        DataError
            Features that are not numbers, grades that are no grades, fewer than two grades or too few queries.
        SettingError
            A setting out of its range, or an evaluation set of which a part is missing.
        FingerprintError
            The features are of another encoder than `encoder_fingerprint`, or than those of the evaluation set.
        """
        self._check_settings()
        separate = check_evaluation(eval_X, eval_y, eval_query_ids)
        training = self._training_features(X)
        grades = check_grades(y, len(training.values), "grade")
        evaluation = None
        if separate:
            eval_values = self._further_features(training, eval_X)
            evaluation = (eval_values, check_grades(eval_y, len(eval_values), "evaluation grade"), eval_query_ids)
        parts = split_parts(
            training.values,
            grades,
            query_ids if split_ids is None else split_ids,
            evaluation,
            fraction=self.validation_fraction,
            seed=self.seed,
        )
        classes = np.unique(parts.labels)
        if len(classes) < 2:
            raise DataError(
                f"All {len(parts.labels):,} rows to learn from have the grade {classes[0]}, so there is nothing to "
                "tell apart; give pairs of two grades or more."
            )
        texts, self.trees_ = self._train(training, parts, classes)
        self.classes_ = [int(grade) for grade in classes]
        self._use(texts, training.manifest, training.fingerprint)
        raw = self._raw_cumulative(parts.held_values)
        self.calibrations_ = [
            fit_calibration(self.calibration, raw[:, place], parts.held_labels > grade).to_json()
            for place, grade in enumerate(self.classes_[:-1])
        ]
        self.rows_, self.queries_ = len(parts.labels), parts.queries
        self.held_out_rows_, self.held_out_queries_ = len(parts.held_labels), parts.held_queries
        return self

    def predict(self, X: Any, *, encoder_fingerprint: str | None = None) -> FloatArray:
        """Expected grades float64 (n,), between the lowest and the highest grade of the training.

        Raises
        ------
        NotFittedError
            The model has not been fitted.
        DataError
            A feature of training is missing, or a column is none. Columns in another order are put right.
        FingerprintError
            The features (by `encoder_fingerprint`, or by what the table carries) are of another encoder.
        """
        above = self._above(X, encoder_fingerprint)
        return self.classes_[0] + above @ np.diff(self.classes_).astype(np.float64)

    def predict_proba(self, X: Any, *, encoder_fingerprint: str | None = None) -> FloatArray:
        """Probability of each grade of `classes_`, float64 (n, grades), rows summing to 1; raises as `predict`."""
        above = self._above(X, encoder_fingerprint)
        edges = np.ones((len(above), 1))
        found: FloatArray = -np.diff(np.hstack([edges, above, 0 * edges]), axis=1)
        return found

    def predict_at_least(self, X: Any, grade: int, *, encoder_fingerprint: str | None = None) -> FloatArray:
        """P(grade or better) of each row, float64 (n,), on which a threshold may be set; raises as `predict`."""
        above = self._above(X, encoder_fingerprint)
        place = int(np.searchsorted(self.classes_, grade))
        if place == 0:
            return np.ones(len(above))
        return above[:, place - 1].copy() if place < len(self.classes_) else np.zeros(len(above))

    def _above(self, X: Any, encoder_fingerprint: str | None) -> FloatArray:
        """Calibrated P(grade > g) for each grade but the highest, float64 (n, grades - 1), falling along a row."""
        raw = self._raw_cumulative(self._values(X, encoder_fingerprint))
        maps = [Calibration.from_json(values) for values in self.calibrations_]
        return monotone(np.column_stack([found.apply(raw[:, place]) for place, found in enumerate(maps)]))

    def _raw_cumulative(self, values: FloatArray) -> FloatArray:
        """P(grade > g) as the boosters have it, float64 (n, grades - 1)."""
        if self.head == "multiclass":
            probabilities = self._boosted(values)
            above: FloatArray = np.cumsum(probabilities[:, :0:-1], axis=1)[:, ::-1]
            return np.clip(above, 0, 1)
        return np.column_stack([self._boosted(values, _above_name(grade)) for grade in self.classes_[:-1]])

    def _outputs(self) -> dict[str, int]:
        if len(self.classes_) < 2 or any(a >= b for a, b in pairwise(self.classes_)):
            raise ValueError("'classes_' must be two grades or more, rising")
        if len(self.calibrations_) != len(self.classes_) - 1:
            raise ValueError("'calibrations_' must be one for each grade but the highest")
        for values in self.calibrations_:
            Calibration.from_json(values)
        if self.head == "multiclass":
            return {"": len(self.classes_)}
        return {_above_name(grade): 1 for grade in self.classes_[:-1]}

    def _train(
        self, training: TrainingFeatures, parts: Parts, classes: npt.NDArray[np.int64]
    ) -> tuple[dict[str, str], list[int]]:
        """LightGBM's text of each booster by name, and the trees of each."""
        further = dict(self.lightgbm_parameters or {})

        def train(parameters: dict[str, Any], labels: Any, held_labels: Any) -> Any:
            return train_booster(
                {**self._common_parameters(training), **parameters, **further},
                training.names,
                Rows(parts.values, labels),
                Rows(parts.held_values, held_labels),
                rounds=self.n_estimators,
                early_stopping_rounds=self.early_stopping_rounds,
            )

        if self.head == "multiclass":
            parameters = {"objective": "multiclass", "metric": "multi_logloss", "num_class": len(classes)}
            # a grade that only the held-out rows have counts as the next lower one, or the lowest
            places = np.maximum(np.searchsorted(classes, parts.held_labels, side="right") - 1, 0)
            trained = train(parameters, np.searchsorted(classes, parts.labels), places)
            return {"": trained.text}, [trained.trees]
        parameters = {"objective": "binary", "metric": "binary_logloss"}
        found = {
            _above_name(grade): train(
                parameters, (parts.labels > grade).astype(np.int64), (parts.held_labels > grade).astype(np.int64)
            )
            for grade in classes[:-1].tolist()
        }
        return {name: trained.text for name, trained in found.items()}, [trained.trees for trained in found.values()]

    def _check_settings(self) -> None:
        self._check_common_settings()
        if self.head not in HEADS:
            raise SettingError(f"The 'head' setting must be one of {', '.join(HEADS)}; got {self.head!r}.")
        check_calibration(self.calibration)
        if self.head == "multiclass" and any((self.monotonic_cst or {}).values()):
            raise SettingError(
                "The 'monotonic_cst' setting holds each booster of the 'ordinal' head to a direction; a softmax over "
                "the grades has none. Take head='ordinal', or leave it out."
            )


class AdsRelevanceModel(RelevanceModel):
    """The relevance model of product ads (section 5.3): a `RelevanceModel` to train on judgments of products.

    `predict_at_least` is what an ad must pass to be shown at all.
    """

    kind: ClassVar[str] = "ads-relevance"


def monotone(above: FloatArray) -> FloatArray:
    """Rows made to fall from left to right: the mean of the highest falling row below and the lowest one above.

    A row that falls already stays as it is; values stay within those of their row. `above` is float64 (n, m).
    """
    below = np.minimum.accumulate(above, axis=1)
    over = np.maximum.accumulate(above[:, ::-1], axis=1)[:, ::-1]
    found: FloatArray = (below + over) / 2
    return found


def _above_name(grade: int) -> str:
    return f"above-{grade}"
