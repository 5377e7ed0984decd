"""Chosen fields of pins and products as one text a row.

Texts are trimmed and joined by one blank in the order of the fields; a list counts as its texts joined by blanks.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.conform import joined_texts
from omnifeat.data.dataset import Dataset
from omnifeat.data.schema import did_you_mean, is_key, listed_names
from omnifeat.enrich.filling import entity_tables
from omnifeat.errors import DataError, SettingError

__all__ = ["fields_by_table", "texts_of"]

_TABLES = ("pins", "products")


def fields_by_table(
    dataset: Dataset, tables: Sequence[str] | None, fields: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Table -> those of the fields that it has, in the given order.

    Parameters
    ----------
    tables
        `pins`, `products` or both; those that the dataset has if None.

    Raises
    ------
    SettingError
        No field or one that is named twice, a table of something else, or `engaged_queries`.
    DataError
        A field is in none of the tables or is no text, a table is missing, or has none of the fields.
    """
    _check_names(tables, fields)
    if tables is None:
        chosen = list(entity_tables(dataset).values())
    else:
        chosen = list(dict.fromkeys(tables))
        for table in chosen:
            dataset.require(table, "id")
    there = {table: _texts_in(dataset, table) for table in chosen}
    every = {name: None for table in chosen for name in dataset.columns(table)}
    for field in fields:
        if field not in every:
            usable = list(dict.fromkeys(name for names in there.values() for name in names))
            raise DataError(
                f"{dataset.path} has no column '{field}' in {' or '.join(chosen)}: columns of text there are "
                f"{listed_names(usable) or 'none'}{did_you_mean(field, usable)}"
            )
    for table in chosen:
        for field in fields:
            if dataset.has_column(table, field) and field not in there[table]:
                kind = dataset.schema(table).field(field).type
                raise DataError(f"{dataset.place(table)}, column '{field}' is {kind} and no text: leave the field out")
    found = {table: tuple(field for field in fields if field in there[table]) for table in chosen}
    for table in chosen:
        if not found[table]:
            _refuse_none(dataset, table, fields, there[table], [name for name in chosen if found[name]])
    return found


def texts_of(batch: pa.RecordBatch, fields: Sequence[str]) -> pa.StringArray:
    """The text of each row; null where all fields are null or blank."""
    whole = pa.nulls(batch.num_rows, pa.string())
    for field in fields:
        column = batch.column(field)
        text = pc.utf8_trim_whitespace(joined_texts(column) if pa.types.is_list(column.type) else column)
        text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
        # what is null in one is the other, and in both null
        whole = pc.coalesce(pc.binary_join_element_wise(whole, text, " "), whole, text)
    return whole


def _check_names(tables: Sequence[str] | None, fields: Sequence[str]) -> None:
    wrong = next((table for table in tables or () if table not in _TABLES), None)
    if wrong is not None or (tables is not None and not tables):
        raise SettingError(f"Text fields belong to {' and '.join(_TABLES)}, not to '{wrong or ''}'.")
    if not fields:
        raise SettingError("No text field was given: name at least one, such as title.")
    for field in fields:
        if list(fields).count(field) > 1:
            raise SettingError(f"The field '{field}' is named twice: name it once.")
    if "engaged_queries" in fields:
        raise SettingError(
            "The field 'engaged_queries' cannot go into a vector: training takes a pair's own query out of its "
            "entity's text, and could not take it out of the vector; leave the field out."
        )


def _refuse_none(
    dataset: Dataset, table: str, fields: Sequence[str], usable: Sequence[str], others: Sequence[str]
) -> None:
    """Refuse a table that has none of the fields, where another has some."""
    named = ", ".join(f"'{field}'" for field in fields)
    remedy = f"name one of {listed_names(usable)} too" if usable else "give it one"
    raise DataError(
        f"{dataset.place(table)} has no column {named}: {remedy}, or leave the table out with --tables "
        f"{','.join(others)}"
    )


def _texts_in(dataset: Dataset, table: str) -> list[str]:
    """Columns of text, and of lists of text, that are no ids."""
    schema = dataset.schema(table)
    return [field.name for field in schema if not is_key(field.name) and _is_text(field.type)]


def _is_text(arrow_type: pa.DataType) -> bool:
    return bool(pa.types.is_string(arrow_type.value_type if pa.types.is_list(arrow_type) else arrow_type))
