"""Where a table lies: a local path or any URL that fsspec or Arrow reads; one file or a folder of parts."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.fs as pafs

from omnifeat.data.schema import did_you_mean
from omnifeat.errors import DataError, MissingDependencyError, SettingError

__all__ = ["SUFFIXES", "FileFormat", "Location", "PathLike", "file_format", "join", "locate", "part_files"]

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class FileFormat:
    """How the bytes of a file are to be read: `kind` is parquet, csv, jsonl or arrow."""

    kind: str
    gzip: bool = False
    delimiter: str = ","


SUFFIXES: dict[str, FileFormat] = {
    ".parquet": FileFormat("parquet"),
    ".csv": FileFormat("csv"),
    ".csv.gz": FileFormat("csv", gzip=True),
    ".tsv": FileFormat("csv", delimiter="\t"),
    ".tsv.gz": FileFormat("csv", gzip=True, delimiter="\t"),
    ".jsonl": FileFormat("jsonl"),
    ".jsonl.gz": FileFormat("jsonl", gzip=True),
    ".ndjson": FileFormat("jsonl"),
    ".ndjson.gz": FileFormat("jsonl", gzip=True),
    ".arrow": FileFormat("arrow"),
    ".feather": FileFormat("arrow"),
}


@dataclass(frozen=True)
class Location:
    """A place on a file system; `name` is what the user wrote and what messages say."""

    filesystem: Any
    path: str
    name: str
    local: bool

    def child(self, name: str) -> Location:
        """A file or folder inside this folder."""
        return Location(self.filesystem, posixpath.join(self.path, name), join(self.name, name), self.local)

    def kind(self) -> pafs.FileType:
        """File, Directory or NotFound."""
        try:
            return self.filesystem.get_file_info(self.path).type
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

    def open_stream(self, gzip: bool = False) -> Any:
        """The file's bytes from the beginning, decompressed."""
        try:
            return self.filesystem.open_input_stream(self.path, compression="gzip" if gzip else None)
        except (OSError, ValueError) as error:
            raise DataError(f"{self.name} cannot be opened: {one_line(error)}") from error


def one_line(error: BaseException | str) -> str:
    """An error's text in one line, without a full stop at its end."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def is_url(path: PathLike) -> bool:
    """Whether a path names a file system other than this machine's."""
    return isinstance(path, str) and "://" in path


def join(folder: PathLike, name: str) -> str:
    """A path inside a folder, local or URL."""
    return f"{str(folder).rstrip('/')}/{name}" if is_url(folder) else os.path.join(folder, name)


def locate(path: PathLike) -> Location:
    """Find the file system of a local path or URL.

    Raises
    ------
    MissingDependencyError
        The URL's scheme needs a library that is not installed.
    SettingError
        No library knows the URL's scheme.
    """
    name = os.fspath(path)
    if not is_url(name):
        return Location(pafs.LocalFileSystem(), os.path.abspath(os.path.expanduser(name)), name, local=True)
    scheme = name.split("://", 1)[0]
    try:
        filesystem, inner = fsspec.core.url_to_fs(name)
    except ImportError as error:
        try:  # Arrow reads s3:// and gs:// by itself
            native, inner = pafs.FileSystem.from_uri(name)
        except (pa.ArrowInvalid, OSError):
            raise MissingDependencyError(f"{name} cannot be read: {one_line(error)}") from error
        return Location(native, inner, name, local=False)
    except ValueError as error:
        raise SettingError(f"{name} cannot be read: no file system is known for {scheme}://") from error
    if scheme in ("file", "local"):
        return Location(pafs.LocalFileSystem(), inner, name, local=True)
    return Location(pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)), inner, name, local=False)


def file_format(name: PathLike) -> FileFormat:
    """The format that a file's suffix stands for.

    Raises
    ------
    DataError
        The suffix is none of `SUFFIXES`.
    """
    lower = os.fspath(name).lower()
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if lower.endswith(suffix):
            return SUFFIXES[suffix]
    raise DataError(
        f"{os.fspath(name)} has a suffix that is not known: give a file that ends in one of {', '.join(SUFFIXES)}"
    )


def table_stem(name: str) -> str | None:
    """A file's name without its table suffix; None where it has none."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return None


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
    if kind == pafs.FileType.File:
        file_format(location.name)
        return [location]
    parts = [location.child(name) for name in location.names() if table_stem(name) is not None]
    if not parts:
        raise DataError(
            f"{location.name} is a folder without a part of a table: "
            f"put files there that end in one of {', '.join(SUFFIXES)}"
        )
    kinds = sorted({file_format(part.name).kind for part in parts})
    if len(kinds) > 1:
        raise DataError(f"{location.name} mixes part files of the formats {', '.join(kinds)}: keep one format")
    return parts


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
