"""Reading published source files: JSON, plain or compressed, and CSV, with errors that name file and row."""

import csv
import gzip
import json
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omnifeat.data.locations import json_reason
from omnifeat.errors import DataError

__all__ = [
    "NO_TIME",
    "ImportResult",
    "normalised",
    "read_csv_rows",
    "read_json",
    "read_json_records",
    "required_text",
    "source_folder",
]

# Sources without times carry this one, so that the required column is there and nobody takes it for a real time.
NO_TIME = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ImportResult:
    """What an import wrote and what it met on the way.

    Attributes
    ----------
    path
        The dataset folder.
    counts
        Rows per table written.
    notes
        Sentences on what was kept, left out or decided; they stand in `dataset.json` too.
    """

    path: Path
    counts: dict[str, int]
    notes: list[str]


def normalised(text: str) -> str:
    """Text in Unicode form NFKC, lower case, white space collapsed and trimmed: the key of equal strings."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def source_folder(path: str | Path) -> Path:
    """The folder as a path. Raises `DataError` where it is missing or is not a folder."""
    folder = Path(path)
    if not folder.exists():
        raise DataError(f"The source folder {folder} does not exist; give the folder that holds the published files.")
    if not folder.is_dir():
        raise DataError(f"The source {folder} is not a folder; give the folder that holds the published files.")
    return folder


def read_json(path: Path) -> Any:
    """The value in a `.json`, `.json.gz` or `.json.zip` file (a zip holds exactly one `.json` member).

    Raises
    ------
    DataError
        Where the file is missing, cannot be read, is damaged, is not UTF-8 or is not JSON.
    """
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                # archives made on macOS carry resource forks beside the file proper
                members = [
                    name for name in archive.namelist() if name.endswith(".json") and not name.startswith("__MACOSX/")
                ]
                if len(members) != 1:
                    raise DataError(f"{path} must hold exactly one .json file but holds {len(members)}; pack it again.")
                content = archive.read(members[0])
        elif path.suffix == ".gz":
            with gzip.open(path) as stream:
                content = stream.read()
        else:
            content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; check the source folder.") from error
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path} is damaged or not the archive its name says ({error}); fetch it again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); check the file.") from error
    return _parsed(content, path)


def _parsed(content: bytes, path: Path) -> Any:
    try:
        value = json.loads(content.decode("utf-8-sig"))
        if b"\\ud" in content or b"\\uD" in content:
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
        return value
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path} holds half a surrogate pair, {error.object[error.start]!r}; correct the text."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}; save it as UTF-8."
        ) from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is not valid JSON: {json_reason(error)} at line {error.lineno}, column {error.colno}; fetch it "
            "again."
        ) from error
    except ValueError as error:  # Python reads no whole number of more than 4,300 digits
        raise DataError(f"{path} holds a number that is too long; correct it.") from error
    except RecursionError as error:
        raise DataError(f"{path} is nested too deep to be a list of records; check the file.") from error


def read_json_records(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON file that must be a list of objects; see `read_json` for what is raised."""
    value = read_json(path)
    if not isinstance(value, list):
        raise DataError(f"{path} must hold a list of records but holds a JSON {type(value).__name__}; check the file.")
    for row, record in enumerate(value, start=1):
        if not isinstance(record, dict):
            raise DataError(f"{path}, record {row} must be an object but is a {type(record).__name__}; correct it.")
    return value


def read_csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield `(row number, row)` of a UTF-8 CSV file with a header; rows are counted from 1, without the header.

    Raises
    ------
    DataError
        Where the file is missing, not UTF-8 or broken, lacks one of `columns`, or a row has another number of cells.
    """
    row = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            present = list(reader.fieldnames or [])
            for column in columns:
                if column not in present:
                    there = ", ".join(present) or "none"
                    raise DataError(f"{path} has no column '{column}' (it has: {there}); check the file.")
            for row, cells in enumerate(reader, start=1):
                if None in cells or None in cells.values():
                    raise DataError(f"{path}, row {row} has not the {len(present)} cells of the header; correct it.")
                yield row, cells
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; check the source folder.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 after row {row}; save it as UTF-8.") from error
    except csv.Error as error:
        raise DataError(f"{path} is not a valid CSV file after row {row} ({error}); correct it.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); check the file.") from error


def required_text(record: Mapping[str, Any], field: str, where: str) -> str:
    """The text in `field`, trimmed. Raises `DataError` naming `where` if it is missing, empty or not text."""
    value = record.get(field)
    if not isinstance(value, str) or not value.strip():
        found = "is missing" if value is None else f"is {value!r}"
        raise DataError(f"{where}: '{field}' {found} but must be non-empty text; correct the record.")
    return value.strip()
