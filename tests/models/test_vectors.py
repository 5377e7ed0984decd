from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from omnifeat.errors import DataError
from omnifeat.models.vectors import VectorColumn, averaged_vector_column, vector_column

IDS = pa.array(["a", "b", "c"])
FIXED = pa.list_(pa.float32(), 2)
ROWS = [[1.0, 2.0], None, [3.0, 4.0]]


def read(column: Any, width: int = 2) -> VectorColumn:
    return vector_column(pa.table({"pinsage": column}), "pinsage", width, name="pins", ids=IDS)


@pytest.mark.parametrize(
    "kind",
    [FIXED, pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float64(), 2), pa.list_(pa.int32(), 2)],
)
@pytest.mark.parametrize("layout", ["whole", "sliced", "chunked"])
def test_every_arrow_layout_reads_the_same(kind: pa.DataType, layout: str) -> None:
    if layout == "whole":
        column: Any = pa.array(ROWS, kind)
    elif layout == "sliced":
        column = pa.array([None, [9.0, 9.0], *ROWS, [9.0, 9.0]], kind)[2:5]
    else:
        column = pa.chunked_array([pa.array(ROWS[:1], kind), pa.array(ROWS[1:], kind)])
    vectors = read(column)
    assert vectors.present.tolist() == [True, False, True]
    assert vectors.values.dtype == np.float32
    np.testing.assert_array_equal(vectors.rows(np.array([2, 1, 0, 0])), [[3, 4], [0, 0], [1, 2], [1, 2]])


def test_a_column_of_nulls_is_missing_everywhere() -> None:
    assert not read(pa.nulls(3)).present.any()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
@pytest.mark.parametrize("kind", [FIXED, pa.list_(pa.float32())])
def test_a_number_that_is_not_finite_is_named(value: float | None, kind: pa.DataType) -> None:
    with pytest.raises(DataError, match=r"column 'pinsage' of table 'pins', row 3 \(id 'c'\) holds (nan|inf)"):
        read(pa.array([[1.0, 2.0], None, [value, 4.0]], kind))


def test_a_wrong_width_is_named() -> None:
    with pytest.raises(DataError, match=r"'pinsage' of table 'pins' holds vectors 2 wide where the encoder needs 3"):
        read(pa.array(ROWS, FIXED), width=3)
    with pytest.raises(DataError, match=r"row 3 \(id 'c'\) is 3 wide where the encoder needs 2"):
        read(pa.array([[1.0, 2.0], None, [3.0, 4.0, 5.0]], pa.list_(pa.float32())))


@pytest.mark.parametrize(
    "column", [pa.array(["x", "y", "z"]), pa.array([["x"], ["y"], None]), pa.array([1.0, 2.0, 3.0])]
)
def test_what_is_no_vector_is_named(column: pa.Array) -> None:
    with pytest.raises(DataError, match="Column 'pinsage' of table 'pins' holds"):
        read(column, width=1)


def test_lists_are_averaged_over_the_vectors_that_exist() -> None:
    images = pa.array([[[1.0, 2.0], None, [3.0, 6.0]], [], [None]], pa.list_(FIXED))
    vectors = averaged_vector_column(pa.table({"i": images}), "i", 2, name="products", ids=IDS)
    assert vectors.present.tolist() == [True, False, False]
    np.testing.assert_array_equal(vectors.rows(np.arange(3)), [[2, 4], [0, 0], [0, 0]])


def test_averages_of_random_lists_equal_a_loop() -> None:
    generator = np.random.default_rng(0)
    lists: list[list[list[float] | None] | None] = []
    for _ in range(40):
        count = int(generator.integers(0, 4))
        row = [generator.normal(size=3).tolist() if generator.random() < 0.7 else None for _ in range(count)]
        lists.append(row if generator.random() < 0.8 else None)
    column = pa.array([None, *lists], pa.list_(pa.list_(pa.float32(), 3)))[1:]
    ids = pa.array([str(number) for number in range(40)])
    vectors = averaged_vector_column(pa.table({"i": column}), "i", 3, name="products", ids=ids)
    for row, vector in zip(lists, vectors.rows(np.arange(40)), strict=True):
        kept = [image for image in row or [] if image is not None]
        np.testing.assert_allclose(vector, np.mean(kept, axis=0) if kept else np.zeros(3), atol=1e-6)


def test_a_bad_vector_in_a_list_names_the_row_of_the_table() -> None:
    images = pa.array([[[1.0, 2.0], [3.0, 6.0]], [], [[0.0, float("nan")]]], pa.list_(FIXED))
    with pytest.raises(DataError, match=r"table 'products', row 3 \(id 'c'\) holds nan"):
        averaged_vector_column(pa.table({"i": images}), "i", 2, name="products", ids=IDS)
    with pytest.raises(DataError, match="where lists of vectors are needed"):
        averaged_vector_column(pa.table({"i": pa.array(ROWS, FIXED)}), "i", 2, name="products", ids=IDS)
