"""Room for what is too large to keep: matrices and row numbers that go to a temporary folder beyond a memory limit."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from omnifeat.errors import OutputError, SettingError
from omnifeat.owned import OwnedFolder, sweep

__all__ = ["TEMPORARY_PREFIX", "RowNumbers", "Scratch", "parse_bytes", "temporary_folder"]

TEMPORARY_PREFIX = "omnifeat-tmp-"

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_bytes(text: str | int) -> int:
    """A size such as `4GB`, `512MiB` or a plain number of bytes.

    Raises
    ------
    SettingError
        If it is not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", str(text).lower())
    if match is None or match[2] not in _UNITS:
        raise SettingError(f"The memory limit must be a size such as 4GB or 512MiB; got {text!r} instead.")
    return int(float(match[1]) * _UNITS[match[2]])


@contextmanager
def temporary_folder(parent: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """A temporary folder, removed at the end; those of killed runs in the same place are removed at the beginning.

    Parameters
    ----------
    parent
        Where it is made; the system's place for temporary files (`TMPDIR`) if not given.

    Raises
    ------
    OutputError
        It cannot be made.
    """
    try:
        place = Path(parent) if parent is not None else Path(tempfile.gettempdir())
        sweep(place, TEMPORARY_PREFIX)
        folder = OwnedFolder.make(place, TEMPORARY_PREFIX, mode=0o700)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OutputError(f"No temporary folder can be made: {reason}; set TMPDIR to a writable folder.") from error
    with folder:
        yield folder.path


class Scratch:
    """A temporary folder, made when it is first needed and removed at the end, and a budget of memory.

    Parameters
    ----------
    memory_limit : bytes that the matrices may take together; those that would pass it are kept in files and mapped,
        so that the system holds of them what is in use.
    folder : where the temporary folder is made; the system's place for temporary files if not given.
    """

    def __init__(self, memory_limit: int, folder: str | os.PathLike[str] | None = None) -> None:
        self._left = memory_limit
        self._parent = folder
        self._stack = ExitStack()
        self._folder: Path | None = None
        self._files = 0

    def __enter__(self) -> "Scratch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder = None
        self._stack.close()

    def path(self) -> Path:
        """A new path in the temporary folder."""
        if self._folder is None:
            self._folder = self._stack.enter_context(temporary_folder(self._parent))
        self._files += 1
        return self._folder / f"{self._files}.bin"

    def matrix(self, rows: int, width: int) -> Float32:
        """A float32 matrix of zeros, in memory or, past the limit, in a mapped file.

        Raises
        ------
        OutputError
            If the file cannot be made.
        """
        size = rows * width * 4
        if size <= self._left or size == 0:
            self._left -= size
            # Filled from front to back: rows are written in any order later, and a page that is first touched then
            # costs many times as much (5 s for a GiB, against 0.2 s).
            matrix = np.empty((rows, width), dtype=np.float32)
            matrix.fill(0)
            return matrix
        path = self.path()
        try:
            with open(path, "wb") as file:
                # take the room now: a mapped file that grows on a full disk kills the process when it is written to
                os.posix_fallocate(file.fileno(), 0, size) if hasattr(os, "posix_fallocate") else file.truncate(size)
            return np.asarray(np.memmap(path, dtype=np.float32, mode="r+", shape=(rows, width)))
        except OSError as error:
            raise OutputError(
                f"{size / 2**30:.1f} GiB of vectors do not fit in {path.parent}: {error.strerror}; "
                "raise the memory limit or set TMPDIR to a larger disk."
            ) from error

    def row_numbers(self) -> "RowNumbers":
        """A new list of pairs of row numbers."""
        return RowNumbers(self.path())


class RowNumbers:
    """The (query row, entity row) of each pair, int32, written to a file in order and read again in order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, query_rows: Int32, entity_rows: Int32) -> None:
        """Add the row numbers of the next pairs."""
        try:
            with open(self._path, "ab") as file:
                np.stack([query_rows, entity_rows], axis=1).tofile(file)
        except OSError as error:
            raise OutputError(
                f"Row numbers cannot be written to {self._path.parent}: {error}; set TMPDIR to a larger disk."
            ) from error
        self._count += len(query_rows)

    def read(self, start: int, count: int) -> tuple[Int32, Int32]:
        """The row numbers of pairs start..start + count."""
        flat = np.fromfile(self._path, dtype=np.int32, count=2 * count, offset=8 * start)
        both = flat.reshape(-1, 2)
        return np.ascontiguousarray(both[:, 0]), np.ascontiguousarray(both[:, 1])
