"""Tables of other libraries: in as Arrow, out as the library's own type."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from omnifeat.data.checks import check_finite, check_text
from omnifeat.data.conform import conform_array, conformed_type, first_width, needs_width, plain_type
from omnifeat.data.locations import one_line
from omnifeat.data.schema import ByName, types_by_name
from omnifeat.errors import DataError, OmnifeatError, SettingError

__all__ = ["as_table", "like_input"]

_HALF_PAIR = re.compile("[\ud800-\udfff]")


def _library(data: object) -> str:
    return type(data).__module__.split(".", 1)[0]


def as_table(data: Any, by_name: ByName = True) -> pa.Table:
    """A table of any kind as Arrow, in the types of the schema (see `omnifeat.data.conform`), rows in the same order.

    Parameters
    ----------
    data
        Arrow table or record batch, pandas or Polars DataFrame, mapping of column name to values, or a path.
    by_name
        See `omnifeat.data.files.open_parts`.

    Raises
    ------
    DataError
        The path cannot be read, text is not UTF-8, a vector has the wrong width or holds NaN or infinity, or the
        columns have several lengths. A table without rows is returned as it is.
    SettingError
        `data` is none of these.
    """
    if isinstance(data, str | os.PathLike):
        from omnifeat.data.files import read_table

        return read_table(data, allow_empty=True, by_name=by_name)
    try:
        table = _arrow(data)
    except OmnifeatError:
        raise
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"the table cannot be brought to Arrow: {' '.join(str(error).split())}") from error
    columns, fields, known_type = [], [], types_by_name(by_name)
    for field, column in zip(table.schema, table.columns, strict=True):
        where = f"the table, column '{field.name}'"
        known = known_type(field.name) is not None
        width = first_width(field.name, column.chunks) if known and needs_width(field.name, field.type) else None
        target = conformed_type(field.name, field.type, width) if known else plain_type(field.type)
        chunks, row = [], 1
        for chunk in column.chunks:
            check_text(chunk, where, row)
            chunks.append(conform_array(chunk, target, where, row))
            check_finite(field.name, chunks[-1], where, row)
            row += len(chunk)
        columns.append(pa.chunked_array(chunks, type=target))
        fields.append(pa.field(field.name, target))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=table.schema.metadata))


def _arrow(data: Any) -> pa.Table:
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if _library(data) == "pandas" and hasattr(data, "iloc") and hasattr(data, "columns"):
        odd = [name for name in data.columns if not isinstance(name, str)]
        if odd:
            raise DataError(f"the DataFrame has a column named {odd[0]!r}: column names must be text")
        return _from_pandas(data)
    if _library(data) == "polars" and hasattr(data, "to_arrow") and hasattr(data, "columns"):
        objects = [name for name, kind in data.schema.items() if "Object" in str(kind)]
        if objects:  # Polars would give their addresses
            raise DataError(f"the DataFrame's column '{objects[0]}' holds Python objects: leave it out or make it text")
        return data.to_arrow()
    if isinstance(data, Mapping):
        return _from_mapping(data)
    raise SettingError(
        "a table must be an Arrow table or record batch, a pandas or Polars DataFrame, a mapping of columns or a "
        f"path, not {type(data).__name__}"
    )


def _from_mapping(data: Mapping[str, Any]) -> pa.Table:
    try:
        return pa.table(dict(data))
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        for name, values in data.items():
            _refuse_half_pairs(f"the table, column '{name}'", values)
        raise


def _refuse_half_pairs(where: str, values: Any) -> None:
    """Name the row of a text that holds half a surrogate pair, which no encoding has."""
    for row, value in enumerate(values if isinstance(values, Iterable) and not isinstance(values, str) else (), 1):
        texts = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(text, str) and _HALF_PAIR.search(text) for text in texts):
            raise DataError(
                f"{where}, row {row} holds half a surrogate pair, as of an emoji cut in two: correct the text"
            )


def _from_pandas(data: Any) -> pa.Table:
    twice = next((name for name in data.columns if list(data.columns).count(name) > 1), None)
    if twice is not None:
        raise DataError(f"the DataFrame has two columns named '{twice}': give each column its own name")
    sparse = {name: data[name].sparse.to_dense() for name in data.columns if "Sparse" in str(data.dtypes[name])}
    dense = data.assign(**sparse) if sparse else data
    try:
        return pa.Table.from_pandas(dense, preserve_index=False).replace_schema_metadata(None)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        for name in dense.columns:
            try:
                pa.Table.from_pandas(dense[[name]], preserve_index=False)
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as reason:
                _refuse_half_pairs(f"the table, column '{name}'", dense[name])
                raise DataError(
                    f"the DataFrame's column '{name}' of {dense.dtypes[name]} cannot be brought to Arrow "
                    f"({one_line(reason)}): give it one plain type, such as text"
                ) from error
        raise


def like_input(table: pa.Table, original: Any) -> Any:
    """The table in the library of `original`: pandas with the original's index, Polars, or Arrow for all else.

    Parameters
    ----------
    table
        Result with the rows of `original` in their order.
    original
        What the caller gave.

    Raises
    ------
    DataError
        `original` is a pandas DataFrame with another number of rows, so that its index does not fit.
    """
    library = _library(original)
    if library == "pandas" and hasattr(original, "iloc"):
        if len(original) != table.num_rows:
            raise DataError(
                f"the result has {table.num_rows} rows, but the DataFrame it belongs to has {len(original)}"
            )
        frame = table.to_pandas()
        frame.index = original.index
        for name in frame.columns:  # columns that came in go out as they came, dtypes and all
            if name in original.columns:
                frame[name] = original[name]
        return frame
    if library == "polars":
        import polars

        result: Any = polars.from_arrow(table)
        if len(original) != table.num_rows:
            return result
        # columns that came in go out as they came, categories and all
        return result.with_columns(original[name] for name in result.columns if name in original.columns)
    return table
