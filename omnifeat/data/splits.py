"""Which rows are for training, which for development and which for testing, recorded so that it never changes."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from omnifeat.data.schema import TIMESTAMP, missing_column_message
from omnifeat.errors import DataError, SettingError

__all__ = ["GAP", "MOST_GAP_DAYS", "SPLITS", "HashSplit", "Split", "TimeSplit", "split_key", "split_rows"]

SPLITS = ("train", "development", "test")
GAP = "gap"
MOST_GAP_DAYS = 36_500  # what lies before the gap must still be in the calendar
_PARTS = pa.array([*SPLITS, GAP])


def split_key(text: str) -> str:
    """The text as the hash split sees it: texts that differ in case, width or white space alone have one key.

    NFKC, case folding, NFKC again, white space collapsed to one blank and trimmed. Folding is coarser than the lower
    case that training reads, so that no two texts that training takes for one stand on two sides.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    # the Turkish capital I with a dot folds to "i" and a combining dot; simple lower case makes it a plain "i"
    return " ".join(folded.replace("i\u0307", "i").split())


class HashSplit(BaseModel):
    """Split by a stable hash of one column's text alone: equal texts always fall in the same part.

    The first `test` of the range of xxh64 over the UTF-8 bytes of `split_key` (after the salt, if there is one) is the
    test part, the next `development` the development part.

    Attributes
    ----------
    column
        Column whose text is hashed.
    salt
        Another salt gives another split.
    development, test
        Shares of the distinct texts, together below 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["hash"] = "hash"
    column: str = "query"
    salt: str = ""
    development: float = Field(0.1, ge=0, lt=1)
    test: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _leave_a_training_part(self) -> HashSplit:
        if self.development + self.test >= 1:
            raise ValueError("development and test together must be below 1")
        return self

    def part_of(self, text: str) -> str:
        """The part of one text."""
        key = split_key(text)
        salted = f"{self.salt}\x00{key}" if self.salt else key
        share = xxhash.xxh64_intdigest(salted.encode("utf-8")) / 2**64
        if share < self.test:
            return "test"
        return "development" if share < self.test + self.development else "train"

    def assign(self, table: pa.Table | pa.RecordBatch) -> pa.StringArray:
        """The part of each row: "train", "development" or "test".

        Raises
        ------
        DataError
            The column is missing, is not text, or holds a null.
        """
        column = _split_column(table, self.column)
        if not pa.types.is_string(column.type):
            if not pa.types.is_large_string(column.type):
                raise DataError(f"column '{self.column}', which the split hashes, is {column.type}: it must be text")
            column = column.cast(pa.string())
        encoded = column.dictionary_encode()
        parts = pa.array([self.part_of(text) for text in encoded.dictionary.to_pylist()], pa.string())
        return parts.take(encoded.indices)


class TimeSplit(BaseModel):
    """Split by time: training, a gap, development, a gap, testing.

    A row is for testing from `test_from` on, for development from `development_from` until `gap_days` before
    `test_from`, and for training until `gap_days` before `development_from`. Rows within a gap are in no part.

    Attributes
    ----------
    column
        Column of times.
    development_from, test_from
        First moments of the two parts; UTC where no zone is given.
    gap_days
        Length of each gap in days, at most a hundred years.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["time"] = "time"
    column: str = "timestamp"
    development_from: datetime
    test_from: datetime
    gap_days: float = Field(0, ge=0, le=MOST_GAP_DAYS, allow_inf_nan=False)

    @field_validator("development_from", "test_from")
    @classmethod
    def _in_utc(cls, moment: datetime) -> datetime:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

    @model_validator(mode="after")
    def _in_order(self) -> TimeSplit:
        if self.test_from < self.development_from:
            raise ValueError("test_from must not lie before development_from")
        return self

    def starts(self) -> list[tuple[int, str]]:
        """(microseconds since 1970, part): a row is in the part of the first moment that it doesn't lie before.

        A row before all of them is for training.
        """
        gap = round(self.gap_days * 86_400_000_000)
        development, test = _microseconds(self.development_from), _microseconds(self.test_from)
        return [(test, "test"), (test - gap, GAP), (development, "development"), (development - gap, GAP)]

    def assign(self, table: pa.Table | pa.RecordBatch) -> pa.StringArray:
        """The part of each row: "train", "development", "test", or "gap" for rows in no part.

        Raises
        ------
        DataError
            The column is missing, does not hold times, or holds a null.
        """
        column = _split_column(table, self.column)
        if not pa.types.is_timestamp(column.type):
            raise DataError(f"column '{self.column}', which the split reads, is {column.type}: it must hold times")
        moments = column.cast(TIMESTAMP, safe=False).cast(pa.int64()).to_numpy()
        starts, names = zip(*self.starts(), strict=True)
        codes = [_PARTS.index(name).as_py() for name in names]
        parts = np.select([moments >= start for start in starts], codes, default=SPLITS.index("train"))
        return _PARTS.take(pa.array(parts))


Split = Annotated[HashSplit | TimeSplit, Field(discriminator="method")]


def split_rows(table: pa.Table, split: HashSplit | TimeSplit, part: str) -> pa.Table:
    """The rows of one part, in their order.

    Raises
    ------
    SettingError
        `part` is none of `SPLITS`.
    DataError
        The split's column is missing or not what it must be.
    """
    if part not in SPLITS:
        raise SettingError(f"the part of a split must be one of {', '.join(SPLITS)}, not '{part}'")
    return table.filter(pc.equal(split.assign(table), part))


def _split_column(table: pa.Table | pa.RecordBatch, name: str) -> Any:
    if name not in table.schema.names:
        raise DataError(missing_column_message("the table to split", [name], table.schema.names))
    column = table.column(name)
    if isinstance(column, pa.ChunkedArray):
        # one array, of the column's type even where there is no chunk
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if column.null_count:
        row = pc.index(pc.is_null(column), pa.scalar(True)).as_py() + 1
        raise DataError(f"row {row} has no {name}, by which the rows are split: fill it or leave the row out")
    return column


def _microseconds(moment: datetime) -> int:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    difference = moment - epoch
    return (difference.days * 86_400 + difference.seconds) * 1_000_000 + difference.microseconds
