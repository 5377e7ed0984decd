"""A graph file of faiss, checked before faiss reads it.

Faiss follows a neighbour's number wherever it leads and allocates what the sizes say. The layout of a graph of whole
vectors under inner products (all little-endian; a list is its length, int64, and its values):

| part | holds |
|---|---|
| head | `IHNf`, width int32, entities int64, two numbers that mean nothing, trained uint8, metric int32 (0) |
| layers | lists: probability of each float64, places up to each int32, layers of each entity int32 |
| links | lists: where each entity's places begin int64, neighbours int32 (-1: none) |
| entry | entity int32, layer int32, three settings of a search int32 |
| vectors | `IxFI`, a head as above, and a list of float32 |
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from omnifeat.data.artefacts import regular_file
from omnifeat.errors import DataError

__all__ = ["check_graph_file"]

_REMEDY = "build the index again"
_HEAD = struct.Struct("<4siqqqBi")
_ENTRY = struct.Struct("<5i")
_COUNT = struct.Struct("<q")
_MOST_LAYERS = 64  # each holds a fraction of the one below


class _FileError(ValueError):
    """What is wrong with a file, without its name."""


def check_graph_file(file: Path, *, entities: int, dim: int) -> None:
    """Check that a file is a whole graph of so many entities and that every link of it leads to an entity of its layer.

    Raises
    ------
    DataError
        It is something else, or its sizes, links or vectors do not fit.
    """
    size = regular_file(file, remedy=_REMEDY)
    try:
        if size == 0:
            raise _FileError("it is empty")
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            _check(_Cursor(content), entities, dim)
    except (_FileError, struct.error, OSError) as error:
        reason = "it ends too early" if isinstance(error, struct.error) else error
        raise DataError(f"File {file} is no graph that faiss wrote for this index ({reason}); {_REMEDY}.") from None


@dataclass
class _Cursor:
    """A place in the file's bytes, which moves on as parts are read."""

    content: mmap.mmap
    at: int = 0

    def take(self, form: struct.Struct) -> tuple[Any, ...]:
        found = form.unpack_from(self.content, self.at)
        self.at += form.size
        return found

    def values(self, dtype: str, what: str, count: int | None = None) -> npt.NDArray[Any]:
        """A list, which must have `count` values where it is given."""
        (length,) = self.take(_COUNT)
        kind = np.dtype(dtype)
        if length < 0 or length * kind.itemsize > len(self.content) - self.at or count not in (None, length):
            wanted = "" if count is None else f", where {count} are wanted"
            raise _FileError(f"its {what} are {length}{wanted}")
        # copied, so that nothing holds on to the map
        found = np.frombuffer(self.content[self.at : self.at + length * kind.itemsize], kind)
        self.at += length * kind.itemsize
        return found


def _check(cursor: _Cursor, entities: int, dim: int) -> None:
    _head(cursor, b"IHNf", entities, dim)
    shares = cursor.values("<f8", "probabilities of layers")
    upto = cursor.values("<i4", "places of layers", len(shares) + 1)
    if not 0 < len(shares) <= _MOST_LAYERS or not np.isfinite(shares).all():
        raise _FileError(f"its layers are {len(shares)}")
    if upto[0] != 0 or (np.diff(upto.astype(np.int64)) < 1).any():
        raise _FileError("its places of layers do not rise")
    layers = cursor.values("<i4", "layers of entities", entities)
    if layers.min() < 1 or layers.max() > len(shares):
        raise _FileError("an entity is on a layer that there is none of")
    starts = cursor.values("<i8", "places of entities", entities + 1)
    if starts[0] != 0 or (np.diff(starts) != upto[layers]).any():
        raise _FileError("the places of an entity are not those of its layers")
    neighbours = cursor.values("<i4", "links", int(starts[-1]))
    if len(neighbours) and not -1 <= neighbours.min() <= neighbours.max() < entities:
        raise _FileError("a link leads to no entity")
    for layer in range(1, int(layers.max())):
        there = np.flatnonzero(layers > layer)
        places = starts[there][:, None] + np.arange(upto[layer], upto[layer + 1])
        linked = neighbours[places]
        if (layers[linked[linked >= 0]] <= layer).any():
            raise _FileError(f"a link of layer {layer} leads to an entity that is not on it")
    entry, top, building, searching, _ = cursor.take(_ENTRY)
    if not 0 <= entry < entities or top != layers.max() - 1 or layers[entry] != top + 1:
        raise _FileError("its entry is not on the highest layer")
    if building < 1 or searching < 1:
        raise _FileError("a setting of its searches is not above 0")
    _head(cursor, b"IxFI", entities, dim)
    cursor.values("<f4", "numbers of vectors", entities * dim)
    if cursor.at != len(cursor.content):
        raise _FileError(f"{len(cursor.content) - cursor.at} bytes follow its end")


def _head(cursor: _Cursor, kind: bytes, entities: int, dim: int) -> None:
    found, width, count, _, _, trained, metric = cursor.take(_HEAD)
    if found != kind or trained != 1 or metric != 0:
        raise _FileError(f"a part of it is {found!r} of metric {metric}, not {kind!r} of metric 0")
    if (count, width) != (entities, dim):
        raise _FileError(f"it is of {count} entities of width {width}, where {entities} of {dim} are wanted")
