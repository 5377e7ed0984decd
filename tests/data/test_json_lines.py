"""JSON as other tools write it: what is refused by line, what is read, and what must never end the process."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from omnifeat.data import json_elements, json_lines
from omnifeat.data.files import TableWriter, count_rows, iter_batches, read_table
from omnifeat.errors import DataError


def write(tmp_path: Path, text: str, name: str = "t.jsonl") -> Path:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    return tmp_path / name


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("null", "line {n} holds null instead of an object"),
        ("true", "line {n} holds true instead of an object"),
        ("3", "line {n} holds a number"),
        ('"x"', "line {n} holds a text"),
        ('{"id": "a", "id": "b"}', "line {n} has the field 'id' twice"),
        ('{"id": "a", "title": {"x": 1, "x": 2}}', "line {n} has the field 'x' twice"),
        (r'{"id": "a", "title": "cut \ud83d"}', r"line {n}, field 'title': '\\ud83d' is half of a character"),
        (r'{"id": "a", "\ud83d": 1}', r"line {n}, field '\\ud83d'"),
        (r'{"id": "a", "other": ["\udc00"]}', "line {n}, field 'other'"),
        ('{"id": "a", "x": ' + "[" * 300_000, "line {n}"),
        ('{"id": "a", "x": ' + "[" * 300 + "]" * 300 + "}", "line {n} is nested more than 100 deep"),
        ('{"id": "a", "x": ' + "1" * 5_000 + "}", "line {n} cannot be read"),
        ('{"id": "a"}{"id": "b"}', "line {n} is not JSON"),
        ('{"id": "a"', "line {n} is not JSON"),
        ('{"id": true}', "line {n}, field 'id': true is not a value of type text"),
        ('{"id": 1.5}', "line {n}, field 'id': 1.5 is not a value of type text"),
        ('{"id": 1e16}', "line {n}, field 'id': 1e[+]16 is not"),
        ('{"id": ["a"]}', "line {n}, field 'id'"),
        ('{"id": {"a": "b"}}', "line {n}, field 'id'"),
        ('{"id": "a", "title": {"en": "b"}}', "line {n}, field 'title'"),
        ('{"id": "a", "title": Infinity}', "line {n}, field 'title': Infinity is not a value of type text"),
        ('{"id": "a", "title": [[1]]}', "line {n}, field 'title'"),
        ('{"id": "a", "price": ' + "9" * 400 + "}", "line {n}, field 'price'"),
        ('{"id": "a", "x\\u0000y": 1}', "the name of a field holds a NUL"),
    ],
)
@pytest.mark.parametrize("n", [1, 2])
def test_what_is_wrong_is_said_by_line_wherever_it_stands(tmp_path: Path, line: str, said: str, n: int) -> None:
    good = '{"id": "z", "title": "t"}'
    text = "\n".join([line, good] if n == 1 else [good, line]) + "\n"
    with pytest.raises(DataError, match=said.replace("{n}", str(n))):
        read_table(write(tmp_path, text))


def test_nan_is_null_and_never_a_word(tmp_path: Path) -> None:
    first = '{"id": "a", "title": NaN, "price": NaN, "other": NaN, "n": 1.5}'
    second = '{"id": "b", "title": "x", "other": "y", "n": NaN}'
    assert read_table(write(tmp_path, f"{first}\n{second}\n")).to_pylist() == [
        {"id": "a", "title": None, "price": None, "other": None, "n": 1.5},
        {"id": "b", "title": "x", "price": None, "other": "y", "n": None},
    ]


def test_ids_of_all_forms(tmp_path: Path) -> None:
    ids = ['"7"', "7", "1.0", "12345678901234567890", "9007199254740993", '{"$oid": "65a"}', '{"$numberLong": "5"}']
    expected = ["7", "7", "1", "12345678901234567890", "9007199254740993", "65a", "5"]
    for order in (slice(None), slice(None, None, -1)):
        text = "".join(f'{{"id": {value}}}\n' for value in ids[order])
        assert read_table(write(tmp_path, text))["id"].to_pylist() == expected[order]


def test_long_numbers_of_a_column_that_no_table_knows_keep_their_digits(tmp_path: Path) -> None:
    for values, expected in [
        (["12345678901234567890", "1"], ["12345678901234567890", "1"]),
        (["9007199254740993", "1.5"], ["9007199254740993", "1.5"]),
        (["1234567890123456789", "1"], [1234567890123456789, 1]),
    ]:
        text = "".join(f'{{"id": "a", "sku": {value}}}\n' for value in values)
        assert read_table(write(tmp_path, text))["sku"].to_pylist() == expected


def test_a_list_of_texts_in_a_column_of_text_is_joined(tmp_path: Path) -> None:
    values = ['["One.", "Two."]', "[]", '"x"']
    text = "".join(f'{{"id": "a", "description": {value}}}\n' for value in values)
    assert read_table(write(tmp_path, text))["description"].to_pylist() == ["One. Two.", None, "x"]


def test_columns_as_they_stand(tmp_path: Path) -> None:
    path = write(tmp_path, '{"id": 1, "price": "from 19.99", "timestamp": 1709294400000}\n')
    table = next(iter_batches(path, by_name=False))
    assert table.to_pylist() == [{"id": 1, "price": "from 19.99", "timestamp": 1709294400000}]


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
def test_an_array_is_read_as_its_elements(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"id": str(number), "title": "a [b] {c}\né", "n": number} for number in range(50)]
    for chunk in (1 << 20, 7):
        monkeypatch.setattr(json_lines, "BLOCK_BYTES", chunk)
        monkeypatch.setattr(json_elements, "_CHUNK", chunk)
        for indent in (None, 2):
            path = write(tmp_path, "\ufeff \n" + json.dumps(rows, indent=indent, ensure_ascii=False) + "\n", name)
            assert read_table(path).to_pylist() == rows
            assert count_rows(path) == 50


def test_objects_over_several_lines(tmp_path: Path) -> None:
    rows = [{"id": "a"}, {"id": "b"}]
    text = "\n".join(json.dumps(row, indent=1) for row in rows)
    assert read_table(write(tmp_path, text, "t.json")).to_pylist() == rows
    with pytest.raises(DataError, match="is not JSON .*: give one JSON object a line"):
        read_table(write(tmp_path, text))


def test_an_array_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_bytes(b'[{"id": "a"}, {"id": "\xe7"}]')
    with pytest.raises(DataError, match=r"t\.json, after element \d, is not UTF-8"):
        read_table(tmp_path / "t.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"id": "a"}', "ends within its array, after element 1"),
        ('[{"id": "a"} {"id": "b"}]', "element 1: '{' stands after it instead of a comma"),
        ('[{"id": "a"},]', "element 2 is not JSON"),
        ('[{"id": "a"}, {"id": ]', "element 2 is not JSON"),
        ('[{"id": "a"}] x', "goes on after its array of 1 elements"),
        ('[{"id": "a"}, 3]', "holds a number instead of an object"),
        ("[]", "is empty"),
        ("[" * 100_000, "element 1"),
    ],
)
def test_broken_arrays(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_table(write(tmp_path, text, "t.json"))


def test_empty_objects_in_a_column_that_no_table_knows_are_kept_as_json(tmp_path: Path) -> None:
    path = write(tmp_path, '{"id": "a", "x": {}, "y": [{"z": {}}]}\n{"id": "b", "x": null, "y": []}\n')
    table = read_table(path)
    assert table["x"].to_pylist() == ["{}", None]
    assert table["y"].to_pylist() == ['[{"z": {}}]', "[]"]
    with TableWriter(tmp_path / "t.parquet", table.schema) as writer:
        writer.write(table)
    with (
        pytest.raises(DataError, match=r"u\.parquet cannot be written: Cannot write struct type"),
        TableWriter(tmp_path / "u.parquet", pa.schema([("x", pa.struct([]))])),
    ):
        pass
