"""One number of threads for everything that training runs on."""

from collections.abc import Iterator
from contextlib import contextmanager

import numba
import torch

__all__ = ["thread_limit"]


@contextmanager
def thread_limit(threads: int | None) -> Iterator[None]:
    """Let torch and numba use `threads` threads meanwhile, both as many as torch does now if None.

    They must agree: numba's parallel loops set the number of OpenMP threads of the whole process, so after one of them
    torch would go on with numba's number, and another number of threads gives other last digits.
    """
    before_torch, before_numba = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(threads or before_torch)
    numba.set_num_threads(min(threads or before_torch, numba.config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        numba.set_num_threads(before_numba)
        torch.set_num_threads(before_torch)
