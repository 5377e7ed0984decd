"""How files of cells are written: told from the first lines, refused where a dataset's reader must not guess."""

import csv as python_csv
import gzip
import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnifeat.data.csv_files import CsvReader
from omnifeat.data.dialects import TextDialect, guess_dialect, plain_numbers
from omnifeat.data.files import TableWriter, iter_batches, read_schema, read_table
from omnifeat.data.locations import file_format, locate
from omnifeat.errors import DataError, SettingError


def write(tmp_path: Path, text: str | bytes, name: str = "t.csv") -> Path:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return tmp_path / name


def guessed(path: Path) -> TextDialect:
    return guess_dialect(locate(path), file_format(path.name))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,title\n1,a\n", TextDialect()),
        ("id;title;price\n1;Tisch, rund;49,90\n2;b;1.249,00\n", TextDialect(";", decimal=",", thousands=".")),
        ("\ufeffid;title\r\n1;a\r\n", TextDialect(";")),
        ("Name, Vorname;Preis;Ort\na;4,50;x\nb;5,50;y\n", TextDialect(";", decimal=",")),
        ("sep=;\nid;title\n1;a\n", TextDialect(";", skip_lines=1)),
        ('"sep=|"\r\nid|title\r\n1|a\r\n', TextDialect("|", skip_lines=1)),
        ("id\ttitle\n1\ta, b\n", TextDialect("\t")),
        ("id|title\n1|a\n", TextDialect("|")),
        ('id,title\n1,"a \\"b\\", c"\n', TextDialect(escape="\\")),
        ('id,title\n1,"C:\\"\n', TextDialect()),
        ('id,n\n1,"1,234,567.50"\n', TextDialect(thousands=",")),
        ('id,n\n1,"1,234"\n', TextDialect()),  # either of two numbers
        ("id,title\n1,Caf\u00e9\n".encode("cp1252"), TextDialect(encoding="windows-1252")),
        ("id,title\n1,Caf\u00e9\n".encode("utf-16"), TextDialect(encoding="utf-16")),
        ("id\ttitle\n1\tCaf\u00e9\n".encode("utf-16-le"), TextDialect("\t", encoding="utf-16-le")),
        ("id\n1\n", TextDialect()),
        ("", TextDialect()),
        ("id,title\n1,a;b\n2,c;d;e\n", TextDialect()),
    ],
)
def test_the_first_lines_tell_how_a_file_is_written(tmp_path: Path, text: str | bytes, expected: TextDialect) -> None:
    assert guessed(write(tmp_path, text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        'id;title;price\r\n7;Café \u201cx\u201d;1.249,50\r\n8;"a;""b""";0,5\r\n',
        'sep=;\r\nid;title;price\r\n7;Café \u201cx\u201d;1.249,50\r\n8;"a;""b""";0,5\r\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_what_was_guessed_is_read(tmp_path: Path, text: str, encoding: str) -> None:
    path = write(tmp_path, text.encode(encoding))
    rows = [
        {"id": "7", "title": "Café \u201cx\u201d", "price": 1249.5},
        {"id": "8", "title": 'a;"b"', "price": 0.5},
    ]
    assert next(iter_batches(path, dialect=guessed(path))).to_pylist() == rows
    # of a name that no table knows, the values say that it holds numbers
    assert read_schema(path, dialect=guessed(path), by_name=False).field("price").type == pa.float64()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id;title\n1;a\n", "has semicolons between its cells"),
        ("id|title\n1|a\n", "has bars between its cells"),
        ("sep=;\nid;title\n", "begins with Excel's line 'sep=;'"),
        ("id,title\n1,a\n".encode("utf-16"), "is UTF-16, not UTF-8 text"),
        ("id,title\n1,Caf\u00e9\n".encode("cp1252"), "row 1, column 'title' is not UTF-8 text"),
        ('id,title\n1,"a \\"b\\", c"\n', "line 2: a cell goes on after its closing quote"),
        ("id,ti\0tle\n1,a\n", "the header holds a NUL"),
    ],
)
def test_a_datasets_file_is_not_guessed_but_refused(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_table(write(tmp_path, text))


def test_a_stray_quote_never_swallows_lines(tmp_path: Path) -> None:
    rows = [f"{number},Cup {number},x" for number in range(9)]
    for place, cell in [(1, '1,"Cup,x'), (1, '1,"Cup" 5,x'), (1, '1,Cup,"x')]:
        for closing in ['7,"Pan",x', '7,Pan 24",x', '7,Pan,12"']:
            lines = [*rows[:place], cell, *rows[place + 1 : 7], closing, rows[8]]
            with pytest.raises(DataError, match=r"t\.csv, line \d"):
                read_table(write(tmp_path, "id,title,n\n" + "\n".join(lines) + "\n"))
    # a quote within a cell is one of its characters, and a quoted cell may go on over lines
    text = 'id,title,n\n1,24" monitor,x\n2,"two\nlines, and ""more""",x\n'
    assert read_table(write(tmp_path, text))["title"].to_pylist() == ['24" monitor', 'two\nlines, and "more"']


def test_quotes_over_the_bounds_of_what_is_read_at_once(tmp_path: Path) -> None:
    # a quote lies at each place around the ends of chunks of some size
    for width in range(1, 40):
        text = "id,title\n" + f'1,"{"x" * width}""y"\n' * 2_000
        assert read_table(write(tmp_path, text)).num_rows == 2_000


def test_two_columns_of_one_name_are_refused_only_where_they_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, "id,x,title,x\n1,a,Cup,b\n")
    assert read_table(path, ["id", "title"]).to_pylist() == [{"id": "1", "title": "Cup"}]
    for columns in (None, ["x"]):
        with pytest.raises(DataError, match=r"t\.csv has two columns named 'x'"):
            read_table(path, columns)


