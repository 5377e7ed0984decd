"""Tensors of an artefact that may come from a stranger: a safetensors file, and what each tensor of it must be."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load

from omnifeat.data.artefacts import read_bytes
from omnifeat.data.locations import one_line
from omnifeat.errors import DataError, OmnifeatError

__all__ = ["read_tensors", "tensor_of"]

_REMEDY = "fetch or make it again"
_LARGEST = 2**36  # bytes; what is read is never more than the file has

Array = npt.NDArray[Any]


def read_tensors(
    path: Path,
    *,
    sha256: str | None = None,
    limit: int = _LARGEST,
    error: type[OmnifeatError] = DataError,
    remedy: str = _REMEDY,
) -> dict[str, Array]:
    """All tensors of a file by name; `sha256` in hex where its content is known.

    Raises
    ------
    error
        There is no such file, it was changed, or it is no safetensors file of types that NumPy has.
    """
    content = read_bytes(path, limit=limit, error=error, remedy=remedy)
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise error(f"File {path} was changed after it was saved; {remedy}.")
    try:
        return load(content)
    except (SafetensorError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as fault:
        raise error(f"File {path} is no safetensors file as it should be ({one_line(fault)}); {remedy}.") from None


def tensor_of(
    tensors: Mapping[str, Array],
    name: str,
    dtype: npt.DTypeLike,
    shape: tuple[int | None, ...],
    *,
    where: Path,
    finite: bool = True,
    error: type[OmnifeatError] = DataError,
    remedy: str = _REMEDY,
) -> Array:
    """A tensor that must have this type and shape (None for any length), and finite numbers.

    Raises
    ------
    error
        There is none of the name, or it is another; the sentence names file and tensor.
    """
    if name not in tensors:
        raise error(f"File {where} has no tensor '{name}'; {remedy}.")
    found = tensors[name]
    fits = len(found.shape) == len(shape) and all(
        want is None or have == want for have, want in zip(found.shape, shape, strict=False)
    )
    if found.dtype != np.dtype(dtype) or not fits:
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise error(
            f"The tensor '{name}' of {where} is {found.dtype} of shape {list(found.shape)}, where {np.dtype(dtype)} of "
            f"[{wanted}] is wanted; {remedy}."
        )
    if finite and np.issubdtype(found.dtype, np.floating) and not np.isfinite(found).all():
        raise error(f"The tensor '{name}' of {where} holds a number that is not finite; {remedy}.")
    return found
