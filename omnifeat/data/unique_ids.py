"""Refuse tables whose ids stand twice, before work rests on them; the whole of what may be wrong is for `validate`."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from omnifeat.data.dataset import Dataset
from omnifeat.data.relations import IdStore, unique_column
from omnifeat.data.schema import ENTITY_TABLES
from omnifeat.errors import DataError

__all__ = ["refuse_duplicate_ids"]

_ENTITIES = tuple(table for kind, (table, _) in ENTITY_TABLES.items() if kind != "query")


def refuse_duplicate_ids(dataset: Dataset, tables: Iterable[str] = _ENTITIES) -> None:
    """Make sure that each id stands once in these tables, pins and products if not given; tables may be missing.

    The ids are held by DuckDB, on disk where they are many.

    Raises
    ------
    DataError
        An id stands twice; names the table, the id and both rows. Or the table or its column cannot be read.
    """
    for table in tables:
        column = unique_column(table)
        if column is None or not dataset.has(table):
            continue
        with IdStore.open() as store:
            row = 1
            for batch in dataset.batches(table, [column]):
                rows = pa.array(np.arange(row, row + batch.num_rows))
                store.insert("ids", {"row": rows, "value": batch.column(0)})
                row += batch.num_rows
            twice = "SELECT value, min(row, 2) AS rows FROM ids GROUP BY value HAVING count(*) > 1"
            for value, (first, second) in store.query(f"{twice} ORDER BY rows[1] LIMIT 1"):
                raise DataError(
                    f"{dataset.place(table)}: the {column} '{value}' stands in row {first} and again in row {second}: "
                    "keep one row for each"
                )
