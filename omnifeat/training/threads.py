"""One number of threads for everything that training runs on."""

from collections.abc import Iterator
from contextlib import contextmanager

import numba
import torch

__all__ = ["thread_limit"]


@contextmanager
def thread_limit(threads: int | None) -> Iterator[None]:
    """Let torch and numba use `threads` threads meanwhile; None leaves them as they are."""
    if threads is None:
        yield
        return
    before_torch, before_numba = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(threads)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        torch.set_num_threads(before_torch)
        numba.set_num_threads(before_numba)
