"""A LambdaRank ranker over tables of features, as a scikit-learn estimator.

LightGBM's LambdaRank, with what it leaves to its callers done here: rows in any order, groups built from query ids and
verified, features held to those of training, grades above 30, queries that teach nothing, and missing values.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from omnifeat.errors import DataError, SettingError
from ranking.base import LightGBMModel, Rows, TrainingFeatures, train_booster
from ranking.groups import check_grades, encode_queries, group_rows

__all__ = ["LambdaRanker"]

_DEFAULT_GAIN_GRADES = 31  # LightGBM has gains 2^grade - 1 for grades 0 to 30


class LambdaRanker(LightGBMModel):
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

    kind: ClassVar[str] = "lambda-ranker"
    _fitted: ClassVar[tuple[str, ...]] = (
        "best_iteration_",
        "best_score_",
        "queries_",
        "queries_without_positive_",
        "eval_queries_without_positive_",
    )

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
        self._check_common_settings(("eval_at", "truncation_level"))
        given = [part is not None for part in (eval_X, eval_y, eval_query_ids)]
        if any(given) and not all(given):
            raise SettingError("An evaluation set needs eval_X, eval_y and eval_query_ids; give all three or none.")

        training = self._training_features(X)
        values = training.values
        grades = check_grades(y, len(values))
        codes, queries = encode_queries(query_ids, len(values))
        positive = np.bincount(codes, weights=grades > 0, minlength=len(queries)) > 0
        if not any_differ(codes, grades, len(queries)):
            raise DataError(
                f"No query of the {len(queries)} has candidates of different grades, so there is no order to learn; "
                "give queries with both better and worse candidates."
            )
        largest = int(grades.max())
        evaluation: Rows | None = None
        without: int | None = None
        if all(given):
            evaluation, without = self._evaluation_rows(training, eval_X, eval_y, eval_query_ids)
            largest = max(largest, int(evaluation.labels.max()))
        parameters = self._parameters(largest, training)
        groups = group_rows(codes, queries, values, grades)
        trained = train_booster(
            parameters,
            training.names,
            Rows(values[groups.order], grades[groups.order], groups.sizes),
            evaluation,
            rounds=self.n_estimators,
            early_stopping_rounds=self.early_stopping_rounds,
        )
        self._use({"": trained.text}, training.manifest, training.fingerprint)
        self.best_iteration_ = trained.trees
        self.best_score_ = trained.best_score
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
        return self._boosted(self._values(X, encoder_fingerprint))

    @property
    def booster_(self) -> Any:
        """The LightGBM booster."""
        self._check_fitted()
        return self.boosters_[""]

    def _parameters(self, largest_grade: int, training: TrainingFeatures) -> dict[str, Any]:
        gains = list(self.label_gain) if self.label_gain is not None else None
        if gains is not None and len(gains) <= largest_grade:
            raise SettingError(
                f"The 'label_gain' setting has gains for grades 0 to {len(gains) - 1}, but there is a grade "
                f"{largest_grade}; give {largest_grade + 1} gains."
            )
        if gains is None and largest_grade >= _DEFAULT_GAIN_GRADES:
            gains = [float(grade) for grade in range(largest_grade + 1)]
        parameters: dict[str, Any] = {
            **self._common_parameters(training),
            "objective": "lambdarank",
            "metric": "ndcg",
            "eval_at": [self.eval_at],
            "lambdarank_truncation_level": self.truncation_level,
        }
        if gains is not None:
            parameters["label_gain"] = gains
        return {**parameters, **(self.lightgbm_parameters or {})}

    def _evaluation_rows(self, training: TrainingFeatures, X: Any, y: Any, query_ids: Any) -> tuple[Rows, int]:
        """Rows of the evaluation queries with a positive, and how many had none."""
        values = self._further_features(training, X)
        grades = check_grades(y, len(values), "evaluation label")
        codes, queries = encode_queries(query_ids, len(values))
        positive = np.bincount(codes, weights=grades > 0, minlength=len(queries)) > 0
        if not positive.any():
            raise DataError(
                "No query of the evaluation set has a grade above zero, so NDCG says nothing; give another."
            )
        kept = positive[codes]
        values, grades = values[kept], grades[kept]
        renumbered = np.cumsum(positive) - 1
        groups = group_rows(renumbered[codes[kept]], queries[positive], values, grades)
        return Rows(values[groups.order], grades[groups.order], groups.sizes), int((~positive).sum())


def any_differ(codes: npt.NDArray[np.int64], grades: npt.NDArray[np.int64], queries: int) -> bool:
    """Whether any query has two rows of different grades."""
    lowest = np.full(queries, np.iinfo(np.int64).max)
    highest = np.full(queries, -1, dtype=np.int64)
    np.minimum.at(lowest, codes, grades)
    np.maximum.at(highest, codes, grades)
    return bool((lowest < highest).any())
