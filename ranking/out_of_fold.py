"""Predictions of rows by models that never saw their queries, to be used as a feature of another model."""

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from omnifeat.data.files import as_table
from omnifeat.errors import DataError
from ranking.base import LightGBMModel
from ranking.cross_validation import query_folds
from ranking.groups import to_numpy

__all__ = ["out_of_fold"]

Model = TypeVar("Model", bound=LightGBMModel)


def out_of_fold(
    model: Model, X: Any, y: Any, *, query_ids: Any, folds: int = 5, seed: int = 0
) -> npt.NDArray[np.float64]:
    """What a model of these settings predicts of each row, trained on the other folds' queries, float64 (n,).

    A model that scores the rows it learnt from is more certain than it will ever be again, and whoever takes that
    score as a feature learns to trust it too much. Give these scores instead for rows that both models learn from;
    for all others `predict` does.

    Parameters
    ----------
    model
        Settings; it stays as it is.
    X : table of any kind, n rows
    y, query_ids : (n,)
        As the model's `fit` has them.
    folds, seed
        As in `query_folds`.

    Raises
    ------
    SettingError
        Fewer than two folds, or more than there are queries.
    DataError
        As in the model's `fit`.
    """
    table = as_table(X)
    labels, queries = to_numpy(y), to_numpy(query_ids)
    if len(labels) != table.num_rows:
        raise DataError(f"There must be one label for each of the {table.num_rows} rows; got {len(labels)} instead.")
    fold_of_row = query_folds(queries, table.num_rows, folds=folds, seed=seed)
    found = np.empty(table.num_rows, dtype=np.float64)
    for fold in range(folds):
        held_out, kept = np.flatnonzero(fold_of_row == fold), np.flatnonzero(fold_of_row != fold)
        fitted: Any = clone(model)
        fitted.fit(table.take(kept), labels[kept], query_ids=queries[kept])
        found[held_out] = fitted.predict(table.take(held_out))
    return found
