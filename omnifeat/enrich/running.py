"""What the enrichments share when they run: progress, and a temporary folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

from omnifeat.scratch import temporary_folder

__all__ = ["Progress", "silent", "temporary_folder"]

# (description, total or None) -> a context that gives a function to call with the units done since the last call
Progress: TypeAlias = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]


@contextmanager
def silent(description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Progress that is shown nowhere."""
    yield lambda count: None
