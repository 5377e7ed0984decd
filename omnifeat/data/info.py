"""What `dataset.json` says of a dataset folder."""

from __future__ import annotations

from typing import Literal

import pyarrow.fs as pafs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from omnifeat.data.artefacts import parse_json
from omnifeat.data.locations import Location, one_line
from omnifeat.data.splits import Split
from omnifeat.errors import DataError

__all__ = ["INFO_FILE", "DatasetInfo", "read_info"]

INFO_FILE = "dataset.json"
FORMAT_VERSION: Literal[1] = 1


class DatasetInfo(BaseModel):
    """What `dataset.json` says.

    Attributes
    ----------
    format_version
        Version of the folder's layout.
    name, source, licence
        What the data is called, where it comes from, under which terms.
    created_by
        The command or program that made the folder.
    seed
        Seed of whatever was drawn at random.
    split
        How rows are split into train, development and test.
    notes
        Sentences that a reader of the data should know.
    counts
        Rows of each table, as written by `DatasetWriter`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = FORMAT_VERSION
    name: str = Field(min_length=1)
    source: str = ""
    licence: str = ""
    created_by: str = ""
    seed: int | None = None
    split: Split | None = None
    notes: list[str] = Field(default_factory=list)
    counts: dict[str, int] = Field(default_factory=dict)


def read_info(location: Location) -> DatasetInfo:
    """Read and check `dataset.json`. Raises `DataError` if it is missing or wrong."""
    name = location.name
    if location.kind() != pafs.FileType.File:
        raise DataError(f"{name} does not exist: give a dataset folder, which `omnifeat import` and `simulate` make")
    try:
        with location.open() as file:
            text = file.read()
    except OSError as error:
        raise DataError(f"{name} cannot be read ({one_line(error)}): correct it") from error
    content = parse_json(text, where=name, remedy="correct it")
    if not isinstance(content, dict):
        raise DataError(f"{name} must hold a JSON object, not {type(content).__name__}: correct it")
    version = content.get("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        raise DataError(f"{name} has format_version {version!r}, but this omnifeat reads {FORMAT_VERSION}: update it")
    try:
        return DatasetInfo.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "its content"
        raise DataError(f"{name}: {where} is wrong ({one_line(first['msg'])}): correct it") from error
