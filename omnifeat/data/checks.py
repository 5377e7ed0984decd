"""Checks of a table: columns have the schema's types, text is UTF-8, vectors are finite, no id is null."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.conform import type_name
from omnifeat.data.schema import (
    ENTITY_TYPES,
    VECTOR,
    VECTOR_LIST,
    TableSchema,
    did_you_mean,
    is_vector,
    is_vector_list,
    known_type,
    matches,
)
from omnifeat.errors import DataError

__all__ = [
    "check_entity_types",
    "check_finite",
    "check_nulls",
    "check_text",
    "not_finite_rows",
    "not_utf8",
    "type_problems",
]


def not_utf8(array: pa.Array) -> tuple[int, bytes] | None:
    """The first row whose text is not UTF-8, and its bytes; None where all is.

    `array` holds text, or lists of text, to any depth; other types are never wrong.
    """
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        pass
    else:
        return None
    for row in range(len(array)):
        for raw in _raw_texts(array.slice(row, 1)):
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError:
                return row, raw
    return 0, b""  # the array is wrong in another way than its text


def _raw_texts(array: pa.Array) -> Iterator[bytes]:
    types = pa.types
    if types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if types.is_string(array.type):
        yield from (value for value in array.cast(pa.binary()).to_pylist() if value is not None)
    elif types.is_large_string(array.type):
        yield from (value for value in array.cast(pa.large_binary()).to_pylist() if value is not None)
    elif types.is_list(array.type) or types.is_large_list(array.type):
        yield from _raw_texts(array.flatten())


def check_text(array: pa.Array, where: str, first_row: int = 1) -> None:
    """Refuse text that is not UTF-8.

    Raises
    ------
    DataError
        Names the row and shows the bytes.
    """
    found = not_utf8(array)
    if found is not None:
        row, raw = found
        raise DataError(f"{where}, row {first_row + row} is not UTF-8 text ({raw[:40]!r}): save it as UTF-8")


def not_finite_rows(array: pa.Array) -> np.ndarray:
    """Rows (int64, ascending) of vectors or lists of vectors in which a number is null, NaN or infinite as float32."""
    numbers, lengths_by_depth = array, []
    while pa.types.is_list(numbers.type) or pa.types.is_fixed_size_list(numbers.type):
        lengths_by_depth.append(pc.fill_null(pc.list_value_length(numbers), 0))
        numbers = numbers.flatten()
    # a sum is finite only if every number is: the quick look, then the exact one
    with np.errstate(over="ignore", invalid="ignore"):
        values = numbers.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
        if np.isfinite(values.sum(dtype=np.float64)):
            return np.zeros(0, dtype=np.int64)
    owners = np.arange(len(array))
    for lengths in lengths_by_depth:
        owners = np.repeat(owners, lengths.to_numpy(zero_copy_only=False))
    return np.unique(owners[~np.isfinite(values)]).astype(np.int64)


def check_finite(name: str, array: pa.Array, where: str, first_row: int = 1) -> None:
    """Refuse NaN and infinity in a column of vectors; other columns pass.

    Raises
    ------
    DataError
        Names the first such row.
    """
    if not (is_vector(array.type) or is_vector_list(array.type)) or known_type(name) is None:
        return
    rows = not_finite_rows(array)
    if len(rows):
        raise DataError(
            f"{where}, row {first_row + int(rows[0])}: the vector holds a number that is NaN or infinite: "
            "give finite numbers, or null for a vector that is missing"
        )


def type_problems(known: TableSchema | None, schema: pa.Schema, place: str) -> dict[str, str]:
    """Column -> the sentence that says how its type is not the schema's."""
    problems: dict[str, str] = {}
    for field in schema if known is not None else ():
        column = known.column(field.name) if known is not None else None
        if column is None or matches(field.type, column.type):
            continue
        # a column without one vector has no width, and nothing that could be wrong
        if column.type is VECTOR and field.type.equals(pa.list_(pa.float32())):
            continue
        if column.type is VECTOR_LIST and field.type.equals(pa.list_(pa.list_(pa.float32()))):
            continue
        wanted = str(column.type) if column.type in (VECTOR, VECTOR_LIST) else type_name(column.type)
        problems[field.name] = (
            f"{place}, column '{field.name}' is {type_name(field.type)}, but must be {wanted}: write it with that type"
        )
    return problems


def check_nulls(known: TableSchema | None, batch: pa.RecordBatch, place: str, first_row: int) -> None:
    """Refuse a null in a column that must hold a value in every row. Raises `DataError`."""
    for column in known.columns if known is not None else ():
        if column.nullable or column.name not in batch.schema.names:
            continue
        array = batch.column(column.name)
        if array.null_count:
            row = first_row + array.is_null().index(True).as_py()
            raise DataError(f"{place}, row {row} has no {column.name}: fill it or leave the row out")


def check_entity_types(types: pa.Array, place: str, first_row: int) -> None:
    """Refuse entity types that there are not; null passes. Raises `DataError`."""
    wrong = pc.index(pc.is_in(types.drop_null(), pa.array(ENTITY_TYPES)), pa.scalar(False)).as_py()
    if wrong >= 0:
        found = types.drop_null()[wrong].as_py()
        raise DataError(
            f"{place}, row {first_row + pc.index(types, found).as_py()}: the entity_type is '{found}', but must be one "
            f"of {', '.join(ENTITY_TYPES)}: correct it{did_you_mean(found, ENTITY_TYPES)}"
        )
