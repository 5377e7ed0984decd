"""Folders that belong to a running process: made with a lock, and swept by later runs once their owner is dead.

Whether an owner lives is told by a lock (`flock`) on the folder, which the system lets go of however the process ends.
A process number would lie: containers that share a disk have numbers of their own. Where a file system knows no such
locks, nothing is ever swept.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

try:
    fcntl: Any = importlib.import_module("fcntl")
except ImportError:  # Windows
    fcntl = None

__all__ = ["OwnedFolder", "is_owned", "new_token", "sweep", "try_lock"]

_TOKEN = "[0-9a-f]{16}"
_REFUSED = (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN)
_TRIES = 100

# what this process holds, so that it is known to be no output of its own
_HELD: set[Path] = set()


def new_token() -> str:
    """16 hexadecimal digits that no other process takes."""
    return secrets.token_hex(8)


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file or folder: True if it is ours now, False if another has it, None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in _REFUSED else None
    return True


def stands_at(descriptor: int, path: str | os.PathLike[str]) -> bool:
    """Whether an open file or folder is still what stands at the path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


def is_owned(path: Path) -> bool:
    """Whether a path lies in a folder that this process holds: it goes, or is put in its place, with the folder."""
    return bool(_HELD) and any(parent in _HELD for parent in path.parents)


@dataclass
class OwnedFolder:
    """A folder of this process, `PREFIX` and a token; gone at the end of the `with` block. Make one with `make`.

    Attributes
    ----------
    path
        The folder; absolute.
    """

    path: Path
    _descriptor: int | None

    @classmethod
    def make(cls, parent: Path, prefix: str, *, mode: int = 0o777) -> Self:
        """A new folder, locked.

        Raises
        ------
        OSError
            The system refused to make it.
        """
        for _ in range(_TRIES):
            path = parent.absolute() / f"{prefix}{new_token()}"
            os.mkdir(path, mode)
            descriptor = _open_folder(path)
            # a sweep may have come in between, found no lock and taken it away: before it was opened, or after
            if descriptor is None:
                ours = path.is_dir()
            else:
                ours = try_lock(descriptor) is not False and stands_at(descriptor, path)
            if ours:
                _HELD.add(path)
                return cls(path, descriptor)
            if descriptor is not None:
                os.close(descriptor)
        raise OSError(errno.EBUSY, "is swept again and again", str(parent))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove the folder with what is in it, then let go of it."""
        # what cannot be removed is swept by a later run, and must not hide an error that led here
        shutil.rmtree(self.path, ignore_errors=True)
        _HELD.discard(self.path)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def sweep(parent: Path, prefix: str) -> None:
    """Remove the folders of this prefix and a token whose owners are dead."""
    for path in dead_folders(parent, re.escape(prefix)):
        shutil.rmtree(path, ignore_errors=True)


def dead_folders(parent: Path, pattern: str) -> Iterator[Path]:
    """The folders named by this regular expression and a token whose owners are dead; each is locked meanwhile."""
    whole = re.compile(pattern + _TOKEN, re.DOTALL)
    try:
        names = [entry.name for entry in os.scandir(parent) if whole.fullmatch(entry.name)]
    except OSError:
        return
    for name in names:
        path = parent.absolute() / name
        if path in _HELD:
            continue
        descriptor = _open_folder(path)
        if descriptor is None:
            continue
        try:
            if try_lock(descriptor) and stands_at(descriptor, path):
                yield path
        finally:
            os.close(descriptor)


def _open_folder(path: Path) -> int | None:
    """A descriptor of a folder; None where folders cannot be opened, or where it is a link or somebody else's."""
    if fcntl is None:
        return None
    with contextlib.suppress(OSError):
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    return None
