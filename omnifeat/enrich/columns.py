"""A table with one column filled in, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from omnifeat.data.dataset import Dataset
from omnifeat.data.provenance import Provenance, with_provenance

__all__ = ["filled_batches"]


def filled_batches(
    dataset: Dataset, table: str, column: str, fill: Callable[[pa.RecordBatch], pa.Array], made: Provenance
) -> Iterator[pa.RecordBatch]:
    """The table's batches with a column replaced or added, which records what it was made from.

    Parameters
    ----------
    fill
        Gives the column's values for a batch; called with the batches in order.
    """
    for batch in dataset.batches(table):
        columns = {name: batch.column(name) for name in batch.schema.names} | {column: fill(batch)}
        plain = pa.schema([(name, item.type) for name, item in columns.items()], metadata=batch.schema.metadata)
        yield pa.RecordBatch.from_arrays(list(columns.values()), schema=with_provenance(plain, {column: made}))
