"""Bring columns to the types of the schema where nothing is lost by it, and say where a value stands in the way.

Libraries write the same column in several layouts: text as `large_string` or dictionaries, vectors as lists of double,
times without a zone, ids as numbers. Here they become the one layout that the rest reads: numbers in a column of text
by the rule of `id_texts`, a list of texts in it joined by spaces. What would change a value's meaning (a truth value as
an id) is left as it is; the schema's check then names it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.id_texts import id_texts
from omnifeat.data.schema import TIMESTAMP, VECTOR, VECTOR_LIST, is_key, is_vector, is_vector_list, known_type
from omnifeat.data.times import not_a_time, parse_times
from omnifeat.errors import DataError

__all__ = ["conform_array", "conformed_type", "first_width", "joined_texts", "plain_type"]

_STRING = pa.string()
_FLOATS = pa.list_(pa.float32())


def _is_text(arrow_type: pa.DataType) -> bool:
    types = pa.types
    if types.is_dictionary(arrow_type):
        arrow_type = arrow_type.value_type
    return bool(types.is_string(arrow_type) or types.is_large_string(arrow_type) or types.is_string_view(arrow_type))


def _is_list(arrow_type: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_list(arrow_type)
        or types.is_large_list(arrow_type)
        or types.is_fixed_size_list(arrow_type)
        or types.is_list_view(arrow_type)
        or types.is_large_list_view(arrow_type)
    )


def _is_number(arrow_type: pa.DataType) -> bool:
    return bool(pa.types.is_floating(arrow_type) or pa.types.is_integer(arrow_type))


def plain_type(arrow_type: pa.DataType) -> pa.DataType:
    """The same type in Arrow's plain layout: no dictionaries, views or 64-bit offsets; a column of nulls is text."""
    if pa.types.is_null(arrow_type):
        return _STRING
    if pa.types.is_dictionary(arrow_type):
        return plain_type(arrow_type.value_type)
    if _is_text(arrow_type) or isinstance(arrow_type, pa.UuidType):
        return _STRING
    if pa.types.is_fixed_size_list(arrow_type):
        return pa.list_(plain_type(arrow_type.value_type), arrow_type.list_size)
    if _is_list(arrow_type):
        return pa.list_(plain_type(arrow_type.value_type))
    return arrow_type


def needs_width(name: str, arrow_type: pa.DataType) -> bool:
    """Whether the column holds vectors whose type does not say how wide they are."""
    wanted = known_type(name)
    if wanted is VECTOR:
        return (
            _is_list(arrow_type) and not pa.types.is_fixed_size_list(arrow_type) and _is_number(arrow_type.value_type)
        )
    if wanted is VECTOR_LIST and _is_list(arrow_type):
        inner = arrow_type.value_type
        return _is_list(inner) and not pa.types.is_fixed_size_list(inner) and _is_number(inner.value_type)
    return False


def first_width(name: str, chunks: Iterable[pa.Array]) -> int | None:
    """Width of the first vector that is there; None where all are null."""
    of_lists = known_type(name) is VECTOR_LIST
    for chunk in chunks:
        widths = pc.list_value_length(chunk.flatten() if of_lists else chunk).drop_null()
        if len(widths):
            return int(widths[0].as_py())
    return None


def conformed_type(name: str, arrow_type: pa.DataType, width: int | None = None) -> pa.DataType:
    """The type in which a column of this name and type is read.

    Parameters
    ----------
    width
        Width of the column's vectors, where the type does not say it (`needs_width`); None if all are null.
    """
    wanted = known_type(name)
    plain = plain_type(arrow_type)
    if wanted is None:
        return plain
    if wanted is VECTOR or wanted is VECTOR_LIST:
        return _vector_type(wanted, arrow_type, width)
    if pa.types.is_null(arrow_type) or _is_same_kind(plain, wanted):
        return wanted
    if wanted.equals(_STRING) and _is_list(plain) and _is_text(plain.value_type) and not is_key(name):
        return wanted
    return plain


