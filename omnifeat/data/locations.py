"""Where a table lies: a local path or any URL that fsspec or Arrow reads; one file or a folder of parts."""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fsspec
import pyarrow as pa
import pyarrow.fs as pafs

from omnifeat.data.publishing import mend
from omnifeat.data.schema import did_you_mean
from omnifeat.errors import DataError, MissingDependencyError, SettingError

__all__ = [
    "SUFFIXES",
    "FileFormat",
    "Location",
    "PathLike",
    "file_format",
    "join",
    "locate",
    "output_format",
    "part_files",
]

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class FileFormat:
    """How the bytes of a file are to be read.

    Attributes
    ----------
    kind
        parquet, csv, jsonl or arrow.
    compression
        gzip, zstd or None.
    delimiter
        What stands between the cells of a csv file.
    quoted
        Whether cells are quoted as in CSV, whatever the delimiter.
    written
        Whether `TableWriter` writes it; what other tools write is read alone.
    """

    kind: str
    compression: str | None = None
    delimiter: str = ","
    quoted: bool = True
    written: bool = True

    @property
    def gzip(self) -> bool:
        """Whether the bytes are compressed by gzip."""
        return self.compression == "gzip"


def _formats() -> dict[str, FileFormat]:
    plain = {
        ".csv": FileFormat("csv"),
        ".tsv": FileFormat("csv", delimiter="\t", quoted=False),
        ".jsonl": FileFormat("jsonl"),
        ".ndjson": FileFormat("jsonl"),
        ".json": FileFormat("jsonl", written=False),
    }
    formats = {".parquet": FileFormat("parquet")}
    for suffix, file_format in plain.items():
        formats[suffix] = file_format
        formats[f"{suffix}.gz"] = replace(file_format, compression="gzip")
        formats[f"{suffix}.zst"] = replace(file_format, compression="zstd", written=False)
    return formats | {".arrow": FileFormat("arrow"), ".feather": FileFormat("arrow")}


SUFFIXES: dict[str, FileFormat] = _formats()
WRITTEN = [suffix for suffix, file_format in SUFFIXES.items() if file_format.written]


@dataclass(frozen=True)
class Location:
    """A place on a file system; `name` is what the user wrote and what messages say.

    `partition` holds the columns that the names of folders give: in `log/dt=2024-03-01/part-0.parquet`, `dt`.
    """

    filesystem: Any
    path: str
    name: str
    local: bool
    partition: tuple[tuple[str, str | None], ...] = ()

    def child(self, name: str) -> Location:
        """A file or folder inside this folder."""
        path = posixpath.join(self.path, name)
        return Location(self.filesystem, path, join(self.name, name), self.local, self.partition)

    def kind(self) -> pafs.FileType:
        """File, Directory or NotFound."""
        try:
            found = self.filesystem.get_file_info(self.path).type
            if found == pafs.FileType.NotFound and self.local and mend(Path(self.path)):
                found = self.filesystem.get_file_info(self.path).type
            return found
        except (OSError, ValueError) as error:
            raise DataError(f"{self.name} cannot be reached: {one_line(error)}") from error

    def size(self) -> int:
        """Bytes of this file.

        Raises
        ------
        DataError
            The file cannot be reached.
        """
        try:
            return int(self.filesystem.get_file_info(self.path).size)
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"{self.name} cannot be reached: {one_line(error)}") from error

    def names(self) -> list[str]:
        """Names in this folder, sorted, without those that begin with `.` or `_`; nothing if there is no folder."""
        selector = pafs.FileSelector(self.path, allow_not_found=True)
        try:
            infos = self.filesystem.get_file_info(selector)
        except (OSError, ValueError) as error:
            raise DataError(f"{self.name} cannot be listed: {one_line(error)}") from error
        names = (posixpath.basename(info.path.rstrip("/")) for info in infos)
        return sorted(name for name in names if name and not name.startswith((".", "_")))

    def open(self) -> Any:
        """The file, for reading at any position."""
        try:
            return self.filesystem.open_input_file(self.path)
        except (OSError, ValueError) as error:
            raise DataError(f"{self.name} cannot be opened: {one_line(error)}") from error

    def open_stream(self, compression: str | None = None) -> Any:
        """The file's bytes from the beginning, decompressed."""
        try:
            return self.filesystem.open_input_stream(self.path, compression=compression)
        except (OSError, ValueError) as error:
            raise DataError(f"{self.name} cannot be opened: {one_line(error)}") from error


