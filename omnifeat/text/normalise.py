"""Normalisation of text, and reading Arrow string columns as plain buffers."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.errors import DataError
from omnifeat.text.codepoints import code_point_table, simple_lower
from omnifeat.text.ngrams import inspect_strings, read_strings

__all__ = ["TextBuffers", "normalise", "text_buffers"]

# Strings looked at together: bounds the copies made where some of them need `unicodedata`.
_ROWS_AT_ONCE = 16_384
_LARGEST_INT32 = 2**31 - 1


@dataclass(frozen=True, eq=False)
class TextBuffers:
    """Strings as Arrow holds them: `data` uint8, `offsets` int64 (n + 1,); nulls are empty strings."""

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]


def text_buffers(strings: pa.Array | pa.ChunkedArray) -> Iterator[TextBuffers]:
    """Give the strings as buffers, a bounded number at once, such that reading them through the table normalises.

    Strings that need more than the table (those with decomposed marks, ligatures, fractions and the like) are
    replaced by their normal form; all others are views on the Arrow buffers.

    Raises
    ------
    DataError
        The column doesn't hold text, or a string isn't UTF-8; the message names its row.
    """
    table = code_point_table()
    done = 0
    for chunk in _string_chunks(strings):
        for start in range(0, len(chunk), _ROWS_AT_ONCE):
            part = chunk.slice(start, _ROWS_AT_ONCE)
            buffers = _buffers(part)
            unstable = np.zeros(len(part), np.bool_)
            broken = inspect_strings(buffers.data, buffers.offsets, table, unstable)
            if broken >= 0:
                raise DataError(
                    f"Row {done + start + broken + 1} of the text column is not UTF-8; convert the text to UTF-8 first."
                )
            if unstable.any():
                buffers = _buffers(_replace_unstable(part, unstable))
            yield buffers
        done += len(chunk)


def normalise(strings: pa.Array | pa.ChunkedArray) -> pa.StringArray:
    """Normalise text: NFKC, simple lower case, NFKC again, white space collapsed to one blank and trimmed.

    The second NFKC composes letters whose capital has no composed form, so that normalising twice changes nothing.

    Parameters
    ----------
    strings
        Arrow array of text (`string`, `large_string`, `string_view`, or a dictionary of these), plain or chunked.

    Returns
    -------
    pa.StringArray
        As many strings; nulls become empty. A `LargeStringArray` where the text exceeds 2 GiB.

    Raises
    ------
    DataError
        The column doesn't hold text, or a string isn't UTF-8; the message names its row.
    """
    table = code_point_table()
    data = [np.zeros(0, np.uint8)]
    offsets = [np.zeros(1, np.int64)]
    used = 0
    for buffers in text_buffers(strings):
        size = int(buffers.offsets[-1] - buffers.offsets[0])
        out = np.empty(size * 3 // 2 + 4, np.uint8)
        out_offsets = np.empty(len(buffers.offsets), np.int64)
        read_strings(buffers.data, buffers.offsets, table, out, out_offsets)
        data.append(out[: out_offsets[-1]].copy())
        offsets.append(out_offsets[1:] + used)
        used += int(out_offsets[-1])
    all_offsets = np.concatenate(offsets)
    large = used > _LARGEST_INT32
    array_type = pa.LargeStringArray if large else pa.StringArray
    return array_type.from_buffers(
        len(all_offsets) - 1,
        pa.py_buffer(all_offsets if large else all_offsets.astype(np.int32)),
        pa.py_buffer(np.concatenate(data)),
    )


def normal_form(text: str) -> str:
    """NFKC, simple lower case and NFKC of one string, white space as it is."""
    return unicodedata.normalize("NFKC", simple_lower(unicodedata.normalize("NFKC", text)))


def _replace_unstable(part: pa.Array, unstable: npt.NDArray[np.bool_]) -> pa.Array:
    large = part.cast(pa.large_string())  # a normal form may be longer than int32 offsets reach
    replaced = [normal_form(text or "") for text in large.filter(pa.array(unstable)).to_pylist()]
    return pc.replace_with_mask(large, pa.array(unstable), pa.array(replaced, pa.large_string()))


def _string_chunks(strings: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    """Chunks as string or large_string arrays without nulls."""
    kind = strings.type
    if pa.types.is_dictionary(kind):
        strings = strings.cast(kind.value_type)
        kind = kind.value_type
    if pa.types.is_string_view(kind):
        strings = strings.cast(pa.large_string())
    elif pa.types.is_null(kind):
        strings = strings.cast(pa.string())
    elif not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise DataError(f"The text column holds {kind} where text is needed; cast it to string first.")
    chunks = strings.chunks if isinstance(strings, pa.ChunkedArray) else [strings]
    return [pc.fill_null(chunk, "") if chunk.null_count else chunk for chunk in chunks]


def _buffers(array: pa.Array) -> TextBuffers:
    _, offset_buffer, data_buffer = array.buffers()
    width = np.int64 if pa.types.is_large_string(array.type) else np.int32
    if len(array) == 0 or offset_buffer is None:
        offsets = np.zeros(len(array) + 1, np.int64)
    else:
        whole = np.frombuffer(offset_buffer, width, count=array.offset + len(array) + 1)
        offsets = whole[array.offset :].astype(np.int64)
    data = np.zeros(0, np.uint8) if data_buffer is None else np.frombuffer(data_buffer, np.uint8)
    data.flags.writeable = False  # numba compiles once more for writable arrays
    return TextBuffers(data=data, offsets=offsets)
