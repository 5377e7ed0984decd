"""Rows to learn from, and rows of other queries that decide the number of trees and calibrate the result."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from omnifeat.errors import DataError, SettingError
from ranking.base import held_out_queries
from ranking.groups import content_order, encode_queries

__all__ = ["Parts", "check_evaluation", "split_parts"]


@dataclass(frozen=True)
class Parts:
    """Two parts of the rows, each in an order that depends on what the rows hold alone.

    `values` and `held_values` are float64 (n, features) and (h, features), `labels` and `held_labels` (n,) and (h,);
    `queries` and `held_queries` count the distinct queries of either part.
    """

    values: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    queries: int
    held_values: npt.NDArray[np.float64]
    held_labels: npt.NDArray[np.int64]
    held_queries: int


def check_evaluation(*parts: Any) -> bool:
    """Whether an evaluation set is given; raises `SettingError` where only some of eval_X, eval_y, ... are."""
    given = [part is not None for part in parts]
    if any(given) and not all(given):
        raise SettingError("An evaluation set needs eval_X, eval_y and eval_query_ids; give all three or none.")
    return all(given)


def split_parts(
    values: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    query_ids: Any,
    evaluation: tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], Any] | None,
    *,
    fraction: float,
    seed: int,
) -> Parts:
    """The rows in two parts: all and the evaluation set, or, without one, by query as `held_out_queries` draws them.

    `values` float64 (n, features), `labels` int64 (n,), `query_ids` (n,); `evaluation` holds the same of other rows.

    Raises
    ------
    DataError
        Query ids that are null or of another number, or so few queries that one part would be empty.
    SettingError
        A `fraction` that is not above 0 and below 1.
    """
    codes, queries = encode_queries(query_ids, len(labels))
    if evaluation is None:
        held = held_out_queries(codes, queries, fraction, seed)
        values, held_values = values[~held], values[held]
        held_labels, labels = labels[held], labels[~held]
        held_count = len(np.unique(codes[held]))
        count = len(queries) - held_count
    else:
        held_values, held_labels, held_ids = evaluation
        count, held_count = len(queries), len(encode_queries(held_ids, len(held_labels))[1])
        if len(held_labels) == 0:
            raise DataError("The evaluation set has no rows; give at least one query.")
    order, held_order = content_order(values, labels), content_order(held_values, held_labels)
    return Parts(values[order], labels[order], count, held_values[held_order], held_labels[held_order], held_count)
