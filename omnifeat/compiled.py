"""The numba settings that every compiled loop shares."""

from collections.abc import Callable, Collection
from typing import TypeVar

import numba

__all__ = ["compiled", "compiled_reordering"]

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile in nopython mode without the GIL, keeping the machine code on disk where a place can be written.

    numba looks for that place when a function is decorated and raises `RuntimeError` where there is none (a
    read-only installation without a home folder); the function is then compiled once per process.

    The cache watches only the file that a function stands in, so a compiled function calls compiled functions of
    its own file alone.
    """
    return _compiled(function, ())


def compiled_reordering(function: Function) -> Function:
    """As `compiled`, where sums may be reordered, which is what lets the compiler use vector instructions.

    NaN and infinity keep their meaning.
    """
    return _compiled(function, ("reassoc", "contract", "nsz"))


def _compiled(function: Function, fastmath: Collection[str]) -> Function:
    try:
        kernel: Function = numba.njit(nogil=True, cache=True, fastmath=set(fastmath))(function)
    except RuntimeError:
        kernel = numba.njit(nogil=True, fastmath=set(fastmath))(function)
    return kernel
