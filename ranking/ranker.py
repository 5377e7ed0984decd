"""A LambdaRank ranker over tables of features, as a scikit-learn estimator.

LightGBM's LambdaRank, with what it leaves to its callers done here: rows in any order, groups built from query ids and
verified, features held to those of training, grades above 30, queries that teach nothing, and missing values.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from omnifeat.errors import DataError, SettingError
from ranking.base import LightGBMModel, Rows, TrainingFeatures, held_out_queries, train_booster
from ranking.groups import check_grades, check_positions, dense_codes, encode_queries, group_rows, to_numpy
from ranking.held_out import check_evaluation

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
    validation_fraction : float or None
        Share of the queries of `fit`, chosen by a hash of their text and the seed, that early stopping watches and
        training leaves out, where `fit` is given no evaluation set.
    position_bias_regularization : float
        L2 penalty on what LightGBM learns of positions, when `fit` is given positions.
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
    _fitted: ClassVar[Mapping[str, Any]] = {
        "best_iteration_": int,
        "best_score_": float | None,
        "queries_": int,
        "queries_without_positive_": int,
        "eval_queries_without_positive_": int | None,
    }

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
        validation_fraction: float | None = None,
        position_bias_regularization: float = 0.0,
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
        self.validation_fraction = validation_fraction
        self.position_bias_regularization = position_bias_regularization
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
        y : (n,) whole numbers from 0
            Grades, higher for better.
        query_ids : (n,)
            The query of each row, text or number.
        positions : (n,) whole numbers from 0, or None
            Where each row was shown when its grade came about. LightGBM then learns how much a position helps beside
            the trees (`position` of its data sets), and scores are free of it. Not a feature.
        split_ids : (n,) or None
            What `validation_fraction` hashes instead of `query_ids`: the query's text, where `query_ids` are requests
            of which several have the same query.
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
        training = self._training_features(X)
        grades = check_grades(y, len(training.values))
        evaluation = check_evaluation(eval_X, eval_y, eval_query_ids)
        eval_grades = check_grades(eval_y, len(to_numpy(eval_y)), "evaluation label") if evaluation else None
        return self._fit_grades(
            training, grades, self.label_gain, query_ids, positions, split_ids, eval_X, eval_grades, eval_query_ids
        )

    def _graded(self, y: Any, query_ids: Any, rows: int) -> tuple[npt.NDArray[np.int64], Sequence[float] | None]:
        """Grades of labels, int64 (rows,), and the gain of each grade where it is not the default."""
        del query_ids  # of no use here: a grade is a grade in any query
        return check_grades(y, rows), self.label_gain

    def _fit_grades(
        self,
        training: TrainingFeatures,
        grades: npt.NDArray[np.int64],
        label_gain: Sequence[float] | None,
        query_ids: Any,
        positions: Any,
        split_ids: Any,
        eval_X: Any,
        eval_grades: npt.NDArray[np.int64] | None,
        eval_query_ids: Any,
    ) -> Self:
        """What `fit` does once rows have grades and grades have gains."""
        values = training.values
        codes, queries = encode_queries(query_ids, len(values))
        places = check_positions(positions, len(values))
        positive = np.bincount(codes, weights=grades > 0, minlength=len(queries)) > 0
        self.queries_ = len(queries)
        self.queries_without_positive_ = int((~positive).sum())
        self.eval_queries_without_positive_: int | None = None
        largest = int(grades.max())
        evaluation: Rows | None = None
        kept = np.ones(len(values), dtype=np.bool_)
        if eval_grades is not None:
            eval_values = self._further_features(training, eval_X)
            if len(eval_values) != len(eval_grades):
                raise DataError(
                    f"There must be one evaluation label for each of the {len(eval_values)} rows; "
                    f"got {len(eval_grades)} instead."
                )
            eval_codes, eval_queries = encode_queries(eval_query_ids, len(eval_values))
            evaluation = self._evaluation_rows(eval_values, eval_grades, eval_codes, eval_queries)
            largest = max(largest, int(eval_grades.max()))
        elif self.validation_fraction is not None:
            split = (codes, queries) if split_ids is None else encode_queries(split_ids, len(values))
            kept = ~held_out_queries(*split, self.validation_fraction, self.seed)
            evaluation = self._evaluation_rows(values[~kept], grades[~kept], *dense_codes(codes[~kept], queries))
            if split_ids is not None and len(np.intersect1d(codes[kept], codes[~kept])):
                raise DataError("Rows of one query have different split ids, so that it would stand on both sides.")
        if not kept.all():
            values, grades, (codes, queries) = values[kept], grades[kept], dense_codes(codes[kept], queries)
            places = None if places is None else places[kept]
        if not any_differ(codes, grades, len(queries)):
            raise DataError(
                f"No query of the {len(queries)} has candidates of different grades, so there is no order to learn; "
                "give queries with both better and worse candidates."
            )
        parameters = self._parameters(label_gain, largest, training)
        more = () if places is None else (places,)
        groups = group_rows(codes, queries, values, grades, *more)
        trained = train_booster(
            parameters,
            training.names,
            Rows(
                values[groups.order],
                grades[groups.order],
                groups.sizes,
                positions=None if places is None else places[groups.order],
            ),
            evaluation,
            rounds=self.n_estimators,
            early_stopping_rounds=self.early_stopping_rounds,
        )
        self._use({"": trained.text}, training.manifest, training.fingerprint)
        self.best_iteration_ = trained.trees
        self.best_score_ = trained.best_score
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

    def _parameters(
        self, label_gain: Sequence[float] | None, largest_grade: int, training: TrainingFeatures
    ) -> dict[str, Any]:
        gains = list(label_gain) if label_gain is not None else None
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
            "lambdarank_position_bias_regularization": self.position_bias_regularization,
        }
        if gains is not None:
            parameters["label_gain"] = gains
        return {**parameters, **(self.lightgbm_parameters or {})}

    def _evaluation_rows(
        self,
        values: npt.NDArray[np.float64],
        grades: npt.NDArray[np.int64],
        codes: npt.NDArray[np.int64],
        queries: npt.NDArray[Any],
    ) -> Rows:
        """Rows of the evaluation queries with a positive; the others are counted."""
        positive = np.bincount(codes, weights=grades > 0, minlength=len(queries)) > 0
        if not positive.any():
            raise DataError(
                "No query of the evaluation set has a grade above zero, so NDCG says nothing; give another."
            )
        kept = positive[codes]
        values, grades = values[kept], grades[kept]
        groups = group_rows(*dense_codes(codes[kept], queries), values, grades)
        self.eval_queries_without_positive_ = int((~positive).sum())
        return Rows(values[groups.order], grades[groups.order], groups.sizes)


def any_differ(codes: npt.NDArray[np.int64], grades: npt.NDArray[np.int64], queries: int) -> bool:
    """Whether any query has two rows of different grades."""
    lowest = np.full(queries, np.iinfo(np.int64).max)
    highest = np.full(queries, -1, dtype=np.int64)
    np.minimum.at(lowest, codes, grades)
    np.maximum.at(highest, codes, grades)
    return bool((lowest < highest).any())
