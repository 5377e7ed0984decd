import gzip
import json
import zipfile
from pathlib import Path

import pytest

from omnifeat.errors import DataError
from omnifeat.importers.sources import normalised, read_csv_rows, read_json, read_json_records, required_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [("  Red  Heart ", "red heart"), ("ﾗﾌﾞ", "ラブ"), ("ＡＣ", "ac"), ("STRASSE", "strasse"), ("\u00a0\t", "")],
)
def test_normalised(text: str, expected: str) -> None:
    assert normalised(text) == expected


def test_json_plain_gzip_and_zip_hold_the_same(tmp_path: Path) -> None:
    records = [{"id": "1", "title": "Käse"}]
    content = json.dumps(records, ensure_ascii=False).encode()
    (tmp_path / "1.json").write_bytes(b"\xef\xbb\xbf" + content)  # with a byte order mark
    with gzip.open(tmp_path / "1.json.gz", "wb") as stream:
        stream.write(content)
    with zipfile.ZipFile(tmp_path / "1.json.zip", "w") as archive:
        archive.writestr("1.json", content)
        archive.writestr("__MACOSX/._1.json", b"\x00\x05")
    for name in ("1.json", "1.json.gz", "1.json.zip"):
        assert read_json_records(tmp_path / name) == records


def _message(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_json_records(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in _message(tmp_path / "1.json")


@pytest.mark.parametrize("name", ["1.json.zip", "1.json.gz"])
def test_not_an_archive(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no archive at all")
    assert "damaged" in _message(tmp_path / name)


def test_cut_off_archives(tmp_path: Path) -> None:
    content = json.dumps([{"id": str(number)} for number in range(1_000)]).encode()
    whole = gzip.compress(content)
    (tmp_path / "1.json.gz").write_bytes(whole[: len(whole) // 2])
    assert "damaged" in _message(tmp_path / "1.json.gz")
    with zipfile.ZipFile(tmp_path / "1.json.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.json", content)
    damaged = bytearray((tmp_path / "1.json.zip").read_bytes())
    damaged[60:80] = bytes(20)  # inside the compressed data
    (tmp_path / "1.json.zip").write_bytes(damaged)
    assert "damaged" in _message(tmp_path / "1.json.zip")


def test_zip_with_two_members(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "1.json.zip", "w") as archive:
        archive.writestr("1.json", "[]")
        archive.writestr("2.json", "[]")
    assert "exactly one .json file but holds 2" in _message(tmp_path / "1.json.zip")


def test_broken_json_names_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text('[\n{"id": }]')
    assert "line 2, column 8" in _message(tmp_path / "1.json")


def test_not_utf8_names_the_byte(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_bytes(b'["caf\xe9"]')
    assert "byte 5 is 0xe9" in _message(tmp_path / "1.json")


@pytest.mark.parametrize(("content", "said"), [('{"id": 1}', "holds a JSON dict"), ('[{}, "x"]', "record 2")])
def test_not_a_list_of_records(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "1.json").write_text(content)
    assert said in _message(tmp_path / "1.json")


def test_deeply_nested_json_is_an_error_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text("[" * 200_000)
    with pytest.raises(DataError):
        read_json(tmp_path / "1.json")


def test_csv_rows(tmp_path: Path) -> None:
    path = tmp_path / "rated.csv"
    path.write_bytes('\ufeffquery,docid\r\n"a, ""b""\nc",1\r\n'.encode())
    assert list(read_csv_rows(path, ["query"])) == [(1, {"query": 'a, "b"\nc', "docid": "1"})]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"query\nx\n", "no column 'docid' \\(it has: query\\)"),
        (b"", "no column 'query' \\(it has: none\\)"),
        (b"query,docid\na,1\nb\n", "row 2 has not the 2 cells"),
        (b"query,docid\na,1,2\n", "row 1 has not the 2 cells"),
        (b"query,docid\n\xff,1\n", "not UTF-8"),
        (b'query,docid\n"a"b,1\n', "not a valid CSV"),
    ],
)
def test_bad_csv(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "rated.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        list(read_csv_rows(path, ["query", "docid"]))


@pytest.mark.parametrize(("value", "said"), [(None, "is missing"), ("  ", "is '  '"), (3, "is 3")])
def test_required_text(value: object, said: str) -> None:
    assert required_text({"id": " 7 "}, "id", "here") == "7"
    with pytest.raises(DataError, match=f"here: 'id' {said}"):
        required_text({"id": value}, "id", "here")