def one_line(error: BaseException | str) -> str:
    """An error's text in one line, without a full stop at its end and without what steers a terminal."""
    text = "".join(character if character.isprintable() else "?" for character in " ".join(str(error).split()))
    return text.rstrip(".") or type(error).__name__


def json_reason(error: json.JSONDecodeError) -> str:
    """What is wrong with a JSON text, without the word that leads to its place."""
    return error.msg.removesuffix(" at").removesuffix(" starting")


_MAGIC = {
    b"\x1f\x8b": "gzip data: let its name end in .gz",
    b"\x28\xb5\x2f\xfd": "zstd data: let its name end in .zst",
    b"PAR1": "Parquet: let its name end in .parquet",
    b"ARROW1": "Arrow: let its name end in .arrow",
    b"PK\x03\x04": "a ZIP archive, as spreadsheets are: take the table out of it as .csv",
    b"BZh": "bzip2 data: decompress it",
}


def refuse_other_bytes(name: str, first: bytes) -> None:
    """Refuse a text file whose first bytes are those of another format. Raises `DataError`."""
    for magic, said in _MAGIC.items():
        if first.startswith(magic):
            raise DataError(f"{name} holds {said}")


def is_url(path: PathLike) -> bool:
    """Whether a path names a file system other than this machine's."""
    return isinstance(path, str) and "://" in path


def join(folder: PathLike, name: str) -> str:
    """A path inside a folder, local or URL."""
    return f"{str(folder).rstrip('/')}/{name}" if is_url(folder) else os.path.join(folder, name)


_RETRY_LIMIT = "?retry_limit_seconds=15"  # without a network Arrow would ask Google for a quarter of an hour


def locate(path: PathLike) -> Location:
    """Find the file system of a local path or URL.

    Raises
    ------
    MissingDependencyError
        The URL's scheme needs a library that is not installed.
    SettingError
        No library knows the URL's scheme, or the path is empty or holds a NUL.
    """
    name = os.fspath(path)
    if not name.strip():
        raise SettingError("a path is empty: name a file or a folder")
    if "\0" in name:
        raise SettingError(f"the path {name!r} holds a NUL character, which no file's name has: correct it")
    if not is_url(name):
        return Location(pafs.LocalFileSystem(), os.path.abspath(os.path.expanduser(name)), name, local=True)
    scheme = name.split("://", 1)[0]
    try:
        filesystem, inner = fsspec.core.url_to_fs(name)
    except ImportError as error:
        try:  # Arrow reads s3:// and gs:// by itself
            limit = _RETRY_LIMIT if scheme in ("gs", "gcs") and "?" not in name else ""
            native, inner = pafs.FileSystem.from_uri(name + limit)
        except (pa.ArrowInvalid, OSError):
            raise MissingDependencyError(
                f"{name} cannot be reached: {one_line(error)}; install that, or use a file on this machine"
            ) from error
        return Location(native, inner, name, local=False)
    except ValueError as error:
        raise SettingError(
            f"{name} cannot be reached: no file system is known for {scheme}://; use a file on this machine"
        ) from error
    if scheme in ("file", "local"):
        return Location(pafs.LocalFileSystem(), inner, name, local=True)
    return Location(pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)), inner, name, local=False)


def file_format(name: PathLike) -> FileFormat:
    """The format in which a file is read, by its suffix.

    Raises
    ------
    DataError
        The suffix is none of `SUFFIXES`.
    """
    suffix = _suffix(os.fspath(name))
    if suffix is None:
        raise DataError(
            f"{os.fspath(name)} has a suffix that is not known: give a file that ends in one of {', '.join(SUFFIXES)}"
        )
    return SUFFIXES[suffix]


