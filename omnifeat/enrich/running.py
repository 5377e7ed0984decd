"""What the enrichments share when they run: progress, and a temporary folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

from omnifeat.errors import OutputError

__all__ = ["Progress", "silent", "temporary_folder"]

# (description, total or None) -> a context that gives a function to call with the units done since the last call
Progress: TypeAlias = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]


@contextmanager
def silent(description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Progress that is shown nowhere."""
    yield lambda count: None


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A temporary folder, removed at the end. Raises `OutputError` where none can be made."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="omnifeat-")
    except OSError as error:
        raise OutputError(f"No temporary folder can be made: {error}; set TMPDIR to a writable folder.") from error
    with folder as name:
        yield Path(name)
