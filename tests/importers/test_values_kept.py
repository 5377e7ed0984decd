"""What nobody asked for comes through as it is written, and what could be read in two ways is not read in one."""

from pathlib import Path
from typing import Any

import pytest

from omnifeat.commands.import_common import pairs_of
from omnifeat.data.dataset import Dataset
from omnifeat.errors import DataError, SettingError
from omnifeat.importers import import_table
from omnifeat.importers.reading import TextOptions
from omnifeat.importers.table_plan import Choices


def _rows(path: Path, choices: Choices | None = None, **more: Any) -> tuple[list[dict[str, Any]], list[str]]:
    out = path.parent / "out"
    result = import_table({"products": path}, out, choices=choices, overwrite=True, **more)
    return Dataset.open(out).read("products").to_pylist(), result.notes


def _file(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_columns_that_nobody_named_keep_their_writing(tmp_path: Path) -> None:
    text = 'id,price,codes,version,ean,count,share\n1,"1,299.00","38,400",1.10,1E5,7,0.5\n'
    text += '2,"2,599.00","40,420",1.20,2E10,-3,2\n'
    first = _rows(_file(tmp_path / "p.csv", text))[0][0]
    assert first == {
        "id": "1", "price": 1299.0, "codes": "38,400", "version": "1.10", "ean": "1E5", "count": 7, "share": 0.5
    }  # fmt: skip
    text = "id;price;sizes;version;count\n1;1.299,50;38,40;1.100;7\n2;5,00;36,42;2.200;8\n"
    first = _rows(_file(tmp_path / "q.csv", text))[0][0]
    assert first == {"id": "1", "price": 1299.5, "sizes": "38,40", "version": "1.100", "count": 7}


def test_the_decimal_sign_may_be_a_word_and_nothing_else_is_one(tmp_path: Path) -> None:
    path = _file(tmp_path / "p.csv", 'id,price\n1,"5,5"\n')
    assert _rows(path, text=TextOptions(decimal="comma"))[0][0]["price"] == 5.5
    with pytest.raises(SettingError, match="decimal sign must be one of"):
        TextOptions(decimal="x")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("b.tsv", "2\tb\n3\tc\n4\td\n", "b.tsv has no column 'id'.*its header is 2, b"),
        ("b.tsv", "id,title\n2,b\n", "',' between its cells.*say --delimiter"),
        ("b.tsv", "", None),
    ],
)
def test_a_part_that_is_written_otherwise_is_named(tmp_path: Path, name: str, content: str, said: str | None) -> None:
    _file(tmp_path / "d" / "a.tsv", "id\ttitle\n1\ta\n")
    _file(tmp_path / "d" / name, content)
    choices = Choices(skip_rows_without=["products.id"])
    if said is None:
        assert [row["id"] for row in _rows(tmp_path / "d", choices)[0]] == ["1"]
        return
    with pytest.raises(DataError, match=said):
        _rows(tmp_path / "d", choices)


def test_a_damaged_file_is_not_taken_for_another_encoding(tmp_path: Path) -> None:
    path = _file(tmp_path / "p.csv", "id,title\n1,Käse\n2,Müsli\n".encode() + b"3,cut \xf0\x9f\x98\n")
    with pytest.raises(DataError, match=r"p\.csv.*(row|line).*UTF-8"):
        _rows(path)
    assert _rows(_file(path, "id,title\n1,Käse\n2,Müsli\n".encode("cp1252")))[0][1]["title"] == "Müsli"


def test_vectors_with_decimal_commas_are_not_twice_as_wide(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'0,1 0,2' is not a vector"):
        _rows(_file(tmp_path / "p.csv", "id;image_embedding\n1;0,1 0,2\n"))
    for vector in ("0.5, 0.25", "0.5 0.25", "0.5|0.25", "[0.5,0.25]", "0.5,0.25"):
        rows = _rows(_file(tmp_path / "p.csv", f'id;image_embedding\n1;"{vector}"\n'))[0]
        assert rows[0]["image_embedding"] == [0.5, 0.25]


def test_a_title_of_html_alone_is_no_title(tmp_path: Path) -> None:
    rows, notes = _rows(
        _file(tmp_path / "p.csv", "id,title\n1,<p></p>\n2,b\n3,&nbsp;\n"), Choices(skip_rows_without=["products.title"])
    )
    assert [row["id"] for row in rows] == ["2"]
    assert "Table products: 2 rows without 'title' were left out." in notes


def test_what_cannot_be_read_is_counted_where_its_rows_are_left_out(tmp_path: Path) -> None:
    path = _file(tmp_path / "p.csv", "id,price\n1,cheap\n2,5\n3,dear\n")
    rows, notes = _rows(path, Choices(skip_rows_without=["products.price"], empty_if_unreadable=["products.price"]))
    assert [row["id"] for row in rows] == ["2"]
    assert any("2 values of 'price' that cannot be read" in note and "'cheap'" in note for note in notes)


def test_a_text_of_a_file_may_hold_the_equals_sign() -> None:
    form = "TABLE.COLUMN:TEXT=VALUE, such as engagements.action:view=click"
    assert pairs_of("--value", ["engagements.action:ev:click=1=click"], form) == {
        "engagements.action:ev:click=1": "click"
    }
    assert pairs_of("--set", ["pins.title=a=b"]) == {"pins.title": "a=b"}
