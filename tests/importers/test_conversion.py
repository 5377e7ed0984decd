from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from omnifeat.data.schema import TIMESTAMP, VECTOR, VECTOR_LIST, Column
from omnifeat.errors import DataError
from omnifeat.importers.conversion import convert_column

STRINGS = pa.list_(pa.string())


def _convert(values: Any, wanted: Any, **options: Any) -> pa.Array:
    array = values if isinstance(values, pa.Array) else pa.array(values)
    name = options.pop("name", "c")
    return convert_column(array, Column(name, wanted), file="a.csv", source="c", first_row=1, **options)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", None, ""], ["a", None, ""]),
        ([1, None, 3], ["1", None, "3"]),
        ([1.0, None, 3.0], ["1", None, "3"]),  # whole numbers with a hole, as pandas writes them
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_text(values: Any, expected: list[str | None]) -> None:
    result = _convert(values, pa.string())
    assert result.type == pa.string()
    assert result.to_pylist() == expected


@pytest.mark.parametrize(
    ("values", "unit", "expected"),
    [
        (["2024-03-01"], "s", datetime(2024, 3, 1, tzinfo=UTC)),
        (["2024-03-01T10:00:00+02:00"], "s", datetime(2024, 3, 1, 8, tzinfo=UTC)),
        (["2024-03-01 10:00:00.5Z"], "s", datetime(2024, 3, 1, 10, 0, 0, 500_000, tzinfo=UTC)),
        (["86400"], "s", datetime(1970, 1, 2, tzinfo=UTC)),
        ([86_400_000], "ms", datetime(1970, 1, 2, tzinfo=UTC)),
        ([-1_500_000], "us", datetime(1969, 12, 31, 23, 59, 58, 500_000, tzinfo=UTC)),
        ([1.5], "s", datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)),
        ([date(2024, 3, 1)], "s", datetime(2024, 3, 1, tzinfo=UTC)),
        ([datetime(2024, 3, 1, 5)], "s", datetime(2024, 3, 1, 5, tzinfo=UTC)),
    ],
)
def test_times(values: Any, unit: str, expected: datetime) -> None:
    result = _convert(values, TIMESTAMP, time_unit=unit)
    assert result.type == TIMESTAMP
    assert result.to_pylist() == [expected]


def test_numbers() -> None:
    assert _convert(["1.5", "", None, " 2 "], pa.float64()).to_pylist() == [1.5, None, None, 2.0]
    assert _convert([1, 2], pa.float64()).to_pylist() == [1.0, 2.0]
    assert _convert([Decimal("1.25")], pa.float64()).to_pylist() == [1.25]
    assert _convert(["3", 2 * "1"], pa.int64()).to_pylist() == [3, 11]
    assert _convert([3.0, None], pa.int64()).to_pylist() == [3, None]


def test_lists_of_texts() -> None:
    assert _convert(["a | b|", '["x|y", "z"]', "", None], STRINGS).to_pylist() == [["a", "b"], ["x|y", "z"], None, None]
    assert _convert(["a;b|c"], STRINGS, list_separator=";").to_pylist() == [["a", "b|c"]]
    assert _convert(pa.array([["a"], None], pa.large_list(pa.string())), STRINGS).to_pylist() == [["a"], None]


@pytest.mark.parametrize("row", ["[1, 2.5]", "1 2.5", "1,2.5", "1|2.5", [1, 2.5]])
def test_vectors(row: Any) -> None:
    result = _convert([row, None], VECTOR)
    assert result.type == pa.list_(pa.float32(), 2)
    assert result.to_pylist() == [[1.0, 2.5], None]


def test_lists_of_vectors() -> None:
    result = _convert(["[[1, 2], [3, 4]]", None, "[]", "[[5, 6]]"], VECTOR_LIST)
    assert result.type == pa.list_(pa.list_(pa.float32(), 2))
    assert result.to_pylist() == [[[1.0, 2.0], [3.0, 4.0]], None, [], [[5.0, 6.0]]]


def test_a_batch_without_a_vector_waits_for_the_width() -> None:
    assert pa.types.is_null(_convert(pa.array([None, ""], pa.string()), VECTOR).type)


@pytest.mark.parametrize(
    ("values", "wanted", "shown", "what"),
    [
        (["1", "x"], pa.float64(), "'x'", "a finite number"),
        (["1", "nan"], pa.float64(), "'nan'", "a finite number"),
        ([1.0, float("inf")], pa.float64(), "inf", "a finite number"),
        ([True, True], pa.float64(), None, "a finite number"),
        (["1", "1.5"], pa.int64(), "'1.5'", "a whole number"),
        ([1.0, 1.5], pa.int64(), "1.5", "a whole number"),
        ([1, 2**64 - 1], pa.int64(), "18446744073709551615", "a whole number"),
        (["2024-03-01", "yesterday"], TIMESTAMP, "'yesterday'", "a time"),
        ([0, 10**18], TIMESTAMP, "1000000000000000000", "a time"),
        (["a", "[1]"], STRINGS, r"'\[1\]'", "a list of texts"),
        (["a", "[oops"], STRINGS, r"'\[oops'", "a list of texts"),
        ([True, True], pa.string(), None, "text"),
        (["[1, 2]", "[1]"], VECTOR, r"'\[1\]'", "a vector of 2 numbers like those before it"),
        (["[1, 2]", "[1, NaN]"], VECTOR, r"'\[1, NaN\]'", "a vector of finite numbers"),
        (["[1, 2]", "one two"], VECTOR, "'one two'", "a vector of finite numbers"),
        (["[1, 2]", "[]"], VECTOR, r"'\[\]'", "a vector of 2 numbers"),
        (["[[1, 2]]", "[[1]]"], VECTOR_LIST, r"'\[\[1\]\]'", "a vector of 2 numbers"),
        (["[[1, 2]]", "[1]"], VECTOR_LIST, r"'\[1\]'", "a list of vectors"),
    ],
)
def test_what_cannot_be_converted_is_named(values: Any, wanted: Any, shown: str | None, what: str) -> None:
    array = pa.array(values, pa.uint64()) if values[-1] == 2**64 - 1 else pa.array(values)
    row = 1 if shown is None else 2
    with pytest.raises(DataError, match=f"a.csv, column 'c', row {row}: {shown or 'True'} is not {what}"):
        _convert(array, wanted)


def test_a_long_value_is_shown_cut() -> None:
    with pytest.raises(DataError) as caught:
        _convert(["x" * 500], pa.float64())
    assert len(str(caught.value)) < 200
