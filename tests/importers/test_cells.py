"""Cells as spreadsheets and databases write them: told or refused, never kept without a word."""

from pathlib import Path
from shlex import quote
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnifeat.data.dataset import Dataset
from omnifeat.errors import DataError, SettingError
from omnifeat.importers import import_table
from omnifeat.importers.reading import TextOptions
from omnifeat.importers.table_plan import Choices

CLICK = {"engagements.entity_type": "product", "engagements.action": "click"}


def _products(tmp_path: Path, content: str, **more: Any) -> tuple[list[dict[str, Any]], list[str]]:
    path = tmp_path / "p.csv"
    path.write_text(content, encoding="utf-8")
    result = import_table({"products": path}, tmp_path / "out", overwrite=True, **more)
    return Dataset.open(tmp_path / "out").read("products").to_pylist(), result.notes


@pytest.mark.parametrize(
    "cell", [" 00123", "00123 ", "'00123", '="00123"', '"=""00123"""', "\u200b00123", "\u00a0'00123\u00a0"]
)
def test_ids_come_out_of_their_wrapping_and_are_counted(tmp_path: Path, cell: str) -> None:
    rows, notes = _products(tmp_path, f"id,title\n{cell},a\n7,b\n")
    assert [row["id"] for row in rows] == ["00123", "7"]
    assert any("1 ids in 'id' were taken out of their wrapping" in note and "'00123' now" in note for note in notes)


@pytest.mark.parametrize("cell", ["1E+12", "1.23457E+12", '"1,23457E+12"', "4.0e+11"])
def test_ids_that_a_spreadsheet_cut_are_refused(tmp_path: Path, cell: str) -> None:
    with pytest.raises(DataError, match=r"column 'id', row 2: '.*' is not an id \(a spreadsheet cut its digits off"):
        _products(tmp_path, f"id,title\n7,b\n{cell},a\n")
    assert not (tmp_path / "out").exists()
    assert _products(tmp_path, "id,title\n1E5,b\n12-E+3,a\n")[0][0]["id"] == "1E5"


