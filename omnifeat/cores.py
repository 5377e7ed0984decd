"""How many threads to use."""

import os

from omnifeat.errors import SettingError

__all__ = ["thread_count"]


def thread_count(threads: int | None = None) -> int:
    """The number of threads to use: the given one, or the cores this process may run on.

    Raises
    ------
    SettingError
        If `threads` is below 1.
    """
    if threads is None:
        available = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
        return max(1, len(available))
    if threads < 1:
        raise SettingError(f"The 'threads' setting must be 1 or more. Got {threads} instead.")
    return threads
