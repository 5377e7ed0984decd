"""A `.bin` file of fastText, checked before the library reads it.

The library takes every number of the file on trust: it allocates what the sizes say and divides by what it finds. The
layout (version 12, not quantised; all little-endian):

| part | holds |
|---|---|
| head | magic and version, int32 each |
| settings | 12 int32 (see `_SETTINGS`) and a float64 |
| sizes | entries, words and labels int32; tokens and the size of the pruned index int64 |
| entries | of each its text, a null, its count int64 and its kind uint8; words first |
| input | a byte 0, rows and columns int64, float32 values |
| output | the same |
"""

import math
import mmap
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from omnifeat.data.artefacts import regular_file
from omnifeat.errors import DataError

__all__ = ["check_fasttext_file"]

_HEAD = struct.Struct("<2i")
_MAGIC, _VERSION = 793712314, 12
_SETTINGS = struct.Struct("<12id")
_SIZES = struct.Struct("<3i2q")
_ENTRY = struct.Struct("<qB")
_MATRIX = struct.Struct("<B2q")
_SUPERVISED = 3
_LOSSES = {"hierarchical-softmax": 1, "softmax": 3, "one-vs-all": 4}
_REMEDY = "train the classifier again"
_MOST_COUNTED = 10**15  # the library marks a place of its tree that is not filled by this count
_MOST_NGRAMS = 5 * 10**8  # character n-grams of all words, which the library keeps as numbers of four bytes
_LONGEST_WORD = 100_000  # bytes; nobody types a longer one, and its n-grams grow with the square
_BLOCK = 1 << 22  # values looked at together


class _FileError(ValueError):
    """What is wrong with a file, without its name."""


class _Settings(NamedTuple):
    dim: int
    window: int
    epochs: int
    least_count: int
    negatives: int
    word_ngrams: int
    loss: int
    model: int
    buckets: int
    shortest: int
    longest: int
    update_rate: int
    sampling: float


def check_fasttext_file(file: Path, *, classes: int, loss: str, label: str) -> None:
    """Check that a file is a whole supervised model of so many classes, numbered behind `label`.

    Raises
    ------
    DataError
        It is something else, or its sizes, counts or numbers do not fit its bytes.
    """
    size = regular_file(file, remedy=_REMEDY)
    try:
        if size == 0:
            raise _FileError("it is empty")
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            _check(content, classes, _LOSSES[loss], label.encode())
    except (_FileError, struct.error, OSError) as error:
        reason = "it ends too early" if isinstance(error, struct.error) else error
        raise DataError(f"File {file} is no model that fastText wrote ({reason}); {_REMEDY}.") from None


def _check(content: mmap.mmap, classes: int, loss: int, label: bytes) -> None:
    if _HEAD.unpack_from(content) != (_MAGIC, _VERSION):
        raise _FileError("it begins with something else")
    settings = _Settings(*_SETTINGS.unpack_from(content, _HEAD.size))
    if settings.model != _SUPERVISED or settings.loss != loss:
        raise _FileError(f"it is of model {settings.model} and loss {settings.loss}, not {_SUPERVISED} and {loss}")
    if settings.dim < 1 or settings.word_ngrams < 1 or settings.buckets < 0 or not math.isfinite(settings.sampling):
        raise _FileError("a setting is out of its range")
    if settings.longest < 0 or (settings.longest > 0 and not 0 < settings.shortest <= settings.longest):
        raise _FileError("the lengths of its character n-grams are none")
    if settings.buckets == 0 and (settings.longest > 0 or settings.word_ngrams > 1):
        raise _FileError("it has n-grams and no buckets for them")
    words, at = _dictionary(content, _HEAD.size + _SETTINGS.size, settings, classes, label)
    at = _matrix(content, at, words + settings.buckets, settings.dim, "input")
    at = _matrix(content, at, classes, settings.dim, "output")
    if at != len(content):
        raise _FileError(f"{len(content) - at} bytes follow its end")


def _dictionary(content: mmap.mmap, at: int, settings: _Settings, classes: int, label: bytes) -> tuple[int, int]:
    """Number of words, and the place behind the dictionary."""
    entries, words, labels, _, pruned = _SIZES.unpack_from(content, at)
    at += _SIZES.size
    if labels != classes or words < 1 or entries != words + labels or pruned != -1:
        raise _FileError(f"{entries} entries are {words} words and {labels} labels, where {classes} labels are wanted")
    if entries * (1 + _ENTRY.size) > len(content) - at:
        raise _FileError(f"it has no room for {entries} entries")
    seen: set[bytes] = set()
    counted = ngrams = 0
    for place in range(entries):
        end = content.find(b"\0", at)
        if end < 0:
            raise _FileError(f"the text of entry {place} has no end")
        text = content[at:end]
        count, kind = _ENTRY.unpack_from(content, end + 1)
        at = end + 1 + _ENTRY.size
        if not text or len(text) > _LONGEST_WORD or text in seen:
            raise _FileError(f"the text of entry {place} is empty, too long or stands twice")
        seen.add(text)
        counted += count
        if kind != int(place >= words) or count < 0 or counted >= _MOST_COUNTED:
            raise _FileError(f"entry {place} is of kind {kind} and count {count}")
        ngrams += len(text) * min(settings.longest, len(text))
    if ngrams > _MOST_NGRAMS:
        raise _FileError("its words have more character n-grams than memory is for")
    if not {b"%s%09d" % (label, number) for number in range(classes)} <= seen:
        raise _FileError(f"its labels are not numbers from 0 to {classes - 1}")
    return words, at


def _matrix(content: mmap.mmap, at: int, rows: int, columns: int, what: str) -> int:
    """The place behind a matrix of this shape, whose values are all finite."""
    quantised, found_rows, found_columns = _MATRIX.unpack_from(content, at)
    at += _MATRIX.size
    if quantised or (found_rows, found_columns) != (rows, columns):
        raise _FileError(f"its {what} has {found_rows} x {found_columns} numbers, where {rows} x {columns} are wanted")
    end = at + 4 * rows * columns
    if end > len(content):
        raise _FileError(f"its {what} ends too early")
    for start in range(at, end, 4 * _BLOCK):
        values = np.frombuffer(content[start : min(end, start + 4 * _BLOCK)], "<f4")
        if not np.isfinite(values).all():
            raise _FileError(f"its {what} holds a number that is not finite")
    return end
