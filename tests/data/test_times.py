"""One parser of times for every format."""

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnifeat.data.conform import conform_array
from omnifeat.data.files import read_table
from omnifeat.data.schema import TIMESTAMP
from omnifeat.data.times import likely_unit, not_a_time, odd_times, parse_times
from omnifeat.errors import DataError

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
DAY = datetime(2024, 3, 1, tzinfo=UTC)


def wrong(row: int, value: object) -> DataError:
    return DataError(f"row {row}: {value!r} {not_a_time(value)}")


def read(values: pa.Array | list, unit: str | None = None) -> list:
    array = values if isinstance(values, pa.Array) else pa.array(values)
    return parse_times(array, wrong, unit).to_pylist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-03-01", DAY),
        (" 2024-03-01 ", DAY),
        ("2024-03-01 12:00:00", NOON),
        ("2024-03-01T12:00", NOON),
        ("2024-03-01T12", NOON),
        ("2024-03-01 12:00:00 UTC", NOON),  # BigQuery
        ("2024-03-01 12:00:00.500000 UTC", NOON.replace(microsecond=500_000)),
        ("2024-03-01T12:00:00,5", NOON.replace(microsecond=500_000)),  # log4j
        ("2024-03-01T12:00:00.123456789Z", NOON.replace(microsecond=123_456)),
        ("2024-03-01T24:00", DAY + timedelta(days=1)),
        ("2024-03-01T17:30:00+0530", NOON),
        ("2024-03-01T14:00:00+02", NOON),
        ("2024-03-01T07:00:00 -05:00", NOON),
        ("20240301T120000Z", NOON),
        ("20240301", DAY),  # GA4; as seconds it would be 1970
        ("20240301120000", NOON),
        ('{"$date": "2024-03-01T12:00:00Z"}', NOON),  # MongoDB
        ('{"$date": {"$numberLong": "1709294400000"}}', NOON),
        ("9999-12-31", datetime(9999, 12, 31, tzinfo=UTC)),
        ("", None),
    ],
)
@pytest.mark.parametrize("others", [[], ["2024-03-01T12:00:00Z"], ["2024-03-01T24:00:00"]])
def test_texts_of_every_form_are_read_whatever_stands_beside_them(text: str, expected: object, others: list) -> None:
    assert read([text, *others, None])[0] == expected
    assert read([text], "ms") == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "0000-00-00 00:00:00",
        "0000-01-01",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:00:00-05:00",
        "03/01/2024",
        "2024-02-30",
        "2024-03-01T25:00",
        "2024-03-01T24:01",
        "2024-03-01T12:00:00+99:00",
        "2024-03-01T12.5",
        "1e400",
        "soon",
        "true",
        '{"$date": []}',
        '{"date": "2024-03-01"}',
        "{",
    ],
)
def test_what_is_no_time_is_refused_by_row(text: str) -> None:
    with pytest.raises(DataError, match="row 1: .* is not a time such as"):
        read(["2024-03-01", text])
    with pytest.raises(DataError, match="row 1: .* is not a time such as"):
        read(["2024-03-01", text], "s")


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1_000), ("us", 1_000_000), ("ns", 1_000_000_000)])
def test_numbers_count_the_unit_whatever_their_type(unit: str, factor: int) -> None:
    number = 1_709_294_400 * factor
    for values in (
        pa.array([number]),
        pa.array([number], pa.uint64()),
        pa.array([float(number)]),
        pa.array([str(number)]),
        pa.array([f"{number}.0"]),
        pa.array([number]).cast(pa.decimal128(20, 0)),
    ):
        assert read(values, unit) == [NOON]
        assert likely_unit(pa.array([number])) == unit
    with pytest.raises(DataError, match=rf"looks like .*seconds since 1970, which .* --time-unit {unit}$"):
        read([str(number)])


