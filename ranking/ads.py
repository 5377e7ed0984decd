"""The engagement model of product ads (section 5.3): the probability of a long click on a product that is shown."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from omnifeat.errors import DataError, SettingError
from ranking.base import LightGBMModel, Rows, train_booster
from ranking.calibration import Calibration, SavedCalibration, check_calibration, fit_calibration
from ranking.features import FeatureManifest
from ranking.groups import to_numpy
from ranking.held_out import check_evaluation, split_parts

__all__ = ["AdsEngagementModel", "long_clicks"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_POSITION = "shown_position"


class AdsEngagementModel(LightGBMModel):
    """Predicts the probability of a long click on a product, were it shown, calibrated on queries held out.

    What stands higher is clicked more whatever it is. Given the positions of the log, the model learns with the
    position as one more feature and predicts with the same one for every candidate, `shown_at`: what differs between
    candidates is then not where the old system had put them. This takes out what trees can tell apart as the
    position's own effect; what the old system knew and the features don't say stays confounded with it. Without
    positions the model predicts the mean over the positions of the log, and learns their bias.

    The order of rows and of columns doesn't change the model, and a row's prediction depends on that row alone.

    Parameters
    ----------
    shown_at : float
        Position, from 1, at which candidates are scored by a model that was given positions.
    calibration : str
        `platt`, `isotonic` or `none` (see `ranking.calibration`). It is fitted at the positions of the log.
    validation_fraction : float
        Share of the queries that is held out, by a hash of the query, where `fit` gets no evaluation set. On the same
        rows the number of trees is chosen and the calibration fitted; the trees are never grown on them.
    n_estimators, learning_rate, num_leaves, min_child_samples, reg_lambda, colsample_bytree
        As LightGBM has them.
    early_stopping_rounds : int
        Trees without a better log loss on the held-out rows after which training stops.
    monotonic_cst : mapping of str to int or None
        Feature -> 1 where the probability may never fall as it grows, -1 where it may never rise.
    seed : int
    threads : int or None
        None for all cores; the model does not depend on it.
    encoder_fingerprint : str or None
        The frozen encoder behind the features. Without it, what the table of `fit` carries is taken.
    lightgbm_parameters : mapping or None
        Further parameters of LightGBM, over all that is set here.

    Attributes
    ----------
    uses_position_ : bool
        Whether positions were given.
    base_rate_ : float
        Share of long clicks among the rows learnt from.
    trees_ : int
    rows_, queries_, held_out_rows_, held_out_queries_ : int
        What the booster learnt from, and what was held out.
    """

    kind: ClassVar[str] = "ads-engagement"
    _fitted: ClassVar[Mapping[str, Any]] = {
        "uses_position_": bool,
        "calibration_": SavedCalibration,
        "base_rate_": float,
        "trees_": int,
        "rows_": int,
        "queries_": int,
        "held_out_rows_": int,
        "held_out_queries_": int,
    }

    uses_position_: bool
    calibration_: dict[str, Any]

    def __init__(
        self,
        *,
        shown_at: float = 1.0,
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
        self.shown_at = shown_at
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
        positions: Any = None,
        split_ids: Any = None,
        eval_X: Any = None,
        eval_y: Any = None,
        eval_query_ids: Any = None,
        eval_positions: Any = None,
    ) -> Self:
        """Train on n products that were shown, in any order.

        Parameters
        ----------
        X : pandas, Polars or Arrow table, dict of columns, or array (n, features)
            Numeric features; null and NaN are missing values. The position is no feature here: give it as `positions`.
        y : (n,)
            Whether there was a long click: booleans or 0 and 1, or the actions of a log (see `long_clicks`).
        query_ids : (n,)
            The query of each row, text or number: rows of one query are never parted.
        split_ids : (n,) or None
            What is never parted instead, where `query_ids` are requests of which several are of one query.
        positions : (n,) or None
            Where each row was shown, from 1.
        eval_X, eval_y, eval_query_ids, eval_positions
            Rows to choose the number of trees and to calibrate on, in place of a held-out part; all or none (positions
            where the training has them). They must be no rows of the training.

        Raises
        ------
        DataError
            Features that are not numbers, labels that are neither of those above, positions below 1, rows that were
            all long-clicked or none of them, or too few queries.
        SettingError
            A setting out of its range, or an evaluation set of which a part is missing.
        FingerprintError
            The features are of another encoder than `encoder_fingerprint`, or than those of the evaluation set.
        """
        self._check_settings()
        separate = check_evaluation(eval_X, eval_y, eval_query_ids)
        if separate and (positions is None) != (eval_positions is None):
            raise SettingError("Give positions of the training and of the evaluation set, or of neither.")
        training = self._training_features(X)
        values, names = training.values, training.names
        if positions is not None:
            values = np.column_stack([values, _positions(positions, len(values))])
            names = [*names, _POSITION + "_" * (_POSITION in names)]
        evaluation = None
        if separate:
            eval_values = self._further_features(training, eval_X)
            eval_labels = long_clicks(eval_y, len(eval_values), "evaluation label")
            if eval_positions is not None:
                eval_values = np.column_stack([eval_values, _positions(eval_positions, len(eval_values))])
            evaluation = (eval_values, eval_labels, eval_query_ids)
        parts = split_parts(
            values,
            long_clicks(y, len(values)),
            query_ids if split_ids is None else split_ids,
            evaluation,
            fraction=self.validation_fraction,
            seed=self.seed,
        )
        clicked = int(parts.labels.sum())
        if clicked in (0, len(parts.labels)):
            raise DataError(
                f"{'No' if clicked == 0 else 'Every'} row of the {len(parts.labels):,} to learn from has a long click, "
                "so there is nothing to tell apart; give rows with and without."
            )
        parameters = self._common_parameters(training)
        if positions is not None and "monotone_constraints" in parameters:
            parameters["monotone_constraints"] = [*parameters["monotone_constraints"], 0]
        trained = train_booster(
            {**parameters, "objective": "binary", "metric": "binary_logloss", **dict(self.lightgbm_parameters or {})},
            names,
            Rows(parts.values, parts.labels),
            Rows(parts.held_values, parts.held_labels),
            rounds=self.n_estimators,
            early_stopping_rounds=self.early_stopping_rounds,
        )
        self.uses_position_ = positions is not None
        self._use({"": trained.text}, training.manifest, training.fingerprint)
        raw = self._boosted(parts.held_values)
        self.calibration_ = fit_calibration(self.calibration, raw, parts.held_labels).to_json()
        self.base_rate_ = clicked / len(parts.labels)
        self.trees_ = trained.trees
        self.rows_, self.queries_ = len(parts.labels), parts.queries
        self.held_out_rows_, self.held_out_queries_ = len(parts.held_labels), parts.held_queries
        return self

    def predict(
        self, X: Any, *, positions: Any = None, encoder_fingerprint: str | None = None
    ) -> npt.NDArray[np.float64]:
        """Probability of a long click, float64 (n,), at `shown_at`, or at `positions` (n,) where they are given.

        Positions are for holding the model against a log, where rows were clicked as they were shown; candidates are
        compared without. A model that learnt without positions takes no notice of them.

        Raises
        ------
        NotFittedError
            The model has not been fitted.
        DataError
            A feature of training is missing, or a column is none. Columns in another order are put right.
        FingerprintError
            The features (by `encoder_fingerprint`, or by what the table carries) are of another encoder.
        """
        values = self._values(X, encoder_fingerprint)
        if positions is not None and self.uses_position_:
            values = np.column_stack([values, _positions(positions, len(values))])
        return Calibration.from_json(self.calibration_).apply(self._boosted(values))

    def predict_proba(self, X: Any, *, positions: Any = None, encoder_fingerprint: str | None = None) -> FloatArray:
        """Probability of no long click and of one, float64 (n, 2); as `predict`."""
        found = self.predict(X, positions=positions, encoder_fingerprint=encoder_fingerprint)
        return np.column_stack([1 - found, found])

    @property
    def feature_importances_(self) -> FloatArray:
        """Total gain of the splits on each feature but the position, float64 (features,), in the order of `fit`."""
        self._check_fitted()
        gains = self.boosters_[""].feature_importance(importance_type="gain")
        importances = np.zeros(len(self.manifest_.names), dtype=np.float64)
        importances[self._columns()] = gains[: len(importances)]
        return importances

    @property
    def position_importance_(self) -> float:
        """Total gain of the splits on the position; 0 for a model without."""
        self._check_fitted()
        return float(self.boosters_[""].feature_importance(importance_type="gain")[len(self.manifest_.names) :].sum())

    def _boosted(self, values: FloatArray, name: str = "", **more: Any) -> FloatArray:
        """As the base has it, at `shown_at` where values have no position; its contribution goes to the constant."""
        features = len(self.manifest_.names)
        if not self.uses_position_:
            return super()._boosted(values, name, **more)
        if values.shape[1] == features:
            values = np.column_stack([values, np.full(len(values), float(self.shown_at))])
        found = super()._boosted(values, name, **more)
        if more.get("pred_contrib"):
            found = np.column_stack([found[:, :features], found[:, features:].sum(axis=1)])
        return found

    def _outputs(self) -> dict[str, int]:
        Calibration.from_json(self.calibration_)
        return super()._outputs()

    def _booster_features(self, manifest: FeatureManifest) -> int:
        return len(manifest.names) + self.uses_position_

    def _check_settings(self) -> None:
        self._check_common_settings()
        check_calibration(self.calibration)
        if isinstance(self.shown_at, bool) or not isinstance(self.shown_at, int | float) or not self.shown_at >= 1:
            raise SettingError(
                f"The 'shown_at' setting of AdsEngagementModel must be a number from 1; got {self.shown_at!r}."
            )


def long_clicks(labels: Any, rows: int, what: str = "label") -> IntArray:
    """Whether there was a long click in each row, int64 (rows,) of 0 and 1.

    Parameters
    ----------
    labels : (rows,)
        Booleans; 0 and 1; or the actions of a log, of which `long_click` counts and others, null too, do not.

    Raises
    ------
    DataError
        Another number of labels than rows, a number that is neither 0 nor 1, or a missing one.
    """
    found = np.asarray(to_numpy(labels))
    if found.ndim != 1 or len(found) != rows:
        raise DataError(f"There must be one {what} for each of the {rows} rows; got shape {found.shape} instead.")
    if found.dtype.kind == "O":
        if all(value is None or isinstance(value, str) or value != value for value in found.tolist()):  # noqa: PLR0124
            return np.array([value == "long_click" for value in found.tolist()], dtype=np.int64)
        try:
            found = found.astype(np.float64)
        except (TypeError, ValueError):
            raise DataError(f"Every {what} must be 0 or 1, or an action such as 'long_click'.") from None
    wrong = ~np.isin(found, (0, 1))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"The {what} of row {row + 1} is {found[row]}; it must be 0 or 1, whether there was a long click."
        )
    return found.astype(np.int64)


def _positions(positions: Any, rows: int) -> FloatArray:
    found = np.asarray(to_numpy(positions))
    if found.ndim != 1 or len(found) != rows:
        raise DataError(f"There must be one position for each of the {rows} rows; got shape {found.shape} instead.")
    try:
        places = found.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(f"Every position must be a number from 1; got {found.dtype} values instead.") from None
    wrong = ~(np.isfinite(places) & (places >= 1))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(f"The position of row {row + 1} is {found[row]}; it must be a number from 1.")
    return places
