"""A column of entity types as text: one that is misspelt would make its entities unknown, without a word."""

from __future__ import annotations

import pyarrow as pa

from omnifeat.data.checks import check_entity_types
from omnifeat.data.id_texts import id_texts

__all__ = ["type_texts"]


def type_texts(column: pa.Array | pa.ChunkedArray, where: str, first_row: int = 1) -> pa.LargeStringArray:
    """A column `entity_type` as text, in one array; null where no type is said.

    Parameters
    ----------
    where
        Table and column, as messages say them: ``pairs.parquet: column 'entity_type'``.
    first_row
        Number of the first row in its table, from 1.

    Raises
    ------
    DataError
        A value is none of `pin`, `product` and `query`, or the column holds no text; names the row.
    """
    texts = id_texts(column, where, first_row)
    check_entity_types(texts, where, first_row)
    return texts
