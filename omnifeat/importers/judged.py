"""What the importers of judged pairs share: training pairs from the best grade, and notes that are known last."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from omnifeat.data.dataset import DatasetWriter
from omnifeat.data.schema import TIMESTAMP
from omnifeat.errors import DataError, SettingError
from omnifeat.importers.sources import NO_TIME
from omnifeat.importers.staging import Staging

__all__ = ["PAIRS", "check_pairs", "engagement_batches", "with_notes"]

PAIRS = ("none", "exact")


def check_pairs(pairs: str) -> None:
    """Raise `SettingError` for a way to make pairs that is not known."""
    if pairs not in PAIRS:
        raise SettingError(f"Unknown pairs '{pairs}'; choose one of: {', '.join(PAIRS)}.")


def engagement_batches(
    staging: Staging, table: str, grade: float, label: str, notes: list[str]
) -> Iterator[pa.RecordBatch]:
    """The judgments of one grade in a staged table (`query`, `entity_id`, `grade`) as clicks without a time.

    Raises `DataError` where none has the grade.
    """
    where = f"FROM {table} t ANTI JOIN {table}_out o ON t.row = o.row WHERE t.grade = {grade}"
    pairs = staging.value(f"SELECT count(*) FROM (SELECT DISTINCT query, entity_id {where})")
    if not pairs:
        raise DataError(f"No judgment is {label}, so there is nothing to make pairs of; give --pairs none.")
    notes.append(
        f"Engagements are the {pairs:,} pairs judged {label}, not a log; nobody clicked, and their timestamp is a "
        f"constant ({NO_TIME.date()}) that means nothing."
    )
    sql = f"SELECT query, entity_id, min(row) AS first {where} GROUP BY query, entity_id ORDER BY first"
    for batch in staging.batches(sql):
        rows = batch.num_rows
        yield pa.RecordBatch.from_pydict(
            {
                "query": batch.column(0).cast(pa.string()),
                "entity_id": batch.column(1).cast(pa.string()),
                "entity_type": pa.array(["product"] * rows, pa.string()),
                "action": pa.array(["click"] * rows, pa.string()),
                "timestamp": pa.array([NO_TIME] * rows, TIMESTAMP),
            }
        )


def with_notes(writer: DatasetWriter, notes: Sequence[str]) -> None:
    """Put the notes in the `dataset.json` to come; some are known only when the tables are written."""
    writer.info = writer.info.model_copy(update={"notes": list(notes)})
