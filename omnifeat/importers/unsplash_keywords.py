"""Keywords of Unsplash's photos: which of them say something of the photo, and in which order a photo has them."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.errors import DataError
from omnifeat.importers.delimited import DelimitedTable
from omnifeat.importers.plain_text import collapsed
from omnifeat.importers.staging import Staging

__all__ = ["KEYWORD_COLUMNS", "NO_PHOTO", "Keywords", "stage_keywords"]

KEYWORD_COLUMNS = ["photo_id", "keyword", "ai_service_1_confidence", "ai_service_2_confidence", "suggested_by_user"]
NO_PHOTO = "NOT EXISTS (SELECT 1 FROM photos p WHERE p.photo_id = t.photo_id)"


def stage_keywords(staging: Staging, table: DelimitedTable, notes: list[str]) -> None:
    """Leaves `tags`: photo row, whether by a person, confidence and text of each keyword to take."""

    def batches() -> Iterator[pa.RecordBatch]:
        row = 1
        for batch in table.batches():
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            for name in ("ai_service_1_confidence", "ai_service_2_confidence"):
                columns[name[:12]] = _confidences(table, name, batch.column(name), row)
            columns["text"] = collapsed(batch.column("keyword"))
            columns["by_user"] = pc.is_in(
                batch.column("suggested_by_user"), pa.array(["t", "true", "True", "TRUE", "1"])
            )
            row += batch.num_rows
            yield pa.RecordBatch.from_pydict(columns)

    kept = ["photo_id", "text", "by_user", "ai_service_1", "ai_service_2"]
    staging.load("keywords", batches(), kept, table.columns)
    repeated = staging.reject_repeated("keywords")
    empty = staging.reject("keywords", "t.text IS NULL")
    dangling = staging.reject("keywords", NO_PHOTO)
    searched = staging.reject(
        "keywords", "NOT t.by_user AND coalesce(t.ai_service_1, 0) <= 0 AND coalesce(t.ai_service_2, 0) <= 0"
    )
    staging.execute(
        "CREATE TABLE tags AS SELECT p.row AS photo, t.by_user, t.text, t.row, "
        "greatest(coalesce(t.ai_service_1, 0), coalesce(t.ai_service_2, 0)) AS confidence "
        "FROM keywords t ANTI JOIN keywords_out o ON t.row = o.row "
        "JOIN (SELECT photo_id, min(row) AS row FROM photos GROUP BY photo_id) p ON p.photo_id = t.photo_id"
    )
    notes += [
        f"{count:,} {what} were left out."
        for count, what in [
            (repeated, "keyword rows that stand again, equal in all columns,"),
            (empty, "keyword rows without a keyword"),
            (dangling, "keyword rows of photos that are not there"),
            (searched, "keyword rows that neither a person nor a machine gave (they come from searches)"),
        ]
    ]


def _confidences(table: DelimitedTable, column: str, texts: pa.Array, first_row: int) -> pa.Array:
    def refused(position: int) -> DataError:
        text = texts[position].as_py()
        return DataError(
            f"{table.place(first_row + position)}, column '{column}': {text!r} is not a number; correct it."
        )

    try:
        numbers = texts.cast(pa.float64())
    except pa.ArrowInvalid as error:
        for position, text in enumerate(texts.to_pylist()):
            try:
                pa.scalar(text, pa.string()).cast(pa.float64())
            except pa.ArrowInvalid:
                raise refused(position) from error
        raise
    strange = pc.index(pc.is_finite(numbers), pa.scalar(False)).as_py()
    if strange >= 0:  # NaN would be the surest of all
        raise refused(strange)
    return numbers


class Keywords:
    """The keywords of photos, asked for in ascending order of the photos' rows."""

    def __init__(self, staging: Staging) -> None:
        sql = "SELECT photo, by_user, text FROM tags ORDER BY photo, confidence DESC, row"
        rows = (
            row
            for batch in staging.batches(sql)
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        )
        self._groups = groupby(rows, key=itemgetter(0))
        self._next = next(self._groups, None)

    def of(self, rows: Sequence[int]) -> dict[str, pa.Array]:
        """Columns of the keywords that a person and that a machine gave; the surest first."""
        people: list[list[str]] = []
        machines: list[list[str]] = []
        for row in rows:
            found: list[tuple[int, bool, str]] = []
            if self._next is not None and self._next[0] == row:
                found = list(self._next[1])
                self._next = next(self._groups, None)
            people.append(list(dict.fromkeys(text for _, by_user, text in found if by_user)))
            machines.append(list(dict.fromkeys(text for _, by_user, text in found if not by_user)))
        texts = pa.list_(pa.string())
        return {"user_keywords": pa.array(people, texts), "ai_keywords": pa.array(machines, texts)}
