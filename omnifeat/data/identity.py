"""Whether data are the same as before: told by what stands in their files, never by names, sizes, counts or times.

XXH3 of 128 bits goes over a file about as quickly as it is read, so that nothing is remembered that could be wrong.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import xxhash

from omnifeat.data.locations import Location, PathLike, locate, one_line
from omnifeat.errors import DataError

if TYPE_CHECKING:
    from omnifeat.data.dataset import Dataset

__all__ = ["content_of_dataset", "content_of_file", "content_of_path", "rows_shared"]

_CHUNK = 1 << 22


def content_of_file(location: Location) -> str:
    """The content of a file: XXH3 of 128 bits over its bytes, as 32 hexadecimal digits.

    Raises
    ------
    DataError
        The file cannot be read.
    """
    digest = xxhash.xxh3_128()
    try:
        with location.open_stream() as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise DataError(f"{location.name} cannot be read: {one_line(error.strerror or error)}") from error
    return digest.hexdigest()


def content_of_path(path: PathLike) -> str:
    """The content of a file, or of a folder: of all files in it and below, each under its name in the folder.

    The name of the file or folder itself is not part of it: data that were moved are the same data.

    Raises
    ------
    DataError
        A file cannot be read.
    """
    location = locate(path)
    if location.kind() != pafs.FileType.Directory:
        return content_of_file(location)
    return _of_all(_below(location, ""))


def content_of_dataset(dataset: Dataset) -> str:
    """The content of a dataset: what `dataset.json` says, and the files of its tables under their names.

    Raises
    ------
    DataError
        A file cannot be read.
    """
    files = (
        (f"{table}/{posixpath.basename(part.location.path)}", part.location)
        for table in dataset.tables()
        for part in dataset.parts(table)
    )
    return xxhash.xxh3_128_hexdigest(f"{dataset.info.model_dump_json()}\n{_of_all(files)}".encode())


def rows_shared(rows: pa.Table, others: pa.Table) -> int:
    """How many rows of a table stand in another one too, by the values of the columns of the first.

    Numbers are compared as float32 and all else as text, so that a table and its copy in another format are the same.

    Parameters
    ----------
    rows
        n rows.
    others
        Has the same columns, in any order.
    """
    return int(np.isin(_row_hashes(rows), _row_hashes(others.select(rows.column_names))).sum())


def _row_hashes(table: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """A number for each row, uint64 (n,), the same for rows of the same values."""
    columns = {}
    for place, column in enumerate(table.columns):
        kind = column.type
        numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        if numeric or pa.types.is_boolean(kind) or pa.types.is_null(kind):
            plain = pc.cast(pc.cast(column, pa.float64(), safe=False), pa.float32(), safe=False)
            columns[place] = plain.to_numpy()
        else:
            columns[place] = np.array([str(value) for value in column.to_pylist()], dtype=object)
    return np.asarray(pd.util.hash_pandas_object(pd.DataFrame(columns), index=False), dtype=np.uint64)


def _of_all(files: Iterator[tuple[str, Location]]) -> str:
    lines = sorted(f"{name}\0{content_of_file(location)}" for name, location in files)
    return xxhash.xxh3_128_hexdigest("\n".join(lines).encode("utf-8", "surrogateescape"))


def _below(folder: Location, name: str) -> Iterator[tuple[str, Location]]:
    for own in folder.names():
        place = folder.child(own)
        if place.kind() == pafs.FileType.Directory:
            yield from _below(place, posixpath.join(name, own))
        else:
            yield posixpath.join(name, own), place