def output_format(name: PathLike) -> FileFormat:
    """The format in which a file is written, by its suffix.

    Raises
    ------
    DataError
        Files of the suffix are not written.
    SettingError
        The name is empty.
    """
    if not os.fspath(name).strip():
        raise SettingError("the output has no name: name a file to write")
    suffix = _suffix(os.fspath(name))
    if suffix is None or not SUFFIXES[suffix].written:
        why = (
            "has a suffix that is not known" if suffix is None else f"would be {suffix}, which is read but not written"
        )
        raise DataError(f"{os.fspath(name)} {why}: give a file that ends in one of {', '.join(WRITTEN)}")
    return SUFFIXES[suffix]


def _suffix(name: str) -> str | None:
    lower = name.lower()
    return next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if lower.endswith(suffix)), None)


def table_stem(name: str) -> str | None:
    """A file's name without its table suffix; None where it has none.

    `.json` is none here: beside tables lie settings and reports (`dataset.json`).
    """
    suffix = _suffix(name)
    if suffix is None or suffix.split(".")[1] == "json":
        return None
    return name[: -len(suffix)]


def part_files(path: PathLike | Location) -> list[Location]:
    """The files of a table: the file itself, or the part files of a folder in the order of their names.

    Raises
    ------
    DataError
        Nothing is there (near names are suggested), the folder holds no part, or its parts have several formats.
    """
    location = path if isinstance(path, Location) else locate(path)
    kind = location.kind()
    if kind == pafs.FileType.NotFound:
        parent = Location(location.filesystem, posixpath.dirname(location.path), location.name, location.local)
        hint = did_you_mean(posixpath.basename(location.path), parent.names())
        raise DataError(f"{location.name} does not exist{hint or ': check the path'}")
    if kind == pafs.FileType.Unknown:
        raise DataError(f"{location.name} is a pipe or a device, which cannot be read twice: write it to a file first")
    if kind == pafs.FileType.File:
        file_format(location.name)
        return [location]
    parts = list(_parts_in(location, location.names()))
    if not parts:
        raise DataError(
            f"{location.name} is a folder without a part of a table: "
            f"put files there that end in one of {', '.join(SUFFIXES)}"
        )
    kinds = sorted({file_format(part.name).kind for part in parts})
    if len(kinds) > 1:
        raise DataError(f"{location.name} mixes part files of the formats {', '.join(kinds)}: keep one format")
    return parts


def _parts_in(folder: Location, names: list[str]) -> Iterator[Location]:
    """Part files of a folder and of its partition folders (`dt=2024-03-01`), in the order of names."""
    partitions = [name for name in names if "=" in name and folder.child(name).kind() == pafs.FileType.Directory]
    files = [name for name in names if name not in partitions and _suffix(name) is not None]
    # Spark writes JSON lines as `part-00000-....json`; other `.json` lie beside tables
    tables = [name for name in files if table_stem(name) is not None or name.startswith("part-")] or files
    unread = next((name for name in names if name.startswith("part-") and _suffix(name) is None), None)
    if unread is not None and folder.child(unread).kind() == pafs.FileType.File:
        raise DataError(
            f"{folder.child(unread).name} looks like a part of the table, but its suffix is not known: let it end in "
            f"one of {', '.join(SUFFIXES)}, or move it away"
        )
    if partitions and tables:
        raise DataError(
            f"{folder.name} holds part files ({tables[0]}) beside folders of a partition ({partitions[0]}): "
            "keep one form"
        )
    for name in sorted(tables):
        yield folder.child(name)
    for name in partitions:
        key, _, text = name.partition("=")
        value = None if text == "__HIVE_DEFAULT_PARTITION__" else unquote(text)
        inner = replace(folder.child(name), partition=(*folder.partition, (unquote(key), value)))
        yield from _parts_in(inner, inner.names())


def local_path(path: PathLike) -> Path:
    """A path on this machine, for what can only be written here.

    Raises
    ------
    SettingError
        The path is a URL of another file system.
    """
    location = locate(path)
    if not location.local:
        raise SettingError(f"{location.name} is not on this machine: write to a local folder and copy it there")
    return Path(location.path)
