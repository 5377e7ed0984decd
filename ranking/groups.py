"""Rows of many queries into the groups that LightGBM asks for, in an order that depends on what they hold alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.errors import DataError

__all__ = [
    "MAX_GRADE",
    "MAX_ROWS_PER_QUERY",
    "Groups",
    "check_grades",
    "check_positions",
    "content_order",
    "dense_codes",
    "encode_queries",
    "group_rows",
    "to_numpy",
]

MAX_ROWS_PER_QUERY = 10_000  # LightGBM's own limit
MAX_GRADE = 10_000  # a gain is kept for every grade up to the largest


@dataclass(frozen=True)
class Groups:
    """Rows gathered by query: `order` int64 (n,) lists rows query by query, `sizes` int64 (queries,) their counts."""

    order: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]


def check_grades(labels: Any, rows: int, what: str = "label") -> npt.NDArray[np.int64]:
    """Grades as int64 (rows,).

    Raises
    ------
    DataError
        Another number of labels than rows; a grade that is missing, no whole number, negative or above 10,000.
    """
    raw = np.asarray(to_numpy(labels))
    if raw.ndim != 1 or len(raw) != rows:
        raise DataError(f"There must be one {what} for each of the {rows} rows; got shape {raw.shape} instead.")
    try:
        grades = raw.astype(np.float64)
    except (TypeError, ValueError):
        row = next((row for row, value in enumerate(raw.tolist()) if not _is_number(value)), 0)
        raise DataError(
            f"The {what} of row {row + 1} is {raw[row]!r}; every {what} must be a whole number from 0."
        ) from None
    wrong = ~(np.isfinite(grades) & (grades >= 0) & (grades <= MAX_GRADE) & (grades == np.floor(grades)))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"The {what} of row {row + 1} is {raw[row]}; every {what} must be a whole number from 0 to {MAX_GRADE:,}"
            f"{', higher for better' if 'label' in what else ''}."
        )
    return grades.astype(np.int64)


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def encode_queries(query_ids: Any, rows: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """A code from 0 for each row's query, int64 (rows,), and the distinct queries (sorted where they can be).

    Raises
    ------
    DataError
        Another number of query ids than rows, or a query id that is null.
    """
    ids = to_numpy(query_ids)
    if ids.ndim != 1 or len(ids) != rows:
        raise DataError(f"There must be one query id for each of the {rows} rows; got shape {ids.shape} instead.")
    missing = pd.isna(ids)
    if missing.any():
        raise DataError(f"The query id of row {int(np.flatnonzero(missing)[0]) + 1} is null; give every row its query.")
    kinds = {type(value) for value in ids.tolist()}
    codes, distinct = pd.factorize(ids, sort=len(kinds) == 1)
    return codes.astype(np.int64), np.asarray(distinct)


def check_positions(positions: Any, rows: int) -> npt.NDArray[np.int64] | None:
    """Positions as int64 (rows,), or None where none are given; raises `DataError` for one that is none."""
    return None if positions is None else check_grades(positions, rows, "position")


def dense_codes(
    codes: npt.NDArray[np.int64], queries: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Codes without gaps and the queries that they mean, where some queries have no row left."""
    kept, dense = np.unique(codes, return_inverse=True)
    return dense.astype(np.int64), queries[kept]


def group_rows(
    codes: npt.NDArray[np.int64],
    distinct: npt.NDArray[Any],
    values: npt.NDArray[np.float64],
    grades: npt.NDArray[Any],
    *more: npt.NDArray[Any],
) -> Groups:
    """Gather rows by query; queries, and rows within one, are ordered by a hash of what they hold.

    LightGBM breaks ties of score by the place of the row, and sums in the order of rows, so that the same data in
    another order would give another model. Ordered by content, it does not matter how the input was ordered. A hash,
    and not the values themselves, so that no feature decides ties; columns of one value have no part in it.

    `codes` int64 (n,), `values` float64 (n, features) in the order of features used for training, `grades` (n,) and
    `more` (positions, weights), each (n,), whole or decimal numbers.

    Raises
    ------
    DataError
        A query has more than 10,000 rows.
    """
    sizes = np.bincount(codes, minlength=len(distinct))
    if sizes.max() > MAX_ROWS_PER_QUERY:
        largest = int(sizes.argmax())
        raise DataError(
            f"Query {distinct[largest]!r} has {sizes[largest]:,} rows and LightGBM takes {MAX_ROWS_PER_QUERY:,} "
            "at most; keep its positives and a sample of the rest."
        )
    row_hashes = _row_hashes(values, grades, *more)
    query_hashes = np.zeros(len(distinct), dtype=np.uint64)
    np.add.at(query_hashes, codes, row_hashes)  # a sum does not depend on the order of rows
    order = np.lexsort((row_hashes, codes, query_hashes[codes])).astype(np.int64)
    ordered = codes[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    gathered = np.diff(np.r_[starts, len(ordered)]).astype(np.int64)
    # One run of rows per query, else LightGBM would learn from groups that mix queries.
    assert len(gathered) == np.count_nonzero(sizes)  # noqa: S101
    return Groups(order, gathered)


def content_order(values: npt.NDArray[np.float64], *more: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """An order of rows that depends on what they hold alone, int64 (n,): for models that know no queries.

    `values` float64 (n, features) in the order of features used for training; `more` (labels, weights), each (n,).
    """
    return np.argsort(_row_hashes(values, *more), kind="stable").astype(np.int64)


def _row_hashes(values: npt.NDArray[np.float64], *more: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """A stable hash of each row's `more` and varying features, uint64 (n,)."""
    hashes = np.zeros(len(values), dtype=np.uint64)
    for column in (*more, *values.T):
        canonical = column.astype(np.float64) + 0.0  # one zero
        canonical[np.isnan(canonical)] = np.nan  # one NaN
        bits = canonical.view(np.uint64)
        if (bits != bits[0]).any():
            hashes = _mixed(hashes ^ bits)
    return hashes


def _mixed(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64, with its constants: every bit of the input reaches every bit of the output."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def to_numpy(data: Any) -> npt.NDArray[Any]:
    """Labels or ids of any library as a NumPy array; text as objects."""
    if isinstance(data, pa.Array | pa.ChunkedArray):
        if pa.types.is_dictionary(data.type):
            data = pc.cast(data, data.type.value_type)
        return np.asarray(data.to_numpy(zero_copy_only=False) if isinstance(data, pa.Array) else data.to_numpy())
    to_numpy = getattr(data, "to_numpy", None)
    array = np.asarray(to_numpy() if to_numpy is not None else data)
    return array.astype(object) if array.dtype.kind in "US" else array