def test_ids_that_are_one_out_of_their_wrapping_are_doubled(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 2: the id '1' stands in row 1 too"):
        _products(tmp_path, "id,title\n1,b\n 1,a\n")


def test_queries_keep_what_was_typed(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text("query\n'n sync\n1E+12\n", encoding="utf-8")
    import_table({"queries": path}, tmp_path / "out")
    assert Dataset.open(tmp_path / "out").read("queries")["query"].to_pylist() == ["'n sync", "1E+12"]


def test_hives_null_is_nothing_and_told(tmp_path: Path) -> None:
    rows, notes = _products(tmp_path, "id,title,price,own\n1,\\N,\\N,\\N\n2,b,1.5,x\n")
    assert rows[0] == {"id": "1", "title": None, "price": None, "own": None}
    assert "Table products: cells of 'title' were read as nothing: '\\\\N' (1)." in notes
    with pytest.raises(DataError, match="row 1: there is no value, but 'products.id' must have one"):
        _products(tmp_path, "id,title\n\\N,a\n")


@pytest.mark.parametrize("word", ["NULL", "null", "NaN", "nan", "<NA>", "None"])
def test_words_for_nothing_stay_and_are_told_with_the_option_that_takes_them(tmp_path: Path, word: str) -> None:
    content = f"id,title\n1,{word}\n{word},b\n"
    rows, notes = _products(tmp_path, content)
    assert (rows[0]["title"], rows[1]["id"]) == (word, word)
    for column in ("id", "title"):
        said = f"cells of '{column}' hold the words '{word}' (1); --null-word {quote(word)} takes them for nothing."
        assert f"Table products: {said}" in notes
    rows, notes = _products(
        tmp_path, content, text=TextOptions(null_words=(word,)), choices=Choices(skip_rows_without=["products.id"])
    )
    assert rows == [{"id": "1", "title": None}]
    assert any(f"cells of 'title' were read as nothing: '{word}' (1)" in note for note in notes)


def test_a_word_for_nothing_among_numbers_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'NULL' is not a finite number \(say --null-word NULL if it stands for noth"):
        _products(tmp_path, "id,price\n1,NULL\n")
    assert _products(tmp_path, "id,price\n1,NULL\n", text=TextOptions(null_words=("NULL",)))[0][0]["price"] is None


def test_nan_is_no_price_in_any_format(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["1", "2"], "price": [float("nan"), 2.0]}), tmp_path / "p.parquet")
    (tmp_path / "p.jsonl").write_text('{"id": "1", "price": NaN}\n{"id": "2", "price": 2.0}\n')
    for name in ("p.parquet", "p.jsonl"):
        result = import_table({"products": tmp_path / name}, tmp_path / "out", overwrite=True)
        assert Dataset.open(tmp_path / "out").read("products")["price"].to_pylist() == [None, 2.0]
    result = import_table({"products": tmp_path / "p.parquet"}, tmp_path / "out", overwrite=True)
    assert "Table products: 1 values of 'price' are NaN and were read as nothing." in result.notes


def _log(tmp_path: Path, ids: list[str], catalogue: list[str], kind: str = "product") -> list[str]:
    rows = [f"mug,{one},{kind},click,2024-03-01T12:00:00" for one in ids]
    (tmp_path / "log.csv").write_text("\n".join(["query,entity_id,entity_type,action,timestamp", *rows, ""]))
    (tmp_path / "p.csv").write_text("\n".join(["id,title", *(f"{one},t" for one in catalogue), ""]))
    tables = {"engagements": tmp_path / "log.csv", "products": tmp_path / "p.csv"}
    return import_table(tables, tmp_path / "out", overwrite=True).notes


@pytest.mark.parametrize(
    ("ids", "catalogue", "said"),
    [
        (["11", "12"], ["00011", "00012"], "'11'.*'00011'; they differ in how whole numbers are written"),
        (["SKU-1"], ["sku-1"], "letter case"),
        (["a"], ["b"], "check that both are of the same catalogue"),
    ],
)
def test_a_log_that_shares_no_id_with_the_catalogue_is_refused(
    tmp_path: Path, ids: list[str], catalogue: list[str], said: str
) -> None:
    with pytest.raises(DataError, match=f"^No entity_id of the table engagements stands in the table products.*{said}"):
        _log(tmp_path, ids, catalogue)
    assert not (tmp_path / "out").exists()
    assert _log(tmp_path, ids, catalogue, kind="pin") == []


def test_ids_that_the_catalogue_lacks_are_counted_with_both_writings(tmp_path: Path) -> None:
    notes = _log(tmp_path, ["7", "11.0", "11.0", "99"], ["7", "11"])
    assert notes == [
        "Table engagements: 3 of 4 rows name 2 products that the table 'products' lacks, such as '11.0', where "
        "'products' has '11' (they differ in how whole numbers are written ('11.0' is no '11'): write the column as "
        "text or as whole numbers)."
    ]
    assert _log(tmp_path, ["7"], ["7", "11"]) == []
    # blanks around an id stand between no two tables
    assert not any("lacks" in note for note in _log(tmp_path, [" 7", "'11"], ["7", '="11"']))


@pytest.mark.parametrize(
    ("cell", "look"),
    [
        ("2024030112", "a day and an hour: write 2024-03-01T12:00"),
        ("202403", "a year and a month: write 2024-03-01"),
        ("202403011230", "a day, an hour and a minute: write 2024-03-01T12:30"),
        ("2024", "a year: write 2024-01-01"),
        ("45352", "a spreadsheet's number for 2024-03-01"),
        ('"45352,5"', "a spreadsheet's number for 2024-03-01"),
        ("45352.5", "a spreadsheet's number for 2024-03-01"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_numbers_that_count_nothing_are_refused_with_what_they_look_like(
    tmp_path: Path, cell: str, look: str, suffix: str
) -> None:
    path = tmp_path / f"log{suffix}"
    if suffix == ".csv":
        path.write_text(f"query,entity_id,timestamp\nmug,1,2024-03-01\nmug,1,{cell}\nmug,2,{cell}\n")
    else:
        number = float(cell) if "." in cell else int(cell) if cell.isdigit() else cell.strip('"')
        pq.write_table(pa.table({"query": ["mug"], "entity_id": ["1"], "timestamp": [number]}), path)
    for unit in ("s", "ms"):
        with pytest.raises(
            DataError, match=rf"{cell.strip(chr(34))}'? is not a time such as .* \(it looks like {look}"
        ):
            import_table({"engagements": path}, tmp_path / "out", constants=CLICK, time_unit=unit)


def test_an_unknown_action_counts_the_others_and_a_strange_value_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    names = ["page_view"] * 3 + ["click", "scroll;x", "scroll;x", "first_visit"]
    path.write_text("query,entity_id,timestamp,action\n" + "".join(f"mug,1,2024-03-01,{name}\n" for name in names))
    fixed = {"engagements.entity_type": "product"}
    with pytest.raises(
        DataError, match=r"'page_view' is not one of .*'page_view' \(3\), 'scroll;x' \(2\), 'first_visit'"
    ):
        import_table({"engagements": path}, tmp_path / "out", constants=fixed)
    lenient = ["engagements.action"]
    choices = Choices(constants=fixed, empty_if_unreadable=lenient, skip_rows_without=lenient)
    notes = import_table({"engagements": path}, tmp_path / "out", choices=choices).notes
    assert any("6 values of 'action' that cannot be read were left empty: 'page_view' (3), 'scroll;x' (2), " in note
               for note in notes)  # fmt: skip
    choices = Choices(constants=fixed, values={"engagements.action": {"page_view": "clik"}})
    with pytest.raises(SettingError, match="--value engagements.action:page_view=clik: .*did you mean 'click'"):
        import_table({"engagements": path}, tmp_path / "out", choices=choices)


def test_a_log_of_unknown_actions_alone_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("query,entity_id,timestamp,action\n" + "mug,1,2024-03-01,scroll\n" * 3 + "mug,1,2024-03-01,view\n")
    lenient = ["engagements.action"]
    fixed = {"engagements.entity_type": "product"}
    choices = Choices(constants=fixed, empty_if_unreadable=lenient, skip_rows_without=lenient)
    with pytest.raises(
        DataError, match=r"no rows after 4 were left out \('action' holds 'scroll' \(3\), 'view' \(1\): say"
    ):
        import_table({"engagements": path}, tmp_path / "out", choices=choices)


def test_a_value_with_a_semicolon_is_told_whole(tmp_path: Path) -> None:
    _, notes = _products(tmp_path, 'id,price\n1,"5; 6"\n', choices=Choices(empty_if_unreadable=["products.price"]))
    assert any("first" in note and "'5; 6' is not a finite number" in note for note in notes)


def test_each_row_has_the_first_value_that_one_of_several_columns_has(tmp_path: Path) -> None:
    text = "Handle,Product Category,Type,title\na,,Mug,x\nb,Kitchen,Pot,y\nc, ,,z\n"
    choices = Choices({"products.id": "Handle"}, {"products.product_type": ["Product Category", "TYPE"]})
    rows, _ = _products(tmp_path, text, choices=choices, keep_extra=False)
    assert [row["product_type"] for row in rows] == ["Mug", "Kitchen", None]