def test_a_quote_in_tsv_is_a_character_like_any_other(tmp_path: Path) -> None:
    path = write(tmp_path, 'id\ttitle\n1\t"Cup\n2\t24" monitor\n3\t"exact phrase"\n4\t"24"" pan"\n5\t""\n', "t.tsv")
    assert read_table(path)["title"].to_pylist() == ['"Cup', '24" monitor', '"exact phrase"', '24" pan', ""]


def test_wrong_dialects_are_refused() -> None:
    for wrong in ({"delimiter": ""}, {"delimiter": "::"}, {"quote": "\n"}, {"delimiter": '"'}, {"encoding": "utf-99"}):
        with pytest.raises(SettingError):
            TextDialect(**wrong)
    with pytest.raises(SettingError, match="decimal sign"):
        TextDialect(decimal=",", thousands=",")


def test_numbers_of_every_writing_are_plain() -> None:
    german = TextDialect(";", decimal=",", thousands=".")
    texts = pa.array(["1.234.567,5", "12,5", "7", None])
    assert plain_numbers(texts, german).to_pylist() == ["1234567.5", "12.5", "7", None]
    assert plain_numbers(pa.array(["1,234,567.5"]), TextDialect(thousands=",")).to_pylist() == ["1234567.5"]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
ODD = st.text(st.sampled_from(list("ab,\t\n\r\"\\' ;|")), max_size=6)


@given(rows=st.lists(st.tuples(st.one_of(CELLS, ODD, st.none()), st.one_of(CELLS, ODD, st.none())), min_size=1))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str, rows: list) -> None:
    table = pa.table(
        {
            "title": pa.array([one for one, _ in rows], pa.string()),
            "brand": pa.array([two for _, two in rows], pa.string()),
        }
    )
    path = tmp_path / f"t.{suffix}"
    path.unlink(missing_ok=True)
    with TableWriter(path, table.schema) as writer:
        writer.write(table)
    assert read_table(path).equals(table)


@given(rows=st.lists(st.lists(st.one_of(CELLS, ODD), min_size=3, max_size=3), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_pythons_csv_writes_is_read_or_refused(tmp_path: Path, rows: list) -> None:
    text = io.StringIO(newline="")
    python_csv.writer(text).writerows([["title", "brand", "color"], *rows])
    path = write(tmp_path, text.getvalue())
    try:
        found = read_table(path)
    except DataError as error:
        # only what may be taken for swallowed rows
        assert "what look like rows" in str(error)  # noqa: PT017
        return
    assert [[value or "" for value in row.values()] for row in found.to_pylist()] == rows


def test_a_reader_counts_rows_beside_doubled_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "x,x\n1,2\n")
    with pytest.raises(DataError, match="two columns named 'x'"):
        CsvReader(locate(path), file_format(path.name)).count_rows()


@pytest.mark.parametrize("header", ["id,title", '"id","title"', "id,title\n"])
def test_a_mark_of_byte_order_is_no_part_of_the_header(tmp_path: Path, header: str) -> None:
    path = write(tmp_path, f'\ufeff{header}\n1,"a ""b"""\n')
    for dialect in (None, guessed(path)):
        assert next(iter_batches(path, dialect=dialect)).to_pylist() == [{"id": "1", "title": 'a "b"'}]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.json"])
def test_files_under_the_name_of_another_format_are_told(tmp_path: Path, name: str) -> None:
    for data, said in [
        (gzip.compress(b"id\n1\n"), "gzip data"),
        (b"PAR1xx", "Parquet"),
        (b"PK\x03\x04", "a ZIP archive"),
    ]:
        with pytest.raises(DataError, match=rf"{name} holds {said}"):
            read_table(write(tmp_path, data, name))
