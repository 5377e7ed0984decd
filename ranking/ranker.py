"""A LambdaRank ranker over tables of features, as a scikit-learn estimator.

LightGBM's LambdaRank, with what it leaves to its callers done here: rows in any order, groups built from query ids and
verified, features held to those of training, grades above 30, queries that teach nothing, and missing values.
"""

import functools
import importlib
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from omnifeat.errors import DataError, FingerprintError, SettingError
from ranking.features import FeatureManifest, Features, read_features
from ranking.groups import check_grades, encode_queries, group_rows

__all__ = ["LambdaRanker"]

_DEFAULT_GAIN_GRADES = 31  # LightGBM has gains 2^grade - 1 for grades 0 to 30
_log = logging.getLogger("ranking.lightgbm")


class _LogRecords:
    """LightGBM's lines, as records of the `ranking.lightgbm` logger rather than prints."""

    def info(self, line: str) -> None:
        _log.debug(line)

    def warning(self, line: str) -> None:
        _log.info(line)


@functools.cache
def lightgbm_library() -> Any:
    """The lightgbm module, imported when first needed: its OpenMP must not load before the caller's own."""
    library = importlib.import_module("lightgbm")
    library.register_logger(_LogRecords())
    return library


class LambdaRanker(BaseEstimator):
    """Ranks the candidates of a query with LightGBM's LambdaRank.

    The order of rows, of queries and of columns, and how queries are named, don't change the model. One seed, one set
    of settings and one data set give one model, with any number of threads.

    Parameters
    ----------
    n_estimators : int
        Trees at most; with an evaluation set, training stops at the best number.
    learning_rate, num_leaves, min_child_samples, reg_lambda, colsample_bytree
        As LightGBM has them.
    eval_at : int
        The cut-off k of the NDCG@k that early stopping watches.
    truncation_level : int
        Pairs of which neither candidate stands above this rank are left out of the loss.
    early_stopping_rounds : int
        Trees without a better NDCG after which training stops, when there is an evaluation set.
    label_gain : sequence of float or None
        Gain of grade 0, 1, 2, ...; None takes 2^grade - 1, or the grade itself where a grade is above 30, as the
        exponential would leave weight to the highest grades only.
    monotonic_cst : mapping of str to int or None
        Feature -> 1 where the score may never fall as the feature grows, -1 where it may never rise; other features
        are free. As scikit-learn's gradient boosting has it.
    seed : int
        Seed of all that LightGBM draws.
    threads : int or None
        Threads to use; None for all cores.
    encoder_fingerprint : str or None
        Fingerprint of the frozen encoder behind the features. Without it, what the table of `fit` carries is taken.
    lightgbm_parameters : mapping or None
        Further parameters of LightGBM, over all that is set here.

    Attributes
    ----------
    feature_names_in_ : ndarray of str
        Features in the order of `fit`.
    feature_importances_ : float64 (features,)
        Total gain of the splits on each feature, in that order.
    best_iteration_ : int
        Trees in use.
    best_score_ : float or None
        NDCG@eval_at of the evaluation set at `best_iteration_`.
    queries_ : int
        Queries in the training data.
    queries_without_positive_ : int
        Queries of the training data without a grade above zero; nothing is learnt from them.
    eval_queries_without_positive_ : int or None
        The same for the evaluation set; early stopping leaves them out, as LightGBM counts each as NDCG 1.
    encoder_fingerprint_ : str or None
        The encoder whose features the ranker takes.
    """

    def __init__(
        self,
        *,
        n_estimators: int = 300,
        learning_rate: float = 0.05,
        num_leaves: int = 15,
        min_child_samples: int = 20,
        reg_lambda: float = 0.0,
        colsample_bytree: float = 1.0,
        eval_at: int = 10,
        truncation_level: int = 30,
        early_stopping_rounds: int = 30,
        label_gain: Sequence[float] | None = None,
        monotonic_cst: Mapping[str, int] | None = None,
        seed: int = 0,
        threads: int | None = None,
        encoder_fingerprint: str | None = None,
        lightgbm_parameters: Mapping[str, Any] | None = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_child_samples = min_child_samples
        self.reg_lambda = reg_lambda
        self.colsample_bytree = colsample_bytree
        self.eval_at = eval_at
        self.truncation_level = truncation_level
        self.early_stopping_rounds = early_stopping_rounds
        self.label_gain = label_gain
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
        eval_X: Any = None,
        eval_y: Any = None,
        eval_query_ids: Any = None,
    ) -> Self:
        """Train on n rows, in any order.

        Parameters
        ----------
        X : pandas, Polars or Arrow table, dict of columns, or array (n, features)
            Numeric features; null and NaN are missing values.
        y : (n,) whole numbers from 0
            Grades, higher for better.
        query_ids : (n,)
            The query of each row, text or number.
        eval_X, eval_y, eval_query_ids
            The same for the queries that early stopping watches; all three or none.

        Raises
        ------
        DataError
            Features that are not numbers, grades that are no grades, a query of more than 10,000 rows, or no query
            whose candidates differ in grade.
        SettingError
            A setting out of its range, or an evaluation set of which a part is missing.
        FingerprintError
            The features are of another encoder than `encoder_fingerprint`, or than those of the evaluation set.
        """
        self._check_settings()
        given = [part is not None for part in (eval_X, eval_y, eval_query_ids)]
        if any(given) and not all(given):
            raise SettingError("An evaluation set needs eval_X, eval_y and eval_query_ids; give all three or none.")

        features = read_features(X)
        manifest = FeatureManifest.of(features)
        fingerprint = self.encoder_fingerprint or features.fingerprint
        _same_encoder(features, fingerprint)
        grades = check_grades(y, len(features.values))
        codes, queries = encode_queries(query_ids, len(features.values))
        positive = np.bincount(codes, weights=grades > 0, minlength=len(queries)) > 0
        if not _any_differ(codes, grades, len(queries)):
            raise DataError(
                f"No query of the {len(queries)} has candidates of different grades, so there is no order to learn; "
                "give queries with both better and worse candidates."
            )

        # Trees break ties between features by their place: by name, the order of columns has no say.
        columns = np.argsort(np.array(manifest.names)) if manifest.named else np.arange(len(manifest.names))
        names = _model_names([manifest.names[index] for index in columns])
        values = manifest.align(features)[:, columns]
        largest = int(grades.max())
        lightgbm = lightgbm_library()

        evaluation: tuple[Any, ...] | None = None
        without: int | None = None
        if all(given):
            evaluation, without = self._evaluation_rows(manifest, fingerprint, eval_X, eval_y, eval_query_ids)
            largest = max(largest, int(evaluation[1].max()))
        parameters = {**self._parameters(largest), **self._monotonic([manifest.names[index] for index in columns])}

        groups = group_rows(codes, queries, values, grades)
        train_set = lightgbm.Dataset(
            values[groups.order],
            label=grades[groups.order],
            group=groups.sizes,
            feature_name=names,
            params=parameters,
        )
        evaluation_sets, callbacks = [], []
        if evaluation is not None:
            eval_values, eval_grades, eval_codes, eval_queries = evaluation
            eval_values = eval_values[:, columns]
            eval_groups = group_rows(eval_codes, eval_queries, eval_values, eval_grades)
            evaluation_sets.append(
                lightgbm.Dataset(
                    eval_values[eval_groups.order],
                    label=eval_grades[eval_groups.order],
                    group=eval_groups.sizes,
                    reference=train_set,
                    params=parameters,
                )
            )
            callbacks.append(lightgbm.early_stopping(self.early_stopping_rounds, verbose=False))
        booster = lightgbm.train(
            parameters,
            train_set,
            num_boost_round=self.n_estimators,
            valid_sets=evaluation_sets,
            valid_names=["evaluation"] * len(evaluation_sets),
            callbacks=callbacks,
        )

        scores = booster.best_score.get("evaluation", {})
        # Through the text form, so that a ranker scores alike before and after saving.
        text = booster.model_to_string(num_iteration=booster.best_iteration if evaluation is not None else -1)
        self._use(text, manifest, fingerprint)
        self.best_score_ = float(next(iter(scores.values()))) if scores else None
        self.queries_ = len(queries)
        self.queries_without_positive_ = int((~positive).sum())
        self.eval_queries_without_positive_ = without
        return self

    def predict(self, X: Any, *, encoder_fingerprint: str | None = None) -> npt.NDArray[np.float64]:
        """Scores float64 (n,), in the order of the rows; higher is better, comparable within a query only.

        Raises
        ------
        NotFittedError
            The ranker has not been fitted.
        DataError
            A feature of training is missing, or a column is none. Columns in another order are put right.
        FingerprintError
            The features (by `encoder_fingerprint`, or by what the table carries) are of another encoder.
        """
        if not self.__sklearn_is_fitted__():
            raise NotFittedError("This LambdaRanker is not fitted yet; call fit, or load a saved one.")
        features = read_features(X)
        _same_encoder(features, self.encoder_fingerprint_, encoder_fingerprint)
        values = self.manifest_.align(features)[:, self._columns()]
        scores = self.booster_.predict(values, num_threads=self.threads or 0)
        return np.asarray(scores, dtype=np.float64)

    @property
    def feature_importances_(self) -> npt.NDArray[np.float64]:
        """Total gain of the splits on each feature, float64 (features,), in the order of `feature_names_in_`."""
        if not self.__sklearn_is_fitted__():
            raise NotFittedError("This LambdaRanker is not fitted yet; call fit, or load a saved one.")
        importances = np.empty(len(self.manifest_.names), dtype=np.float64)
        importances[self._columns()] = self.booster_.feature_importance(importance_type="gain")
        return importances

    def save(self, path: str | Path) -> None:
        """Write the ranker as a folder of text files (see `ranking.saving`); raises `OutputError` if it cannot be."""
        from ranking.saving import save_ranker

        save_ranker(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "LambdaRanker":
        """Read a ranker written by `save`; raises `DataError` if a file is missing or was changed."""
        from ranking.saving import load_ranker

        return load_ranker(path)

    def __sklearn_is_fitted__(self) -> bool:
        """Whether `fit` or `load` has been called."""
        return hasattr(self, "booster_")

    def _use(self, text: str, manifest: FeatureManifest, fingerprint: str | None) -> None:
        """Take over a trained model in LightGBM's text form."""
        self.booster_ = lightgbm_library().Booster(model_str=text)
        self.manifest_ = manifest
        self.n_features_in_ = len(manifest.names)
        if manifest.named:
            self.feature_names_in_ = np.array(manifest.names, dtype=object)
        self.best_iteration_ = int(self.booster_.num_trees())
        self.encoder_fingerprint_ = fingerprint

    def _columns(self) -> npt.NDArray[np.int64]:
        """Places, in the manifest, of the model's features in its own order."""
        names = self.manifest_.names
        return np.argsort(np.array(names)) if self.manifest_.named else np.arange(len(names))

    def _check_settings(self) -> None:
        for name in ("n_estimators", "eval_at", "truncation_level", "early_stopping_rounds", "min_child_samples"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise SettingError(
                    f"The {name!r} setting of LambdaRanker must be a whole number from 1; got {value!r}."
                )
        if not isinstance(self.num_leaves, int) or self.num_leaves < 2:
            raise SettingError(
                f"The 'num_leaves' setting of LambdaRanker must be a whole number from 2; got {self.num_leaves!r}."
            )
        if not self.learning_rate > 0:
            raise SettingError(
                f"The 'learning_rate' setting of LambdaRanker must be above 0; got {self.learning_rate!r}."
            )

    def _parameters(self, largest_grade: int) -> dict[str, Any]:
        gains = list(self.label_gain) if self.label_gain is not None else None
        if gains is not None and len(gains) <= largest_grade:
            raise SettingError(
                f"The 'label_gain' setting has gains for grades 0 to {len(gains) - 1}, but there is a grade "
                f"{largest_grade}; give {largest_grade + 1} gains."
            )
        if gains is None and largest_grade >= _DEFAULT_GAIN_GRADES:
            gains = [float(grade) for grade in range(largest_grade + 1)]
        parameters: dict[str, Any] = {
            "objective": "lambdarank",
            "metric": "ndcg",
            "eval_at": [self.eval_at],
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_child_samples,
            "lambda_l2": self.reg_lambda,
            "feature_fraction": self.colsample_bytree,
            "lambdarank_truncation_level": self.truncation_level,
            "seed": self.seed,
            "num_threads": self.threads or 0,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        if gains is not None:
            parameters["label_gain"] = gains
        return {**parameters, **(self.lightgbm_parameters or {})}

    def _monotonic(self, features: Sequence[str]) -> dict[str, Any]:
        """LightGBM's parameter for `monotonic_cst`, in the order of the model's features."""
        constraints = dict(self.monotonic_cst or {})
        for name, direction in constraints.items():
            if name not in features:
                raise SettingError(
                    f"The 'monotonic_cst' setting names {name!r}, which is no feature; the features are "
                    f"{', '.join(features)}."
                )
            if direction not in (-1, 0, 1):
                raise SettingError(
                    f"The 'monotonic_cst' of feature {name!r} must be 1 (rising), -1 (falling) or 0; got {direction!r}."
                )
        if not any(constraints.values()):
            return {}
        return {"monotone_constraints": [constraints.get(name, 0) for name in features]}

    def _evaluation_rows(
        self, manifest: FeatureManifest, fingerprint: str | None, X: Any, y: Any, query_ids: Any
    ) -> tuple[tuple[Any, ...], int]:
        """Values, grades, codes and queries of the evaluation queries with a positive, and how many had none."""
        features = read_features(X)
        _same_encoder(features, fingerprint)
        values = manifest.align(features)
        grades = check_grades(y, len(values), "evaluation label")
        codes, queries = encode_queries(query_ids, len(values))
        positive = np.bincount(codes, weights=grades > 0, minlength=len(queries)) > 0
        if not positive.any():
            raise DataError(
                "No query of the evaluation set has a grade above zero, so NDCG says nothing; give another."
            )
        kept = positive[codes]
        renumbered = np.cumsum(positive) - 1
        rows = (values[kept], grades[kept], renumbered[codes[kept]], queries[positive])
        return rows, int((~positive).sum())


def _same_encoder(features: Features, *fingerprints: str | None) -> None:
    """Refuse features of another encoder than the ranker's; what has no fingerprint is taken on trust."""
    known = [value for value in (*fingerprints, features.fingerprint) if value is not None]
    for value in known[1:]:
        if value != known[0]:
            raise FingerprintError(
                f"The ranker takes features of encoder {known[0]}, but these are of encoder {value}; "
                "featurize the pairs with the same encoder, or train the ranker anew."
            )


def _any_differ(codes: npt.NDArray[np.int64], grades: npt.NDArray[np.int64], queries: int) -> bool:
    """Whether any query has two rows of different grades."""
    lowest = np.full(queries, np.iinfo(np.int64).max)
    highest = np.full(queries, -1, dtype=np.int64)
    np.minimum.at(lowest, codes, grades)
    np.maximum.at(highest, codes, grades)
    return bool((lowest < highest).any())


def _model_names(names: Sequence[str]) -> list[str]:
    """Names that LightGBM's text form takes: no white space, no JSON characters, all different."""
    plain = [re.sub(r"[^\w.@-]", "_", name, flags=re.ASCII) or "_" for name in names]
    if len(set(plain)) == len(plain):
        return plain
    return [f"{index}_{name}" for index, name in enumerate(plain)]
