"""A column of texts of any library as a list, and what is no such column refused.

A table iterates over its column names and a dictionary over its keys: taken for columns of text, they would be
encoded without a word.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from omnifeat.errors import DataError

__all__ = ["is_unicode", "refuse_tables", "text_list"]


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8: half a surrogate pair cannot."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def refuse_tables(values: Any, what: str = "queries") -> None:
    """Refuse a table, a mapping, a single text or a set where a column is meant.

    Raises
    ------
    DataError
        Says how the column is to be given.
    """
    title = what[0].upper() + what[1:]
    if isinstance(values, str):
        raise DataError(f"{title} must come as a list; got the single text {values!r}, so write [{values!r}].")
    if isinstance(values, bytes | bytearray | memoryview):
        raise DataError(f"{title} must be a list of texts; got bytes, so decode them: [value.decode()].")
    if isinstance(values, set | frozenset):
        raise DataError(f"{title} must be a list; got a set, which has no order, so write sorted(...).")
    columns = _columns(values)
    if columns is not None:
        likely = "query" if "query" in columns or not columns else columns[0]
        raise DataError(
            f"{title} must be one column; got a table ({type(values).__name__}) with "
            f"{', '.join(map(repr, columns)) or 'no columns'}, so give the column, such as table[{likely!r}]."
        )


def _columns(values: Any) -> list[Any] | None:
    """Column names of a table or mapping; None for what is neither."""
    if isinstance(values, Mapping):
        return list(values)
    if isinstance(values, pa.Table | pa.RecordBatch):
        return list(values.schema.names)
    columns = getattr(values, "columns", None)  # pandas, Polars, DuckDB; no column of these has columns
    if columns is None or callable(columns) or isinstance(values, pa.Array | pa.ChunkedArray):
        return None
    return list(columns)


def text_list(texts: Any, what: str = "queries", *, empty: bool = False) -> list[str]:
    """Any column of text (list, NumPy, pandas, Polars, Arrow, generator) as a list of str; rows count from 1.

    Parameters
    ----------
    what
        What messages call the texts.
    empty
        Whether a text may be empty or white space.

    Raises
    ------
    DataError
        It is no column (`refuse_tables`), or a row is null, no text, no valid Unicode or (without `empty`) empty; the
        first such row is named.
    """
    refuse_tables(texts, what)
    if isinstance(texts, pa.Array | pa.ChunkedArray):
        values = texts.to_pylist()
    elif hasattr(texts, "tolist"):  # NumPy and pandas
        values = texts.tolist()
    else:
        values = list(texts) if isinstance(texts, Iterable) else texts
    if not isinstance(values, list):
        raise DataError(f"{what[0].upper()}{what[1:]} must come as a list of texts; got {texts!r}.")
    for row, text in enumerate(values, start=1):
        if not isinstance(text, str):
            missing = text is None or (isinstance(text, float) and math.isnan(text))  # pandas writes null as NaN
            found = "null" if missing else f"{text!r}, which is no text"
            raise DataError(f"Row {row} of the {what} is {found}; give every row a text.")
        if not empty and (not text or text.isspace()):
            raise DataError(f"Row {row} of the {what} is empty; give every row a text.")
        if not is_unicode(text):
            raise DataError(f"Row {row} of the {what} is not valid Unicode ({text!r}); mend the text.")
    return values
