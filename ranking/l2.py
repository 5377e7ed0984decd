"""L2: the ranker that decides the order people see, trained on what they did (section 5.2 of the paper)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from omnifeat.errors import DataError, SettingError
from ranking.actions import check_action_gains, grades_from_actions, read_actions
from ranking.base import Rows, TrainingFeatures, held_out_queries, train_booster
from ranking.groups import check_grades, content_order, encode_queries, to_numpy
from ranking.held_out import check_evaluation
from ranking.ranker import LambdaRanker

__all__ = ["METHODS", "L2Ranker"]

METHODS = ("lambdarank", "per-action")

FloatArray = npt.NDArray[np.float64]


class L2Ranker(LambdaRanker):
    """Ranks candidates by what people did with them.

    Two methods. `lambdarank` makes grades of actions, with the gains of `action_gains`, and learns their order within
    each query; positions given to `fit` are taken out by LightGBM's own mechanism. `per-action` learns the
    probability of each action by a booster of its own; the score is their sum, weighted by `action_gains`.

    The order of rows, of queries and of columns, and how queries are named, don't change the model.

    Parameters
    ----------
    method : str
        `lambdarank` or `per-action`.
    action_gains : mapping of str to float or None
        What an action is worth; None takes `ranking.actions.ACTION_GAINS`. An action of gain 0 counts as none.
    validation_fraction, position_bias_regularization and the others
        As in `LambdaRanker`. `label_gain` counts only where `fit` is given grades instead of actions.

    Attributes
    ----------
    actions_ : dict of str to int
        Rows of each action in the data of `fit`; empty where it was given grades.
    actions_left_out_ : list of str
        Actions with a gain of which `per-action` saw no row, or nothing else: they have no booster.
    and those of `LambdaRanker`
        For `per-action`, `best_iteration_` is the trees of all boosters together, and `best_score_` is None.
    """

    kind: ClassVar[str] = "l2"
    _fitted: ClassVar[Mapping[str, Any]] = {
        **LambdaRanker._fitted,
        "actions_": dict[str, int],
        "actions_left_out_": list[str],
    }

    def __init__(
        self,
        *,
        method: str = "lambdarank",
        action_gains: Mapping[str, float] | None = None,
        n_estimators: int = 300,
        learning_rate: float = 0.05,
        num_leaves: int = 31,
        min_child_samples: int = 20,
        reg_lambda: float = 0.0,
        colsample_bytree: float = 1.0,
        eval_at: int = 10,
        truncation_level: int = 30,
        early_stopping_rounds: int = 30,
        validation_fraction: float | None = None,
        position_bias_regularization: float = 0.0,
        label_gain: Sequence[float] | None = None,
        monotonic_cst: Mapping[str, int] | None = None,
        seed: int = 0,
        threads: int | None = None,
        encoder_fingerprint: str | None = None,
        lightgbm_parameters: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            n_estimators=n_estimators,
            learning_rate=learning_rate,
            num_leaves=num_leaves,
            min_child_samples=min_child_samples,
            reg_lambda=reg_lambda,
            colsample_bytree=colsample_bytree,
            eval_at=eval_at,
            truncation_level=truncation_level,
            early_stopping_rounds=early_stopping_rounds,
            validation_fraction=validation_fraction,
            position_bias_regularization=position_bias_regularization,
            label_gain=label_gain,
            monotonic_cst=monotonic_cst,
            seed=seed,
            threads=threads,
            encoder_fingerprint=encoder_fingerprint,
            lightgbm_parameters=lightgbm_parameters,
        )
        self.method = method
        self.action_gains = action_gains

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
    ) -> Self:
        """Train on n rows, in any order.

        Parameters
        ----------
        X : pandas, Polars or Arrow table, dict of columns, or array (n, features)
            Numeric features; null and NaN are missing values.
        y : (n,) text, or whole numbers from 0
            The action of each row, null where nothing was done; or grades, for `lambdarank` alone.
        query_ids, positions, split_ids, eval_X, eval_y, eval_query_ids
            As in `LambdaRanker.fit`.

        Raises
        ------
        DataError, SettingError, FingerprintError
            As in `LambdaRanker.fit`; an action without a gain; grades or positions for `per-action`.
        """
        self._check_common_settings(("eval_at", "truncation_level"))
        if self.method not in METHODS:
            raise SettingError(f"The 'method' of L2Ranker must be one of {', '.join(METHODS)}; got {self.method!r}.")
        gains = check_action_gains(self.action_gains)
        training = self._training_features(X)
        rows = len(training.values)
        has_evaluation = check_evaluation(eval_X, eval_y, eval_query_ids)
        acted = to_numpy(y).dtype.kind == "O"
        self.actions_: dict[str, int] = {}
        self.actions_left_out_: list[str] = []
        if acted:
            places = read_actions(y, rows, gains)
            self.actions_ = {action: int((places == place).sum()) for place, action in enumerate(gains)}
        if self.method == "per-action":
            if not acted:
                raise DataError("Method 'per-action' learns from actions such as 'click', not from grades.")
            if positions is not None:
                raise SettingError("Position bias belongs to method 'lambdarank'; leave positions out of 'per-action'.")
            given = (eval_X, eval_y, eval_query_ids) if has_evaluation else None
            return self._fit_actions(training, places, gains, query_ids, split_ids, given)
        eval_grades = None
        label_gain = self.label_gain
        if acted:
            grades, label_gain = grades_from_actions(y, rows, gains)
            if has_evaluation:
                eval_grades = grades_from_actions(eval_y, len(to_numpy(eval_y)), gains, "evaluation action")[0]
        else:
            grades = check_grades(y, rows)
            if has_evaluation:
                eval_grades = check_grades(eval_y, len(to_numpy(eval_y)), "evaluation label")
        return self._fit_grades(
            training, grades, label_gain, query_ids, positions, split_ids, eval_X, eval_grades, eval_query_ids
        )

    def predict(self, X: Any, *, encoder_fingerprint: str | None = None) -> FloatArray:
        """Scores float64 (n,), in the order of the rows; higher is better.

        Of `lambdarank` they compare the candidates of one query only; of `per-action` they are expected gains.

        Raises
        ------
        NotFittedError, DataError, FingerprintError
            As in `LambdaRanker.predict`.
        """
        values = self._values(X, encoder_fingerprint)
        if "" in self.boosters_:
            return self._boosted(values)
        gains = check_action_gains(self.action_gains)
        utility = np.zeros(len(values))
        for action in self.boosters_:
            utility += gains[action] * self._boosted(values, action)
        return utility

    def predict_actions(self, X: Any, *, encoder_fingerprint: str | None = None) -> dict[str, FloatArray]:
        """Probability of each action that has a booster, float64 (n,) each; of method `per-action` alone.

        Raises `SettingError` for another method, and what `predict` raises.
        """
        values = self._values(X, encoder_fingerprint)
        if "" in self.boosters_:
            raise SettingError("Only method 'per-action' gives probabilities of actions; this ranker learnt an order.")
        return {action: self._boosted(values, action) for action in self.boosters_}

    def _outputs(self) -> dict[str, int]:
        if self.method != "per-action":
            return super()._outputs()
        gains = check_action_gains(self.action_gains)
        return {action: 1 for action, gain in gains.items() if gain > 0 and action not in self.actions_left_out_}

    def _graded(self, y: Any, query_ids: Any, rows: int) -> tuple[npt.NDArray[np.int64], Sequence[float] | None]:
        if to_numpy(y).dtype.kind == "O":
            return grades_from_actions(y, rows, self.action_gains)
        return super()._graded(y, query_ids, rows)

    def _fit_actions(
        self,
        training: TrainingFeatures,
        places: npt.NDArray[np.int64],
        gains: Mapping[str, float],
        query_ids: Any,
        split_ids: Any,
        given: tuple[Any, Any, Any] | None,
    ) -> Self:
        """One binary booster for each action with a gain."""
        values = training.values
        codes, queries = encode_queries(query_ids, len(values))
        worth = np.array([*gains.values(), 0.0])[places] > 0
        self.queries_ = len(queries)
        self.queries_without_positive_ = int((np.bincount(codes, weights=worth, minlength=len(queries)) == 0).sum())
        self.eval_queries_without_positive_ = None
        eval_values: FloatArray | None = None
        eval_places = np.empty(0, dtype=np.int64)
        if given is not None:
            eval_values = self._further_features(training, given[0])
            eval_places = read_actions(given[1], len(eval_values), gains, "evaluation action")
        elif self.validation_fraction is not None:
            split = (codes, queries) if split_ids is None else encode_queries(split_ids, len(values))
            held_out = held_out_queries(*split, self.validation_fraction, self.seed)
            eval_values, eval_places = values[held_out], places[held_out]
            values, places = values[~held_out], places[~held_out]
        parameters = {
            **self._common_parameters(training),
            "objective": "binary",
            "metric": "binary_logloss",
            **(self.lightgbm_parameters or {}),
        }
        texts, self.best_iteration_, self.best_score_ = {}, 0, None
        for place, (action, gain) in enumerate(gains.items()):
            if gain == 0:
                continue
            labels = (places == place).astype(np.int64)
            if labels.min() == labels.max():
                self.actions_left_out_.append(action)
                continue
            order = content_order(values, labels)
            evaluation = None
            if eval_values is not None:
                eval_labels = (eval_places == place).astype(np.int64)
                eval_order = content_order(eval_values, eval_labels)
                evaluation = Rows(eval_values[eval_order], eval_labels[eval_order])
            trained = train_booster(
                parameters,
                training.names,
                Rows(values[order], labels[order]),
                evaluation,
                rounds=self.n_estimators,
                early_stopping_rounds=self.early_stopping_rounds,
            )
            texts[action] = trained.text
            self.best_iteration_ += trained.trees
        if not texts:
            raise DataError(
                f"No action of {', '.join(gains)} stands in some rows and not in others, so there is nothing to learn."
            )
        self._use(texts, training.manifest, training.fingerprint)
        return self