def _is_same_kind(plain: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of one type can be had in the other without changing what they say."""
    if wanted.equals(TIMESTAMP):
        # texts are parsed; a number without a unit is refused by its row, with the unit that it looks like
        return bool(pa.types.is_timestamp(plain) or pa.types.is_date(plain) or _is_text(plain) or _is_number(plain))
    if wanted.equals(pa.float64()):
        return bool(_is_number(plain) or pa.types.is_decimal(plain))
    if wanted.equals(_STRING):
        return bool(_is_number(plain) or pa.types.is_decimal(plain))
    # whole numbers with a hole come as floats
    return bool(wanted.equals(pa.int64()) and _is_number(plain))


def _vector_type(wanted: Any, arrow_type: pa.DataType, width: int | None) -> pa.DataType:
    plain = plain_type(arrow_type)
    if pa.types.is_null(arrow_type):
        return _FLOATS if wanted is VECTOR else pa.list_(_FLOATS)
    if wanted is VECTOR and _is_list(plain) and _is_number(plain.value_type):
        size = plain.list_size if pa.types.is_fixed_size_list(plain) else width
        return pa.list_(pa.float32(), size) if size else _FLOATS
    if wanted is VECTOR_LIST and _is_list(plain) and _is_list(plain.value_type):
        inner = plain.value_type
        if _is_number(inner.value_type):
            size = inner.list_size if pa.types.is_fixed_size_list(inner) else width
            return pa.list_(pa.list_(pa.float32(), size) if size else _FLOATS)
    return plain


def conform_array(array: pa.Array, target: pa.DataType, where: str, first_row: int = 1) -> pa.Array:
    """The column in the type that `conformed_type` gave for it.

    Parameters
    ----------
    where
        File and column, as messages say them: ``pins.parquet, column 'pinsage'``.
    first_row
        Number of the array's first row in its file, from 1.

    Raises
    ------
    DataError
        A vector has another width than the column's first one, or a value does not fit the type.
    """
    if array.type.equals(target):
        return array
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if isinstance(array.type, pa.UuidType):
        array = pa.array([None if value is None else str(value) for value in array.to_pylist()], _STRING)
    if is_vector(target):
        return _as_vectors(array, target, where, first_row)
    if is_vector_list(target):
        return _as_vector_lists(array, target, where, first_row)
    if target.equals(TIMESTAMP):
        return parse_times(
            array, lambda row, value: DataError(f"{where}, row {first_row + row}: {value!r} {not_a_time(value)}")
        )
    if target.equals(_STRING) and not _is_text(array.type):
        return joined_texts(array) if _is_list(array.type) else pc.cast(id_texts(array, where, first_row), target)
    if pa.types.is_integer(target) and pa.types.is_floating(array.type):
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    try:
        return pc.cast(array, target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        row, value = _first_misfit(array, target)
        raise DataError(f"{where}, row {first_row + row}: {value!r} is not {value_name(target)}: correct it") from error


def joined_texts(array: pa.Array) -> pa.Array:
    """Lists of texts (n) as one text each, joined by spaces; a list of none is null."""
    lists = pc.cast(array, pa.list_(_STRING))
    texts = [" ".join(text for text in value if text) if value else None for value in lists.to_pylist()]
    return pa.array(texts, _STRING)


def value_name(arrow_type: pa.DataType) -> str:
    """What a value of a type is called where another stands: `'n/a' is not a number`."""
    if pa.types.is_floating(arrow_type):
        return "a number"
    if pa.types.is_integer(arrow_type):
        return "a whole number"
    return "true or false" if pa.types.is_boolean(arrow_type) else f"a value of type {type_name(arrow_type)}"


def type_name(arrow_type: pa.DataType) -> str:
    """A type in words that a table's owner uses."""
    if pa.types.is_string(arrow_type):
        return "text"
    if pa.types.is_list(arrow_type) and pa.types.is_string(arrow_type.value_type):
        return "list of text"
    return str(arrow_type).replace("element: ", "").replace("item: ", "")


def _as_vector_lists(array: pa.Array, target: pa.DataType, where: str, first_row: int) -> pa.Array:
    lists = _as_plain_list(array)
    rows = np.repeat(np.arange(len(lists)), np.diff(lists.offsets.to_numpy()))
    values = lists.values.slice(lists.offsets[0].as_py(), len(rows))
    vectors = _as_vectors(values, target.value_type, where, first_row, rows)
    offsets = pc.subtract(lists.offsets, lists.offsets[0])
    return pa.ListArray.from_arrays(offsets, vectors, type=target, mask=pc.is_null(lists) if len(lists) else None)


def _as_plain_list(array: pa.Array) -> pa.Array:
    """Any list layout as `list` with 32-bit offsets; null lists are empty (see `from_arrays` of the caller)."""
    if pa.types.is_list(array.type) and array.null_count == 0:
        return array
    plain = pc.cast(array, pa.list_(array.type.value_type))
    if plain.null_count == 0:
        return plain
    # a null list may lie over values: without them, offsets and values agree again
    lengths = pc.fill_null(pc.list_value_length(plain), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    mask = pc.is_null(plain)
    return pa.ListArray.from_arrays(pa.array(offsets), plain.flatten(), mask=mask)


def _as_vectors(
    array: pa.Array, target: pa.DataType, where: str, first_row: int, rows: np.ndarray | None = None
) -> pa.Array:
    """Lists of numbers (n) as vectors (n, width) of float32; nulls stay null."""
    width = target.list_size
    missing = pc.is_null(array)
    if not pa.types.is_fixed_size_list(array.type) or array.type.list_size != width:
        lengths = pc.fill_null(pc.list_value_length(array), width)
        wrong = pc.index(pc.equal(lengths, width), pa.scalar(False)).as_py()
        if wrong >= 0:
            row = first_row + (wrong if rows is None else int(rows[wrong]))
            raise DataError(
                f"{where}, row {row}: the vector has {lengths[wrong].as_py()} numbers, but the column's first one has "
                f"{width}: give all vectors of the column one width"
            )
    if array.null_count == 0:
        flat = array.flatten()
    else:  # null vectors hold nothing in `flatten`: put zeros there, which the mask hides
        there = np.flatnonzero(~missing.to_numpy(zero_copy_only=False))
        filled = np.zeros((len(array), width), dtype=np.float32)
        filled[there] = _numbers(array.flatten(), where, first_row, there if rows is None else rows[there], width)
        flat = pa.array(filled.reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, type=target, mask=missing)
    places = np.arange(len(array)) if rows is None else rows
    numbers = _numbers(flat, where, first_row, places, width)
    return pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), type=target)


def _numbers(flat: pa.Array, where: str, first_row: int, rows: np.ndarray, width: int) -> np.ndarray:
    """The numbers of vectors, float32 (n, width)."""
    if flat.null_count:
        place = pc.index(pc.is_null(flat), pa.scalar(True)).as_py()
        raise DataError(
            f"{where}, row {first_row + int(rows[place // width])}: number {place % width + 1} of the vector is null: "
            "give a number, or leave the whole vector out"
        )
    with np.errstate(over="ignore"):  # a double beyond float32 becomes inf, which the check of vectors names
        return flat.to_numpy(zero_copy_only=False).astype(np.float32, copy=False).reshape(-1, width)


def _first_misfit(array: pa.Array, target: pa.DataType) -> tuple[int, object]:
    """The first row whose value cannot be cast alone, and that value."""
    for row in range(len(array)):
        try:
            pc.cast(array.slice(row, 1), target)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            value = array[row].as_py()
            return row, value
    return 0, array[0].as_py()
