"""The published form: two Parquet files, written by pandas, and the sources' CSV."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnifeat.data.dataset import Dataset

Imported = Callable[..., tuple[dict[str, Any], Dataset]]
Refused = Callable[..., str]
Row = dict[str, Any]

PRODUCTS = [
    ("B01", "Copper <b>sink</b>", "<p>For the\nkitchen &amp; bar</p>", "Solid\nCopper", "Acme", "Copper", "us"),
    ("B02", "Steel sink", None, None, None, "", "us"),
    ("B01", "Fregadero de cobre", None, None, "Acme", None, "es"),
    ("B03", "銅のシンク", None, None, None, None, "jp"),
    ("B02", "Steel sink", None, None, None, "", "us"),  # again
]
PRODUCT_COLUMNS = [
    "product_id", "product_title", "product_description", "product_bullet_point", "product_brand", "product_color",
    "product_locale",
]  # fmt: skip
# example, query, query_id, product, locale, label, small, large, split
EXAMPLES = [
    (0, "copper  sink", 10, "B01", "us", "E", 1, 1, "train"),
    (1, "copper  sink", 10, "B02", "us", "S", 1, 1, "train"),
    (2, "#1 sink, no clips", 11, "B02", "us", "I", 0, 1, "test"),
    (3, "fregadero", 12, "B01", "es", "C", 1, 1, "test"),
    (4, "copper sink", 13, "B01", "es", "E", 0, 1, "test"),
    (5, "シンク", 14, "B03", "jp", "E", 1, 1, "train"),
    (6, "copper  sink", 10, "B02", "us", "S", 1, 1, "train"),  # again
]
EXAMPLE_COLUMNS = [
    "example_id", "query", "query_id", "product_id", "product_locale", "esci_label", "small_version", "large_version",
    "split",
]  # fmt: skip


def write(path: Path, columns: list[str], rows: list[tuple[Any, ...]], **types: pa.DataType) -> None:
    arrays = {name: pa.array([row[place] for row in rows], types.get(name)) for place, name in enumerate(columns)}
    pq.write_table(pa.table(arrays), path, row_group_size=2)


def write_products(folder: Path, rows: list[tuple[Any, ...]]) -> None:
    write(folder / "shopping_queries_dataset_products.parquet", PRODUCT_COLUMNS, rows)


def write_examples(folder: Path, rows: list[tuple[Any, ...]]) -> None:
    write(folder / "shopping_queries_dataset_examples.parquet", EXAMPLE_COLUMNS, rows)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "esci"
    folder.mkdir()
    write_products(folder, PRODUCTS)
    write_examples(folder, EXAMPLES)
    sources = "query_id,source\r\n10,behavioral\n11,negations\n12,other\n13,other\n"
    (folder / "shopping_queries_dataset_sources.csv").write_text(sources)
    return folder


def test_tables(source: Path, imported: Imported) -> None:
    result, dataset = imported("esci", source)
    products = {row["id"]: row for row in dataset.read("products").to_pylist()}
    assert list(products) == ["us:B01", "us:B02", "es:B01", "jp:B03"]
    assert products["us:B01"] == {
        "id": "us:B01", "title": "Copper sink", "description": "For the kitchen & bar", "brand": "Acme",
        "color": "Copper",
        "language": "en", "bullet_points": "Solid Copper", "locale": "us",
    }  # fmt: skip
    assert (products["us:B02"]["color"], products["jp:B03"]["language"]) == (None, "ja")
    judgments = [tuple(row.values()) for row in dataset.read("judgments").to_pylist()]
    assert judgments == [
        ("copper sink", "us:B01", "product", 3.0, "US", "0", "10", "train"),
        ("copper sink", "us:B02", "product", 2.0, "US", "1", "10", "train"),
        ("#1 sink, no clips", "us:B02", "product", 0.0, "US", "2", "11", "test"),
        ("fregadero", "es:B01", "product", 1.0, "ES", "3", "12", "test"),
        ("copper sink", "es:B01", "product", 3.0, "ES", "4", "13", "test"),
        ("シンク", "jp:B03", "product", 3.0, "JP", "5", "14", "train"),
    ]
    queries = [tuple(row.values()) for row in dataset.read("queries").to_pylist()]
    assert queries[0] == ("copper sink", "en", "US", "train", "behavioral")
    assert queries[3] == ("シンク", "ja", "JP", "train", None)
    notes = result["notes"]
    assert "1 products that stand again, equal in all columns, were left out." in notes
    assert "1 judgments that stand again, equal in query, product and label, were left out." in notes
    assert any(note.startswith("1 texts are queries of more than one locale") for note in notes)
    assert any(note.startswith("1 texts are queries of more than one published part") for note in notes)
    assert "engagements" not in result["counts"]


def test_a_locale_a_version_a_part(source: Path, imported: Imported) -> None:
    result, dataset = imported("esci", source, "--locales", "us, es", "--version", "small", "--part", "test")
    assert [tuple(row.values())[:4] for row in dataset.read("judgments").to_pylist()] == [
        ("fregadero", "es:B01", "product", 1.0)
    ]
    assert result["counts"]["products"] == 3
    assert dataset.info.split is None
    assert "1 products and 1 judgments are of locales that were not asked for." in result["notes"]
    # of the six of us and es, two are not in the small version, and three of the others are for training
    assert any(
        "2 judgments are not in the small version, and 3 not in the published part" in n for n in result["notes"]
    )


def test_training_pairs(source: Path, imported: Imported) -> None:
    _, dataset = imported("esci", source, "--pairs", "exact", "--part", "train")
    rows = [(row["query"], row["entity_id"], row["action"]) for row in dataset.read("engagements").to_pylist()]
    assert rows == [("copper sink", "us:B01", "click"), ("シンク", "jp:B03", "click")]
    assert dataset.info.split is not None


def test_without_sources(source: Path, imported: Imported) -> None:
    (source / "shopping_queries_dataset_sources.csv").unlink()
    result, dataset = imported("esci", source)
    assert "source" not in dataset.read("queries").schema.names
    assert any("sources are not known" in note for note in result["notes"])


def test_unknown_products(source: Path, imported: Imported, refused: Refused) -> None:
    write_products(source, PRODUCTS[1:])
    said = refused("esci", source)
    assert "examples.parquet, row 1: 'copper sink' is judged with us:B01, which" in said
    result, _ = imported("esci", source, "--drop-unknown")
    assert "1 judgments of products that the catalogue lacks were left out." in result["notes"]
    assert result["counts"]["judgments"] == 5
    write_products(source, [("X", *PRODUCTS[0][1:]), ("X", *PRODUCTS[2][1:]), ("X", *PRODUCTS[3][1:])])
    assert "None of the 7 judgments is of a product" in refused("esci", source, "--drop-unknown")


def example(place: int, **changes: Any) -> list[tuple[Any, ...]]:
    rows: list[Row] = [dict(zip(EXAMPLE_COLUMNS, row, strict=True)) for row in EXAMPLES]
    rows[place] |= changes
    return [tuple(row.values()) for row in rows]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (example(1, product_locale="de"),
            "examples.parquet, row 2: product_locale is 'de' but must be one of us, es, jp"),
        (example(1, esci_label="exact"), "row 2: esci_label is 'exact' but must be one of E, S, C, I"),
        (example(1, esci_label=None), "row 2: esci_label is None"),
        (example(1, split="dev"), "row 2: split is 'dev'"),
        (example(1, query=" "), "row 2: there is no query"),
        (example(1, product_id=None), "row 2: there is no product_id"),
        (example(1, large_version=None),
            "row 2: there is no large_version"),
        (example(1, large_version=2), "row 2: large_version is '2' but must be one of 0, 1, false, true"),
        (example(6, esci_label="E"),
            "'copper sink' and us:B02 stand in row 2 and, with another label, text or split, in row 7"),
        ([], "has no rows"),
    ],
)  # fmt: skip
def test_bad_examples(source: Path, refused: Refused, rows: list[tuple[Any, ...]], said: str) -> None:
    write_examples(source, rows)
    assert said in refused("esci", source)


@pytest.mark.parametrize("one", ["1", True, 1.0])
def test_versions_of_other_types(source: Path, imported: Imported, refused: Refused, one: Any) -> None:
    kind = type(one)
    rows = [(*row[:7], kind(int(row[7])) if kind is str else kind(row[7]), row[8]) for row in EXAMPLES]
    write_examples(source, rows)
    assert imported("esci", source)[0]["counts"]["judgments"] == 6
    if kind is not bool:
        write_examples(source, [rows[0], (*rows[1][:7], kind(one) * 2 if kind is str else one / 2, rows[1][8])])
        assert "row 2: large_version is '" in refused("esci", source)


def test_bad_products(source: Path, refused: Refused) -> None:
    write_products(source, [*PRODUCTS, ("B01", "Another", None, None, None, None, "es")])
    assert "the product es:B01 stands in row 3 and, with other texts, in row 6" in refused("esci", source)
    write_products(source, [*PRODUCTS, ("", "Another", None, None, None, None, "es")])
    assert "row 6: there is no product_id" in refused("esci", source)
    write_products(source, [(*PRODUCTS[0][:-1], "US")])
    assert "row 1: product_locale is 'US'" in refused("esci", source)
    write_products(source, PRODUCTS[:1])
    assert "has no product of jp" in refused("esci", source, "--locales", "jp")


def test_bad_files(source: Path, refused: Refused) -> None:
    products = source / "shopping_queries_dataset_products.parquet"
    examples = source / "shopping_queries_dataset_examples.parquet"
    content = products.read_bytes()
    products.write_bytes(content[: len(content) // 2])
    assert "products.parquet cannot be read as Parquet" in refused("esci", source)
    # damage within a column's data, where the footer is sound
    products.write_bytes(b"PAR1" + bytes(40) + content[44:])
    assert "products.parquet" in refused("esci", source)
    products.write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "cannot be read as Parquet" in refused("esci", source)
    products.write_bytes(content)
    write(examples, EXAMPLE_COLUMNS[1:], [row[1:] for row in EXAMPLES])
    assert "has no column 'example_id'" in refused("esci", source)
    # text that is no UTF-8: bytes under the name of text, as a careless writer leaves them
    names = pa.array([b"\xff", *(row[1].encode() for row in EXAMPLES[1:])], pa.binary())
    text = pa.StringArray.from_buffers(len(names), *names.buffers()[1:])
    columns = [pa.array([row[place] for row in EXAMPLES]) for place in range(len(EXAMPLE_COLUMNS))]
    pq.write_table(pa.table([columns[0], text, *columns[2:]], names=EXAMPLE_COLUMNS), examples)
    assert "row 1" in (said := refused("esci", source))
    assert "UTF-8" in said
    examples.unlink()
    assert "examples.parquet does not exist" in refused("esci", source)
    (source / "shopping_queries_dataset_sources.csv").write_text("query,source\n1,x\n")
    write_examples(source, EXAMPLES)
    assert "sources.csv has no column 'query_id'" in refused("esci", source)


def test_bad_settings(source: Path, refused: Refused) -> None:
    assert "Unknown locale 'uk'; choose some of: us, es, jp." in refused("esci", source, "--locales", "us,uk")
    assert "named twice" in refused("esci", source, "--locales", "us,us")
    assert "No locale" in refused("esci", source, "--locales", ",")
    assert "Unknown version 'tiny'" in refused("esci", source, "--version", "tiny")
    assert "Unknown part 'dev'" in refused("esci", source, "--part", "dev")
    assert "Unknown pairs 'all'" in refused("esci", source, "--pairs", "all")
    assert "no judgment of jp in the large version and the published part 'test'" in refused(
        "esci", source, "--locales", "jp", "--part", "test"
    )
    assert "No judgment is E" in refused("esci", source, "--version", "small", "--part", "test", "--pairs", "exact")
