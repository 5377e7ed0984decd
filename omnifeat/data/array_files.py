"""Arrays of an artefact that may come from a stranger: `.npy` and `.npz`, whose headers are not evaluated."""

import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from omnifeat.data.artefacts import read_bytes, regular_file
from omnifeat.data.locations import one_line
from omnifeat.errors import DataError

__all__ = ["read_array", "read_arrays"]

_REMEDY = "fetch or make it again"
_LARGEST = 2**36  # bytes
_HEAD = re.compile(
    rb"\x93NUMPY\x01\x00(..)\{'descr': '([<|=][bifuU][0-9]{1,4})', 'fortran_order': False, "
    rb"'shape': \(((?:[0-9]{1,18}, ?)*[0-9]{0,18})\), \} *\n",
    re.DOTALL,
)

Array = npt.NDArray[Any]


class _ArrayError(ValueError):
    """What is wrong with an array's bytes, without the file's name."""


def read_array(path: Path, *, remedy: str = _REMEDY) -> Array:
    """The array of a `.npy` file of numbers or text, as `numpy.save` writes it.

    Raises
    ------
    DataError
        There is no such file, or its header and its bytes do not fit.
    """
    try:
        return _array(read_bytes(path, limit=_LARGEST, remedy=remedy))
    except _ArrayError as error:
        raise DataError(f"File {path} is no array that NumPy wrote ({error}); {remedy}.") from None


def read_arrays(path: Path, *, limit: int, remedy: str = _REMEDY) -> dict[str, Array]:
    """The arrays of a `.npz` file by name, of at most `limit` bytes in all once they are unpacked.

    Raises
    ------
    DataError
        There is no such file, it is none, or it has more.
    """
    regular_file(path, remedy=remedy)
    found: dict[str, Array] = {}
    left = limit
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as member:
                    content = member.read(left + 1)
                left -= len(content)
                if left < 0:
                    raise _ArrayError(f"it has more than {limit} bytes")
                found[name.removesuffix(".npy")] = _array(content)
    except (
        _ArrayError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        raise DataError(f"File {path} holds no arrays that NumPy wrote ({one_line(error)}); {remedy}.") from None
    return found


def _array(content: bytes) -> Array:
    head = _HEAD.match(content)
    if head is None or int.from_bytes(head[1], "little") != head.end() - 10:
        raise _ArrayError("its header is another")
    kind = np.dtype(head[2].decode())
    shape = tuple(int(length) for length in head[3].decode().replace(" ", "").split(",") if length)
    if kind.itemsize == 0 or math.prod(shape) * kind.itemsize != len(content) - head.end():
        raise _ArrayError(f"its header says {kind} of {list(shape)}, and {len(content) - head.end()} bytes follow")
    return np.frombuffer(content, kind, offset=head.end()).reshape(shape)
