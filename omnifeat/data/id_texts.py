"""Ids and queries as text, whatever a library made of them.

An id is a text. A database writes it as a number, and pandas makes numbers with a hole in them floats: `11.0` is the
entity `11` then, since nothing else can be meant. What could be meant in several ways is refused, by its row.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.errors import DataError

__all__ = ["id_texts"]

_EXACT = 2**53  # from here on a float stands for several whole numbers
_REMEDY = "write it as text"


def id_texts(column: pa.Array | pa.ChunkedArray, where: str, first_row: int = 1) -> pa.LargeStringArray:
    """A column of ids or queries as text, in one array.

    Text stays as it is, whole numbers are written out. Floats and decimals that are whole become their integer text
    (`11.0` is `11`), NaN is null.

    Parameters
    ----------
    where
        Table and column, as messages say them: ``pairs.parquet: column 'entity_id'``.
    first_row
        Number of the first row in its table, from 1.

    Raises
    ------
    DataError
        A float or decimal is not whole, or so large that it stands for several whole numbers; or the column holds
        truth values, bytes, times, lists or the like.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # of no chunks, or of too many bytes for one
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if _is_text(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind):
        return pc.cast(array, pa.large_string())
    if pa.types.is_floating(kind):
        return _of_floats(pc.cast(array, pa.float64()), where, first_row)
    if pa.types.is_decimal(kind):
        whole = pc.round(array)
        _refuse(array, pc.not_equal(array, whole), where, first_row, "is not a whole number")
        return pc.replace_substring_regex(pc.cast(whole, pa.large_string()), r"\.0*$", "")
    raise DataError(f"{where} must be text, but its type is {kind}; {_REMEDY}.")


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _of_floats(array: pa.DoubleArray, where: str, first_row: int) -> pa.LargeStringArray:
    array = pc.if_else(pc.is_nan(array), None, array)
    fraction = pc.not_equal(array, pc.trunc(array))
    _refuse(array, pc.or_(fraction, pc.is_inf(array)), where, first_row, "is not a whole number")
    large = pc.greater_equal(pc.abs(array), float(_EXACT))
    _refuse(array, large, where, first_row, "stands for several whole numbers as a float")
    return pc.cast(pc.cast(array, pa.int64()), pa.large_string())


def _refuse(array: pa.Array, wrong: pa.BooleanArray, where: str, first_row: int, why: str) -> None:
    row = pc.index(pc.fill_null(wrong, False), pa.scalar(True)).as_py()
    if row >= 0:
        raise DataError(f"{where}, row {first_row + row}: {array[row].as_py()} {why}; {_REMEDY}.")
