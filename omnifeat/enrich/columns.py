"""A table with a column filled in, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from omnifeat.data.dataset import Dataset
from omnifeat.data.provenance import Provenance, with_provenance

__all__ = ["filled_batches"]


def filled_batches(
    dataset: Dataset, table: str, filled: Sequence[str], fill: Callable[[pa.RecordBatch], pa.Array], made: Provenance
) -> Iterator[pa.RecordBatch]:
    """The table's batches with columns replaced or added, all of the same values; they record what they were made from.

    Parameters
    ----------
    fill
        Gives the values for a batch; called with the batches in order.
    """
    for batch in dataset.batches(table):
        columns = {name: batch.column(name) for name in batch.schema.names} | dict.fromkeys(filled, fill(batch))
        plain = pa.schema([(name, item.type) for name, item in columns.items()], metadata=batch.schema.metadata)
        yield pa.RecordBatch.from_arrays(
            list(columns.values()), schema=with_provenance(plain, dict.fromkeys(filled, made))
        )
