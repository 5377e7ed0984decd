"""What CSV and JSONL leave open: types, times, broken lines."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from omnifeat.data.files import TableWriter, iter_batches, read_schema, read_table
from omnifeat.errors import DataError


def csv(tmp_path: Path, text: str, name: str = "t.csv") -> Path:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    return tmp_path / name


def jsonl(tmp_path: Path, *lines: str) -> Path:
    (tmp_path / "t.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / "t.jsonl"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "2"], [1, 2]),
        (["1", "2.5"], [1.0, 2.5]),
        (["1", ""], [1, None]),
        (["1e3", "-.5"], [1000.0, -0.5]),
        (["01", "2"], ["01", "2"]),  # a leading zero makes it a code
        (["1", "x"], ["1", "x"]),
        (["true", "False"], [True, False]),
        (["true", "1"], ["true", "1"]),
        (["NA", "1"], ["NA", "1"]),  # Namibia, not a missing value
        (["2024-01-01", "2024-01-02"], ["2024-01-01", "2024-01-02"]),
        (["1234567890123456789", "-1"], [1234567890123456789, -1]),
        (["12345678901234567890", "1"], ["12345678901234567890", "1"]),  # beyond int64, and a float would change it
        (["", '""'], [None, ""]),
    ],
)
def test_the_whole_file_decides_an_unknown_columns_type(tmp_path: Path, values: list[str], expected: list) -> None:
    path = csv(tmp_path, "id,other\n" + "".join(f"a,{value}\n" for value in values))
    assert read_table(path)["other"].to_pylist() == expected
    assert read_schema(path).field("other").type == pa.array(expected).type


def test_known_columns_have_the_schemas_type(tmp_path: Path) -> None:
    path = csv(tmp_path, "id,brand_id,query,price,position,f_x\n00123,7,42,3,4,5\n")
    assert read_table(path).to_pylist() == [
        {"id": "00123", "brand_id": "7", "query": "42", "price": 3.0, "position": 4, "f_x": 5.0}
    ]


def test_a_late_value_that_changes_the_type(tmp_path: Path) -> None:
    # several blocks before the value that makes the column text: the first block alone would say int64
    path = csv(tmp_path, "id,n\n" + "a,1\n" * 1_500_000 + "a,last\n")
    for batch in iter_batches(path):
        assert batch.schema.field("n").type == pa.string()
    assert batch.column("n")[-1].as_py() == "last"


def test_ragged_rows_name_the_line(tmp_path: Path) -> None:
    # the quoted cell spans lines 2 and 3, so that the short row is the third record and stands in line 4
    path = csv(tmp_path, 'id,title\na,"two\nlines"\nb\n')
    with pytest.raises(DataError, match=r"t\.csv, line 4 has 1 columns, but the header has 2"):
        read_table(path)
    with pytest.raises(DataError, match="line 2 has 3 columns"):
        read_table(csv(tmp_path, "id,title\na,b,c\n"))


def test_a_quote_that_is_never_closed(tmp_path: Path) -> None:
    path = csv(tmp_path, 'id,title\na,x\nb,"oops\nc,y\nd,z\n')
    with pytest.raises(DataError, match=r"t\.csv, line 3: a cell opens a quote that is never closed"):
        read_table(path)
    # a quote within a cell opens nothing
    path = csv(tmp_path, 'id,title\na,5" nail\nb,x\n')
    assert read_table(path)["title"].to_pylist() == ['5" nail', "x"]


def test_headers(tmp_path: Path) -> None:
    assert read_table(csv(tmp_path, "\ufeffid,n\r\n\r\na,1\r\n")).to_pylist() == [{"id": "a", "n": 1}]
    with pytest.raises(DataError, match="has two columns named 'id'"):
        read_table(csv(tmp_path, "id,id\na,b\n"))
    with pytest.raises(DataError, match="is empty"):
        read_table(csv(tmp_path, "\n"))
    with pytest.raises(DataError, match="has no column 'query': it has querry; did you mean 'querry'"):
        read_table(csv(tmp_path, "querry\na\n"), ["query"])


def test_one_column_keeps_its_nulls(tmp_path: Path) -> None:
    table = pa.table({"title": ["a", None, "", "b"]})
    with TableWriter(tmp_path / "t.csv", table.schema) as writer:
        writer.write(table)
    assert read_table(tmp_path / "t.csv").equals(table)


def test_wrong_cells_name_row_and_column(tmp_path: Path) -> None:
    for text, match in [
        ("id,price\na,1\nb,cheap\n", r"row 2, column 'price': 'cheap' is not a number"),
        ("id,pinsage\na,[1]\nb,none\n", "row 2, column 'pinsage': 'none' is not a JSON list"),
        ('id,pinsage\na,"[1,2]"\nb,"[1,""x""]"\n', "row 2, column 'pinsage'.* is not a list of 2 numbers"),
        ('id,board_titles\na,"[1]"\n', "row 1, column 'board_titles'.* is not a list of text"),
        ("id,timestamp\na,2024-01-01\nb,yesterday\n", "row 2, column 'timestamp': 'yesterday' is not a time such as"),
    ]:
        with pytest.raises(DataError, match=match):
            read_table(csv(tmp_path, text))


def test_times(tmp_path: Path) -> None:
    texts = ["2024-03-01", "2024-03-01T01:00:00", "2024-03-01 02:00:00+02:00", "2024-03-01T00:00:00.5Z", ""]
    first = datetime(2024, 3, 1, tzinfo=UTC)
    expected = [first, first.replace(hour=1), first, first.replace(microsecond=500_000), None]
    path = csv(tmp_path, "id,timestamp\n" + "".join(f"a,{text}\n" for text in texts))
    assert read_table(path)["timestamp"].to_pylist() == expected
    lines = [f'{{"id":"a","timestamp":"{text}"}}' for text in texts[:-1]]
    path = jsonl(tmp_path, *lines, '{"id":"a","timestamp":null}')
    assert read_table(path)["timestamp"].to_pylist() == expected
    with pytest.raises(DataError, match="column 'timestamp', row 2: 'soon' is not a time such as"):
        read_table(jsonl(tmp_path, lines[0], '{"id":"a","timestamp":"soon"}'))


def test_times_in_csv_keep_microseconds(tmp_path: Path) -> None:
    moments = [datetime(2024, 3, 1, 1, 2, 3, 4, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)]
    table = pa.table({"id": ["a", "b"], "timestamp": pa.array(moments, pa.timestamp("us", "UTC"))})
    with TableWriter(tmp_path / "t.csv", table.schema) as writer:
        writer.write(table)
    assert read_table(tmp_path / "t.csv").equals(table)


def test_json_ids_may_be_numbers(tmp_path: Path) -> None:
    path = jsonl(tmp_path, '{"id": 123, "title": true, "price": 3}', '{"id": "00124", "price": 2.5}')
    assert read_table(path).to_pylist() == [
        {"id": "123", "title": "true", "price": 3.0},
        {"id": "00124", "title": None, "price": 2.5},
    ]


def test_json_fields_may_come_late_and_mix(tmp_path: Path) -> None:
    path = jsonl(tmp_path, '{"id":"a","x":1}', "", '{"y":[{"z":1}],"id":"b","x":2.5}', '{"id":"c","when":"2024-01-01"}')
    assert read_table(path).to_pylist() == [
        {"id": "a", "x": 1.0, "y": None, "when": None},
        {"id": "b", "x": 2.5, "y": [{"z": 1}], "when": None},
        {"id": "c", "x": None, "y": None, "when": "2024-01-01"},
    ]
    path = jsonl(tmp_path, '{"id":"a","x":1}', '{"id":"b","x":"one"}', '{"id":"c","x":[1]}')
    assert read_table(path)["x"].to_pylist() == ["1", "one", "[1]"]


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ('{"id":', "line 3 is not JSON"),
        ("[1]", "line 3 holds a list instead of an object"),
        ('{"id":"b"} {"id":"c"}', "line 3 is not JSON"),
        ('{"id":"b","price":"cheap"}', "line 3, field 'price': \"cheap\" is not a number"),
        ('{"id":"b","pinsage":"x"}', "line 3, field 'pinsage'"),
        ('{"id":"b","pinsage":[1,null]}', "row 2: number 2 of the vector is null"),
        ('{"id":"b","pinsage":[1,NaN]}', "row 2: the vector holds a number that is NaN"),
    ],
)
def test_broken_lines_name_the_line(tmp_path: Path, line: str, match: str) -> None:
    path = jsonl(tmp_path, '{"id":"a","price":1,"pinsage":[1,2]}', "", line)
    with pytest.raises(DataError, match=match):
        read_table(path)
