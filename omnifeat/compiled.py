"""The numba settings that every compiled loop shares."""

from collections.abc import Callable
from typing import TypeVar

import numba

__all__ = ["compiled"]

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile in nopython mode without the GIL, keeping the machine code on disk where a place can be written.

    numba looks for that place when a function is decorated and raises `RuntimeError` where there is none (a
    read-only installation without a home folder); the function is then compiled once per process.

    The cache watches only the file that a function stands in, so a compiled function calls compiled functions of
    its own file alone.
    """
    try:
        kernel: Function = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:
        kernel = numba.njit(nogil=True)(function)
    return kernel