def test_dates_of_eight_digits_are_never_1970() -> None:
    for values in ([20240301, None], [20240301.0, None], ["20240301", None]):
        for unit in (None, "s", "ms"):
            assert read(values, unit) == [DAY, None]
    assert read([20240301, 1709294400], "s") == [DAY, NOON]


def test_a_hole_in_a_column_of_floats_is_null() -> None:
    assert read([1709294400.25, float("nan"), None], "s") == [NOON.replace(microsecond=250_000), None, None]
    with pytest.raises(DataError, match="row 0: inf"):
        read([float("inf")], "s")


@pytest.mark.parametrize(
    "values",
    [
        pa.array([2**60], pa.timestamp("s")),
        pa.array([2**60], pa.timestamp("ms")),
        pa.array([2**62], pa.timestamp("us")),
        pa.array([2**31 - 1], pa.int32()).cast(pa.date32()),
        pa.array([253_402_300_800], pa.timestamp("s", "America/New_York")),
    ],
)
def test_far_years_never_wrap_around(values: pa.Array) -> None:
    with pytest.raises(DataError, match="row 1: .* is not a time"):
        conform_array(values, TIMESTAMP, "x")
    with pytest.raises(DataError, match="is not a time"):
        read([2**62], "s")


def test_arrow_times_of_every_unit_and_zone() -> None:
    for unit in ("s", "ms", "us", "ns"):
        for zone in (None, "UTC", "America/New_York"):
            assert read(pa.array([NOON.replace(tzinfo=None), None], pa.timestamp(unit)).cast(pa.timestamp(unit, zone)))
    naive = pa.array([date(2024, 3, 1), None])
    assert read(naive) == [DAY, None]
    assert read(naive.cast(pa.date64())) == [DAY, None]
    assert read(naive.dictionary_encode()) == [DAY, None]
    assert read(pa.array([-1], pa.timestamp("ns"))) == [datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)]


def test_int96_of_the_year_9999(tmp_path) -> None:
    table = pa.table({"timestamp": pa.array([datetime(9999, 12, 31)], pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "t.parquet", use_deprecated_int96_timestamps=True)
    assert read_table(tmp_path / "t.parquet")["timestamp"].to_pylist() == [datetime(9999, 12, 31, tzinfo=UTC)]


def test_odd_times_say_which_unit_explains_them() -> None:
    assert odd_times(parse_times(pa.array(["2024-03-01", None]), wrong)) is None
    odd = odd_times(parse_times(pa.array([1709294400, None]), wrong, "ms"))
    assert (odd.rows, odd.first_row) == (1, 0)
    assert "before 1990, as if seconds had been taken for milliseconds" in odd.reason
    odd = odd_times(parse_times(pa.array(["2024-03-01", "9999-12-31"]), wrong))
    assert (odd.rows, odd.first_row, odd.first.year, odd.reason) == (1, 1, 9999, "years in the future")


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl"])
def test_every_text_format_reads_times_alike(tmp_path, name: str) -> None:
    texts = ["2024-03-01 12:00:00 UTC", "2024-03-01T12:00:00,000", "2024-03-01T17:30:00+0530"]
    separator = "\t" if name.endswith("tsv") else ";"
    lines = [f'{{"id": "a", "timestamp": "{text}"}}' for text in texts]
    if name != "t.jsonl":
        separator = "\t" if name == "t.tsv" else ","
        lines = [f"id{separator}timestamp", *(f"a{separator}{text.replace(',', '.')}" for text in texts)]
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    assert read_table(tmp_path / name)["timestamp"].to_pylist() == [NOON] * 3


def test_columns_with_types_are_parsed_as_well(tmp_path) -> None:
    pq.write_table(pa.table({"id": ["a"], "timestamp": ["2024-03-01 12:00:00 UTC"]}), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet")["timestamp"].to_pylist() == [NOON]
    pq.write_table(pa.table({"id": ["a"], "timestamp": [1709294400]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"row 1: 1709294400 is not a time .* looks like seconds since 1970"):
        read_table(tmp_path / "t.parquet")
