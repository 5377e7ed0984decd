"""What a column was made from, recorded in the table's own metadata, so that it goes wherever the file goes.

A file of vectors does not show which saves it was built from. `omnifeat enrich` writes it down, and
`omnifeat validate --leaks` compares it with the split of whatever dataset the file then lies in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from omnifeat.data.artefacts import checked, parse_json
from omnifeat.data.dataset import Dataset

__all__ = ["Provenance", "provenance_in", "provenance_of", "with_provenance"]

_KEY = b"omnifeat.provenance"
_REMEDY = "write the table again"


class Provenance(BaseModel):
    """What one column was made from.

    Attributes
    ----------
    made_by
        The command or program.
    reads
        Tables whose rows went in.
    last
        Time (UTC) of the newest row that went in; None where none of them bears a time.
    undated
        Number of rows that went in without a time.
    settings
        What else says how the column was made: the model, the seed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    made_by: str = Field(min_length=1)
    reads: tuple[str, ...] = ()
    last: AwareDatetime | None = None
    undated: int = Field(default=0, ge=0)
    settings: dict[str, str | int | float | None] = Field(default_factory=dict)

    def known_by(self, moment: datetime) -> bool:
        """Whether everything that went in bears a time before `moment`."""
        return self.undated == 0 and (self.last is None or self.last < moment)


def with_provenance(schema: pa.Schema, provenance: Mapping[str, Provenance]) -> pa.Schema:
    """The schema with the provenance of these columns recorded in its metadata; that of other columns stays.

    Raises
    ------
    DataError
        What stands there already is no provenance.
    """
    metadata: dict[bytes, bytes] = dict(schema.metadata or {})
    recorded: dict[str, Any] = {name: item.model_dump(mode="json") for name, item in provenance_in(schema).items()}
    recorded |= {column: item.model_dump(mode="json") for column, item in provenance.items()}
    metadata[_KEY] = json.dumps(recorded, sort_keys=True).encode()
    return schema.with_metadata(metadata)


def provenance_in(schema: pa.Schema, name: str = "a table") -> dict[str, Provenance]:
    """Column -> the provenance that a schema's metadata records; `name` is the file's.

    Raises
    ------
    DataError
        What stands there is no provenance.
    """
    recorded = (schema.metadata or {}).get(_KEY)
    if recorded is None:
        return {}
    where = f"{name}, metadata {_KEY.decode()}"
    return checked(
        dict[str, Provenance], parse_json(recorded, where=where, remedy=_REMEDY), where=where, remedy=_REMEDY
    )


def provenance_of(dataset: Dataset, table: str) -> list[tuple[str, str, Provenance]]:
    """(file, column, provenance) of each file of a table that records one; formats but Parquet and Arrow record none.

    Raises
    ------
    DataError
        What stands in the metadata is no provenance, or the table cannot be read.
    """
    found = []
    for part in dataset.parts(table):
        items = provenance_in(part.schema([]), part.location.name)
        found += [(part.location.name, name, item) for name, item in items.items()]
    return found
