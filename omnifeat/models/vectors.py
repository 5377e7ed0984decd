"""Vector columns of Arrow tables as NumPy matrices, checked.

Shape legend: N rows of the table, W width of the vector, M vectors in all lists together.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.errors import DataError

__all__ = ["VectorColumn", "averaged_vector_column", "vector_column"]

Float32 = npt.NDArray[np.float32]
# Rows that are checked for NaN at once: keeps the temporary copy small beside the column itself.
_CHECK_ROWS = 65_536


@dataclass(frozen=True, eq=False)
class VectorColumn:
    """A vector column.

    Attributes
    ----------
    values
        float32 `(N, W)`; what stands in a row that is not present means nothing.
    present
        bool `(N,)`: the row has a vector.
    """

    values: Float32
    present: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.present)

    def rows(self, rows: npt.NDArray[np.int64]) -> Float32:
        """Vectors at `rows`, float32 `(len(rows), W)`; a missing one is zero (section 3.4.2)."""
        taken: Float32 = np.where(self.present[rows, None], self.values[rows], np.float32(0))
        return taken


@dataclass(frozen=True)
class _Place:
    """Where a column stands, for messages."""

    table: str
    column: str
    ids: pa.Array
    rows: npt.NDArray[np.int64] | None = None  # the table's row of each vector, where there may be several a row

    def row(self, position: int) -> str:
        row = position if self.rows is None else int(self.rows[position])
        return f"column '{self.column}' of table '{self.table}', row {row + 1} (id {self.ids[row].as_py()!r})"


def vector_column(table: pa.Table, column: str, width: int, *, name: str, ids: pa.Array) -> VectorColumn:
    """A column of vectors, one a row; nulls are missing.

    Parameters
    ----------
    table
        The table.
    column
        Its column: a fixed-size list, list or large list of numbers. float32 fixed-size lists are not copied.
    width
        The width that every vector must have.
    name
        Name of the table, for messages.
    ids
        Ids of the rows, for messages.

    Raises
    ------
    DataError
        The column does not hold vectors, a vector has another width, or a value is NaN or infinite.
    """
    return _vectors(_single(table.column(column)), width, _Place(name, column, ids))


def _vectors(array: pa.Array, width: int, place: _Place) -> VectorColumn:
    column, name = place.column, place.table
    if pa.types.is_null(array.type):
        return VectorColumn(np.zeros((len(array), width), np.float32), np.zeros(len(array), np.bool_))
    present = _valid(array)
    if pa.types.is_fixed_size_list(array.type):
        found = int(array.type.list_size)
        if found != width:
            raise DataError(
                f"Column '{column}' of table '{name}' holds vectors {found} wide where the encoder needs {width}; "
                "give the vectors that it was trained with."
            )
        flat = _numbers(array.values.slice(array.offset * width, len(array) * width), place)
        values = flat.reshape(len(array), width)
    elif pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        offsets = np.asarray(array.offsets, dtype=np.int64)
        wrong = np.flatnonzero(present & (np.diff(offsets) != width))
        if len(wrong):
            row = int(wrong[0])
            raise DataError(
                f"The vector in {place.row(row)} is {offsets[row + 1] - offsets[row]} wide where the encoder needs "
                f"{width}; give the vectors that it was trained with."
            )
        flat = _numbers(array.values, place)
        values = np.zeros((len(array), width), np.float32)
        values[present] = flat[_positions(offsets, present)].reshape(-1, width)
    else:
        raise DataError(
            f"Column '{column}' of table '{name}' holds {array.type} where vectors are needed; "
            f"make it a fixed-size list of {width} float32 numbers."
        )
    _check_finite(values, present, place)
    return VectorColumn(values, present)


def averaged_vector_column(table: pa.Table, column: str, width: int, *, name: str, ids: pa.Array) -> VectorColumn:
    """A column of lists of vectors, each list averaged over the vectors that exist; a row without one is missing.

    Parameters are those of `vector_column`.

    Raises
    ------
    DataError
        As `vector_column`; also if the column does not hold lists of vectors.
    """
    array = _single(table.column(column))
    if pa.types.is_null(array.type):
        return VectorColumn(np.zeros((len(array), width), np.float32), np.zeros(len(array), np.bool_))
    if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type)):
        raise DataError(
            f"Column '{column}' of table '{name}' holds {array.type} where lists of vectors are needed; "
            f"make it a list of fixed-size lists of {width} float32 numbers."
        )
    offsets = np.asarray(array.offsets, dtype=np.int64)
    used_rows = _valid(array)
    positions = _positions(offsets, used_rows)
    owners_M = np.repeat(np.arange(len(array)), np.where(used_rows, np.diff(offsets), 0))
    vectors = _vectors(array.values.take(pa.array(positions)), width, _Place(name, column, ids, owners_M))
    counts_N = np.bincount(owners_M[vectors.present], minlength=len(array))
    present_N = counts_N > 0
    means_NW = np.zeros((len(array), width), np.float32)
    if present_N.any():
        starts = (np.cumsum(counts_N) - counts_N)[present_N]
        sums = np.add.reduceat(vectors.values[vectors.present], starts, axis=0)
        means_NW[present_N] = sums / counts_N[present_N, None].astype(np.float32)
    return VectorColumn(means_NW, present_N)


def _single(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _valid(array: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(array.is_valid())


def _positions(offsets: npt.NDArray[np.int64], rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Positions in the flat values of all items of the chosen rows."""
    starts, lengths = offsets[:-1][rows], np.diff(offsets)[rows]
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))


def _numbers(flat: pa.Array, place: _Place) -> Float32:
    """Flat numbers as float32; a null number becomes NaN, which the check then finds."""
    if not (pa.types.is_floating(flat.type) or pa.types.is_integer(flat.type) or pa.types.is_null(flat.type)):
        raise DataError(
            f"Column '{place.column}' of table '{place.table}' holds vectors of {flat.type}; make them float32."
        )
    if not pa.types.is_float32(flat.type):
        flat = flat.cast(pa.float32())
    numbers: Float32 = flat.to_numpy(zero_copy_only=False)
    return numbers


def _check_finite(values: Float32, present: npt.NDArray[np.bool_], place: _Place) -> None:
    for start in range(0, len(values), _CHECK_ROWS):
        part = slice(start, start + _CHECK_ROWS)
        bad = np.flatnonzero(present[part] & ~np.isfinite(values[part]).all(axis=1))
        if len(bad):
            row = start + int(bad[0])
            vector = values[row]
            found = vector[~np.isfinite(vector)][0]
            raise DataError(
                f"The vector in {place.row(row)} holds {found}; make it finite numbers, or null where there is none."
            )
