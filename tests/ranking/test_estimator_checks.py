"""scikit-learn's own checks of estimators; what cannot hold for a ranker is named with its reason."""

from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from ranking import L1Ranker, L2Ranker, LambdaRanker

OURS = "the sentence is this library's own; the error's type is that asked for"
EXPECTED = {
    "check_estimators_nan_inf": "a missing value is a value here",
    "check_n_features_in_after_fitting": OURS,
    "check_fit2d_predict1d": OURS,
    "check_estimators_empty_data_messages": OURS,
    "check_estimator_sparse_array": "features are dense tables",
    "check_estimator_sparse_matrix": "features are dense tables",
    "check_estimator_sparse_tag": "features are dense tables",
    "check_requires_y_none": OURS,
    "check_complex_data": OURS,
    "check_dtype_object": "a column of Python objects is no feature: numbers have a type",
    "check_fit2d_1sample": "of one row no order can be learnt; the sentence is ours",
}


class _Graded:
    """Makes of scikit-learn's labels what a ranker takes: grades from 0, and queries of about ten rows."""

    def fit(self, X: Any, y: Any) -> Any:
        labels = np.asarray(y)
        grades = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
        grades = np.minimum(grades * 4 // max(1, grades.max() + 1), 3) if labels.ndim else grades
        queries = np.arange(len(labels)) % (len(labels) // 10 + 1) if labels.ndim else labels
        return super().fit(X, grades, query_ids=queries)  # type: ignore[misc]


class GradedLambda(_Graded, LambdaRanker):
    pass


class GradedL1(_Graded, L1Ranker):
    pass


class GradedL2(_Graded, L2Ranker):
    pass


SMALL: dict[str, Any] = {"n_estimators": 3, "min_child_samples": 1, "threads": 1}
MODELS = [GradedLambda(**SMALL), GradedL1(keep=1, **SMALL), GradedL2(**SMALL)]
CHECKS = [
    pytest.param(model, check, id=f"{type(model).__name__}-{getattr(check, 'func', check).__name__}")
    for model in MODELS
    for model, check in estimator_checks_generator(model)
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize(("model", "check"), CHECKS)
def test_scikit_learn(model: Any, check: Any) -> None:
    name = getattr(check, "func", check).__name__
    if name not in EXPECTED:
        check(model)
        return
    with pytest.raises(Exception):  # noqa: B017, PT011  (whatever the check raises: an entry that holds must go)
        check(model)
