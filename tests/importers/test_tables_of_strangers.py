"""Files as shops, logs and other tools write them: read, or refused in a sentence that says what to type next."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnifeat.data.dataset import Dataset
from omnifeat.errors import DataError, SettingError
from omnifeat.importers import import_table
from omnifeat.importers.reading import TextOptions
from omnifeat.importers.table_plan import Choices

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
CLICK = {"engagements.entity_type": "product", "engagements.action": "click"}


def _rows(
    table: str, path: Path, choices: Choices | None = None, **more: Any
) -> tuple[list[dict[str, Any]], list[str]]:
    out = path.parent / "out"
    result = import_table({table: path}, out, choices=choices, overwrite=True, **more)
    return Dataset.open(out).read(table).to_pylist(), result.notes


def _file(path: Path, content: Any) -> Path:
    if isinstance(content, list):
        content = "".join(json.dumps(row) + "\n" for row in content)
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_price_that_is_a_text_is_refused_with_the_ways_on_in_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    if suffix == ".csv":
        path.write_text("id,price\n1,12.99\n2,from 19.99\n")
    elif suffix == ".jsonl":
        _file(path, [{"id": "1", "price": 12.99}, {"id": "2", "price": "from 19.99"}])
    else:
        pq.write_table(pa.table({"id": ["1", "2"], "price": ["12.99", "from 19.99"]}), path)
    said = (
        r"row 2: 'from 19\.99' is not a finite number; .*--drop products\.price .*--empty-if-unreadable products\.pri"
    )
    with pytest.raises(DataError, match=said):
        _rows("products", path)
    assert _rows("products", path, Choices(drop=["products.price"]))[0] == [{"id": "1"}, {"id": "2"}]
    rows, notes = _rows("products", path, Choices(empty_if_unreadable=["products.price"]))
    assert [row["price"] for row in rows] == [12.99, None]
    assert any("1 values of 'price' that cannot be read were left empty, first" in note for note in notes)


def test_a_number_of_two_readings_names_the_option(tmp_path: Path) -> None:
    path = _file(tmp_path / "p.csv", 'id,price\n1,"1,299"\n')
    with pytest.raises(DataError, match=r"it may be 1299 or 1\.299; say which with --decimal"):
        _rows("products", path)
    assert _rows("products", path, text=TextOptions(decimal="."))[0][0]["price"] == 1299
    assert _rows("products", path, text=TextOptions(decimal=","))[0][0]["price"] == 1.299


def test_a_point_before_three_digits_is_no_decimal_point_for_sure_in_a_file_with_semicolons(tmp_path: Path) -> None:
    path = _file(tmp_path / "p.csv", "id;price\n1;1.299\n2;2.450\n")
    with pytest.raises(DataError, match=r"'1\.299' is not a finite number \(it may be 1299 or 1\.299"):
        _rows("products", path)
    assert _rows("products", path, text=TextOptions(decimal=","))[0][1]["price"] == 2450
    plain = _file(tmp_path / "q.csv", "id,price\n1,1.299\n2,2.450\n")  # as a program writes it
    assert _rows("products", plain)[0][1]["price"] == 2.45


def test_mongodbs_objects_are_unwrapped(tmp_path: Path) -> None:
    record = {"_id": {"$oid": "65a1"}, "price": {"$numberDecimal": "3.5"}, "seen": {"$date": "2024-03-01T12:00:00Z"}}
    path = _file(tmp_path / "p.jsonl", [record, {"_id": "b"}])
    choices = Choices({"products.id": "_id", "products.f_seen": "price"}, drop=["products.seen"])
    assert _rows("products", path, choices)[0] == [
        {"id": "65a1", "price": 3.5, "f_seen": 3.5},
        {"id": "b", "price": None, "f_seen": None},
    ]


@pytest.mark.parametrize("header", ["ID,Title,Product Type", " id ,TITLE,product-type", "\ufeffId, title,Product_Type"])
def test_columns_in_other_letter_case_and_blanks_are_taken_and_told(tmp_path: Path, header: str) -> None:
    rows, notes = _rows("products", _file(tmp_path / "p.csv", f"{header}\n1,a,mug\n"))
    assert rows == [{"id": "1", "title": "a", "product_type": "mug"}]
    assert sum("is taken for" in note for note in notes) == 3


def test_of_two_writings_of_a_column_none_is_guessed(tmp_path: Path) -> None:
    rows, notes = _rows("products", _file(tmp_path / "p.csv", "id,Title,TITLE\n1,a,b\n"))
    assert rows == [{"id": "1", "Title": "a", "TITLE": "b"}]
    assert any("'Title' and 'TITLE' may both be 'title'" in note for note in notes)
    with pytest.raises(DataError, match="has no column 'id': it has ID, Id; did you mean"):
        _rows("products", _file(tmp_path / "q.csv", "ID,Id\n1,a\n"))


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_a_column_that_parts_write_in_two_ways_is_one(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    for place, name in enumerate(("Title", "title")):
        table = pa.table({"id": [f"{place}"], name: [f"t{place}"]})
        path = folder / f"{place}{suffix}"
        if suffix == ".csv":
            path.write_text(f"id,{name}\n{place},t{place}\n")
        elif suffix == ".parquet":
            pq.write_table(table, path)
        else:
            _file(path, table.to_pylist())
    rows, notes = _rows("products", folder, keep_extra=False)
    assert rows == [{"id": "0", "title": "t0"}, {"id": "1", "title": "t1"}]
    assert "Table products: 'Title' is taken for 'title' in rows that have nothing there." in notes


def test_a_column_that_is_nearly_one_of_the_tables_is_told(tmp_path: Path) -> None:
    path = _file(tmp_path / "p.csv", "id,titel,colour\n1,a,red\n")
    for keep_extra in (True, False):
        notes = _rows("products", path, keep_extra=keep_extra)[1]
        assert any("'titel' is close to it; --map products.title=titel takes it" in note for note in notes)
        assert any("--map products.color=colour takes it" in note for note in notes)
    assert _rows("products", path, Choices({"products.title": "titel"}, drop=["products.colour"]))[1] == []
    notes = _rows("products", path, Choices({"products.titel": "colour"}))[1]
    assert any("'titel' is no column that the table knows" in note and "mean 'title'" in note for note in notes)


def test_currencies_and_decimal_commas_are_told(tmp_path: Path) -> None:
    path = _file(tmp_path / "p.csv", "id;price\n1;1.299,00 €\n2;5,50 EUR\n")
    rows, notes = _rows("products", path)
    assert [row["price"] for row in rows] == [1299, 5.5]
    assert any("read with semicolons between cells" in note for note in notes)
    assert any("'price' are read with a decimal comma" in note for note in notes)
    assert any("€ (1), EUR (1). They are not converted into one." in note for note in notes)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(("unit", "size"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_times_that_count_are_read_with_their_unit_and_name_it_otherwise(
    tmp_path: Path, suffix: str, unit: str, size: int
) -> None:
    number, path = 1_709_294_400 * size, tmp_path / f"log{suffix}"
    if suffix == ".csv":
        path.write_text(f"query,entity_id,timestamp\nmug,1,{number}\n")
    elif suffix == ".jsonl":
        _file(path, [{"query": "mug", "entity_id": 1, "timestamp": number}])
    else:
        pq.write_table(pa.table({"query": ["mug"], "entity_id": [1], "timestamp": [number]}), path)
    rows, notes = _rows("engagements", path, constants=CLICK, time_unit=unit)
    assert (rows[0]["timestamp"], rows[0]["entity_id"], notes) == (NOON, "1", [])
    for other in {"s", "ms", "us", "ns"} - {unit}:
        with pytest.raises(DataError, match=f"row 1: .*say --time-unit {unit}"):
            _rows("engagements", path, constants=CLICK, time_unit=other)


def test_times_that_no_log_has_are_told(tmp_path: Path) -> None:
    path = _file(tmp_path / "log.csv", "query,entity_id,timestamp\nmug,1,2024-03-01\ncup,1,2099-01-01\n")
    _, notes = _rows("engagements", path, constants=CLICK)
    assert notes == [
        "Table engagements: 1 times in 'timestamp' are years in the future, first 2099-01-01 00:00 in row 2: check "
        "--time-unit (it is s)."
    ]


@pytest.mark.parametrize("blank", ["", "  ", '""', "\t"])
def test_blank_queries_are_all_refused_alike_and_left_out_when_asked(tmp_path: Path, blank: str) -> None:
    path = _file(
        tmp_path / "log.csv", f"query,entity_id,timestamp\nmug,1,2024-03-01\n{blank},2,soon\ncup,3,2024-03-01\n"
    )
    with pytest.raises(DataError, match=r"row 2: .*--skip-rows-without engagements\.query"):
        _rows("engagements", _file(tmp_path / "x.csv", path.read_text().replace("soon", "2024-03-01")), constants=CLICK)
    rows, notes = _rows("engagements", path, Choices(constants=CLICK, skip_rows_without=["engagements.query"]))
    assert [row["entity_id"] for row in rows] == ["1", "3"]
    assert "Table engagements: 1 rows without 'query' were left out." in notes
    # what stands after the row that was left out is still named by its row in the file
    bad = _file(tmp_path / "y.csv", path.read_text() + "pan,,2024-03-01\n")
    with pytest.raises(DataError, match="column 'entity_id', row 4"):
        _rows("engagements", bad, Choices(constants=CLICK, skip_rows_without=["engagements.query"]))


def test_rows_whose_time_cannot_be_read_are_left_out_by_the_options_that_the_message_names(tmp_path: Path) -> None:
    path = _file(tmp_path / "log.csv", "query,entity_id,timestamp\nmug,1,0000-00-00 00:00:00\ncup,2,2024-03-01\n")
    said = "row 1: '0000-00-00 00:00:00' is not a time such as .*; .*--empty-if-unreadable {0} --skip-rows-without {0}"
    with pytest.raises(DataError, match=said.format(r"engagements\.timestamp")):
        _rows("engagements", path, constants=CLICK)
    target = ["engagements.timestamp"]
    rows, notes = _rows(
        "engagements", path, Choices(constants=CLICK, empty_if_unreadable=target, skip_rows_without=target)
    )
    assert [row["query"] for row in rows] == ["cup"]
    assert notes[0] == "Table engagements: 1 rows without 'timestamp' were left out."


def test_an_import_that_leaves_out_every_row_is_refused(tmp_path: Path) -> None:
    path = _file(tmp_path / "p.csv", "id,title\n,a\n,b\n")
    with pytest.raises(DataError, match="holds no rows after 2 were left out"):
        _rows("products", path, Choices(skip_rows_without=["products.id"]))
    assert not (tmp_path / "out").exists()


def test_the_first_row_of_each_id_is_kept_when_asked(tmp_path: Path) -> None:
    path = _file(tmp_path / "p.csv", "id,title\na,A\na,\nb,B\na,C\n")
    with pytest.raises(DataError, match="row 2: the id 'a' stands in row 1 too; keep one, or .*--keep-first products"):
        _rows("products", path)
    rows, notes = _rows("products", path, Choices(keep_first=["products"]))
    assert rows == [{"id": "a", "title": "A"}, {"id": "b", "title": "B"}]
    assert notes == ["Table products: 2 rows whose 'id' stands in an earlier row were left out."]


def test_a_column_that_nobody_asked_for_never_stops_an_import(tmp_path: Path) -> None:
    # these names have a type in other tables
    path = _file(
        tmp_path / "j.csv",
        "query,entity_id,entity_type,grade,timestamp,price,pinsage,interests,position\n"
        "mug,1,pin,1,1260759144,cheap,a b,x,first\nmug,2,pin,0,851868750,dear,,,\n",
    )
    rows, notes = _rows("judgments", path)
    assert set(rows[0]) == {"query", "entity_id", "entity_type", "grade", "timestamp", "interests"}
    assert rows[0]["timestamp"].year == 2009
    left = [note for note in notes if "was left out, as" in note]
    assert [note.split("'")[1] for note in left] == ["price", "pinsage", "position"]
    assert "row 1: 'cheap' is not a finite number" in left[0]


def test_objects_without_a_field_are_kept_as_text_or_left_out_and_told(tmp_path: Path) -> None:
    path = _file(tmp_path / "p.jsonl", [{"id": "1", "details": {}, "sizes": [{}]}, {"id": "2", "details": {}}])
    assert _rows("products", path)[0] == [
        {"id": "1", "details": "{}", "sizes": "[{}]"},
        {"id": "2", "details": "{}", "sizes": None},
    ]
    table = pa.table({"id": ["1", "2"], "details": pa.array([{}, {}], pa.struct([]))})
    path = tmp_path / "p.arrow"
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    rows, notes = _rows("products", path)
    assert rows == [{"id": "1"}, {"id": "2"}]
    assert notes[0] == "Table products: the column 'details' was left out, as Parquet cannot hold its struct<>."


def test_a_header_of_many_or_odd_names_is_one_line_of_a_message(tmp_path: Path) -> None:
    names = ['"a\nb"', "\x1b[31mred", "x" * 500, *(f"c{number}" for number in range(5_000))]
    path = _file(tmp_path / "p.csv", ",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    with pytest.raises(DataError, match=r"has no column 'id': it has a\?b, \?\[31mred, xxx.* and 4,963 more") as caught:
        _rows("products", path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1_000


def test_any_known_column_can_be_left_out(tmp_path: Path) -> None:
    path = _file(tmp_path / "p.csv", "id,title,price,note\n1,a,x,y\n")
    choices = Choices(drop=["products.price", "products.note", "products.title"])
    assert _rows("products", path, choices)[0] == [{"id": "1"}]
    with pytest.raises(DataError, match="no column 'id'"):
        _rows("products", path, Choices(drop=["products.id"]))


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        (Choices(drop=["products.pirce"]), "--drop products.pirce names no column .*; did you mean 'price'"),
        (Choices(drop=["price"]), "'price' does not name a column as TABLE.COLUMN"),
        (Choices(drop=["pins.title"]), "of the table 'pins', which is not given"),
        (Choices(mapping={"products.title": "price"}, drop=["products.title"]), "both left out and mapped"),
        (Choices(skip_rows_without=["products.brand"]), "--skip-rows-without products.brand names no column"),
        (Choices(empty_if_unreadable=["products.brand"]), "--empty-if-unreadable products.brand names no column"),
        (Choices(keep_first=["product"]), "Unknown table 'product'"),
        (Choices(keep_first=["pins"]), "--keep-first names the table 'pins', which is not given"),
        (Choices(values={"products.kind": {"a": "b"}}), "--value products.kind names no column"),
    ],
)
def test_wrong_choices_are_named_with_the_nearest_name(tmp_path: Path, choices: Choices, said: str) -> None:
    path = _file(tmp_path / "p.csv", "id,title,price\n1,a,2\n")
    with pytest.raises(SettingError, match=said):
        _rows("products", path, choices)


def test_lists_in_a_column_of_text_become_the_texts_joined(tmp_path: Path) -> None:
    path = _file(
        tmp_path / "p.jsonl",
        [
            {"id": 1, "title": ["A mug.", "", "For coffee."], "description": '["a", "b"]', "caption": []},
            {"id": 2, "title": ["Pan"], "description": "[sic] a text", "caption": ["c"]},
        ],
    )
    assert _rows("products", path)[0] == [
        {"id": "1", "title": "A mug. For coffee.", "description": "a b", "caption": None},
        {"id": "2", "title": "Pan", "description": "[sic] a text", "caption": "c"},
    ]
    mixed = _file(tmp_path / "m.jsonl", [{"id": "1", "title": ["A", "B"]}, {"id": "2", "title": "C"}])
    assert [row["title"] for row in _rows("products", mixed)[0]] == ["A B", "C"]


def test_html_is_taken_out_told_and_kept_when_asked(tmp_path: Path) -> None:
    path = _file(
        tmp_path / "p.csv", "id,title,description,link_domain\n1,A &amp; B,<p>x</p>,a&amp;b\n2,I <3 it,plain,\n"
    )
    rows, notes = _rows("products", path)
    assert [(row["title"], row["description"]) for row in rows] == [("A & B", "x"), ("I <3 it", "plain")]
    assert rows[0]["link_domain"] == "a&amp;b"  # no text for people
    assert notes == [
        "Table products: HTML was taken out of 1 cells of 'title'; --keep-html keeps it.",
        "Table products: HTML was taken out of 1 cells of 'description'; --keep-html keeps it.",
    ]
    assert _rows("products", path, keep_html=True)[0][0]["description"] == "<p>x</p>"


def test_events_of_ones_own_names_become_actions(tmp_path: Path) -> None:
    path = _file(tmp_path / "log.csv", "query,entity_id,entity_type,action,timestamp\na,1,pin,buy,2024-03-01\n")
    with pytest.raises(DataError, match=r"'buy' is not one of save.*--value engagements\.action:buy=VALUE"):
        _rows("engagements", path)
    rows, _ = _rows("engagements", path, Choices(values={"engagements.action": {"buy": "checkout"}}))
    assert rows[0]["action"] == "checkout"


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("sep=;\r\nid;title\r\n1;Caf\xe9\r\n".encode("cp1252"), TextOptions()),
        ("id|title\n1|Caf\xe9\n".encode(), TextOptions()),
        ("id\ttitle\n1\tCaf\xe9\n".encode("utf-16"), TextOptions()),
        ("id:title\n1:Caf\xe9\n".encode("latin-1"), TextOptions(delimiter=":", encoding="latin-1")),
        ("'id' 'title'\n1 'Caf\xe9'\n".encode(), TextOptions(delimiter="space", quote="'")),
    ],
)
def test_csv_of_any_dialect_is_read(tmp_path: Path, content: bytes, options: TextOptions) -> None:
    (tmp_path / "p.csv").write_bytes(content)
    rows, notes = _rows("products", tmp_path / "p.csv", text=options)
    assert rows == [{"id": "1", "title": "Caf\xe9"}]
    assert "p.csv is read with" in notes[0]


@pytest.mark.parametrize("options", [{"delimiter": "::"}, {"encoding": "klingon"}, {"quote": ""}, {"decimal": "ab"}])
def test_impossible_signs_are_refused(tmp_path: Path, options: dict[str, str]) -> None:
    with pytest.raises(SettingError):
        _rows("products", _file(tmp_path / "p.csv", "id,title\n1,a\n"), text=TextOptions(**options))


def test_qrels_among_tables_are_shown_their_command(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"omnifeat import qrels .*q\.txt"):
        _rows("judgments", _file(tmp_path / "q.txt", "q1 0 d1 2\n"))


def test_another_encoding_that_was_guessed_shows_a_word(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes("id,title\n1,Детская лопатка\n".encode("cp1251"))
    said = "A word of it reads 'Äåòñêàÿ': if that is none, name the file's encoding with --encoding NAME."
    assert any(said in note for note in _rows("products", path)[1])
    rows, notes = _rows("products", path, text=TextOptions(encoding="cp1251"))
    assert rows[0]["title"] == "Детская лопатка"
    assert not any("A word of it" in note for note in notes)


@pytest.mark.parametrize("name", ["idna", "punycode", "base64", "unicode_escape", "undefined", "rot13", "zlib"])
def test_what_is_no_encoding_of_files_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingError, match="give .*one|give an encoding"):
        _rows("products", _file(tmp_path / "p.csv", "id,title\n1,a\n"), text=TextOptions(encoding=name))


def test_text_that_is_not_utf8_names_the_option(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(b"id,title\n" + b"1,a\n" * 20_000 + b"2,caf\xe9\n")
    with pytest.raises(DataError, match="save the file as UTF-8, or name its encoding with --encoding NAME"):
        _rows("products", path)
    with pytest.raises(DataError, match="is not ascii text.*--encoding NAME"):
        _rows("products", path, text=TextOptions(encoding="ascii"))


def test_a_tab_may_be_written_as_programs_do(tmp_path: Path) -> None:
    path = _file(tmp_path / "p.csv", "id\ttitle\n1\ta\n")
    assert _rows("products", path, text=TextOptions(delimiter="\\t"))[0] == [{"id": "1", "title": "a"}]


def test_a_cell_that_goes_on_after_its_quote_names_the_imports_own_options(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="or say --escape or --quote where quotes are escaped otherwise") as raised:
        _rows("products", _file(tmp_path / "p.csv", 'id,title\n1,"a" b\n2,c\n'))
    assert "import table" not in str(raised.value)


def test_quoted_cells_below_a_header_without_quotes_are_told(tmp_path: Path) -> None:
    path = _file(tmp_path / "p.tsv", 'id\ttitle\n1\t"plain"\n2\t24" board\n')
    rows, notes = _rows("products", path)
    assert [row["title"] for row in rows] == ['"plain"', '24" board']
    assert any('Cells such as "plain" keep their quotes' in note for note in notes)
    assert not any("keep their quotes" in note for note in _rows("products", _file(path, 'id\ttitle\n2\t24" b\n'))[1])


def test_a_lone_file_in_a_partitions_folder_tells_the_column_that_it_has_not(tmp_path: Path) -> None:
    folder = tmp_path / "country=de"
    folder.mkdir()
    (folder / "a.csv").write_text("id,title\n1,a\n")
    assert any(
        "give the folder above it to have a column 'country'" in n for n in _rows("products", folder / "a.csv")[1]
    )
    assert _rows("products", tmp_path)[0] == [{"id": "1", "title": "a", "country": "de"}]
    folder = tmp_path / "x" / "id=7"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("title\na\n")
    with pytest.raises(DataError, match="a folder's name gives 'id': give the folder above it"):
        _rows("products", folder / "a.csv")


def test_a_pipe_is_no_table(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.csv")
    with pytest.raises(DataError, match="is a pipe or a device, which cannot be read twice"):
        _rows("products", tmp_path / "p.csv")


@pytest.mark.parametrize(
    ("suffix", "text"), [(".jsonl", '{"id": "1'), (".json", '[{"id": "1'), (".jsonl", '{"a": "\t"}')]
)
def test_messages_on_json_say_each_word_once(tmp_path: Path, suffix: str, text: str) -> None:
    with pytest.raises(
        DataError, match=r"is not JSON \((Unterminated string|Invalid control character)( at character|\))"
    ):
        _rows("products", _file(tmp_path / f"p{suffix}", text))
