"""The published form: three tab-separated files in spite of their names, `category hierarchy` with a blank."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnifeat.data.dataset import Dataset

Imported = Callable[..., tuple[dict[str, Any], Dataset]]
Refused = Callable[..., str]

PRODUCTS = (
    "product_id\tproduct_name\tproduct_class\tcategory hierarchy\tproduct_description\tproduct_features\trating_count\t"
    "average_rating\treview_count\n"
    "0\tsolid wood platform bed\tBeds\tFurniture / Bedroom Furniture / Beds\tgood , deep sleep\t"
    "overallwidth-sidetoside:64.7|color : brown\t15.0\t4.5\t15.0\n"
    '1\t"48"" barn door , ""fawkes"""\tBarn Doors|Interior Doors\tHome Improvement\t\t\t\t\t\n'
    "2\tslow cooker 7 qt .\t\t\t<b>keep</b> warm\tcapacityquarts:7\t100.0\t2.0\t98.0\r\n"
    "0\tsolid wood platform bed\tBeds\tFurniture / Bedroom Furniture / Beds\tgood , deep sleep\t"
    "overallwidth-sidetoside:64.7|color : brown\t15.0\t4.5\t15.0\n"
)
QUERIES = (
    "query_id\tquery\tquery_class\n"
    "0\tplatform bed\tBeds\n"
    '7\t"48"" barn  door"\tBarn Doors\n'
    "8\tdesk for kids tjat ate 10 year old\t\n"
    "9\tplatform bed\tKids Beds\n"
    "0\tplatform bed\tBeds\n"
)
LABELS = (
    "id\tquery_id\tproduct_id\tlabel\n"
    "0\t0\t0\tExact\n"
    "1\t0\t2\tIrrelevant\n"
    "2\t7\t1\tPartial\r\n"
    "3\t9\t0\tPartial\n"
    "1\t0\t2\tIrrelevant\n"
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "wands"
    folder.mkdir()
    for name, text in (("product", PRODUCTS), ("query", QUERIES), ("label", LABELS)):
        (folder / f"{name}.csv").write_text(text, encoding="utf-8", newline="")
    return folder


def test_tables(source: Path, imported: Imported) -> None:
    result, dataset = imported("wands", source)
    first, second, third = dataset.read("products").to_pylist()
    assert first == {
        "id": "0", "title": "solid wood platform bed", "description": "good , deep sleep", "product_type": "Beds",
        "language": "en", "category_hierarchy": "Furniture / Bedroom Furniture / Beds",
        "features": "overallwidth-sidetoside:64.7|color : brown", "rating_count": 15.0, "average_rating": 4.5,
        "review_count": 15.0,
    }  # fmt: skip
    assert second["title"] == '48" barn door , "fawkes"'
    assert (second["description"], second["average_rating"]) == (None, None)
    assert (third["description"], third["product_type"]) == ("keep warm", None)
    judgments = [tuple(row.values()) for row in dataset.read("judgments").to_pylist()]
    assert judgments == [
        ("platform bed", "0", "product", 2.0, "0"),
        ("platform bed", "2", "product", 0.0, "1"),
        ('48" barn door', "1", "product", 1.0, "2"),
        ("platform bed", "0", "product", 1.0, "3"),
    ]
    queries = {row["query"]: row["interests"] for row in dataset.read("queries").to_pylist()}
    assert queries == {
        "platform bed": ["Beds", "Kids Beds"], '48" barn door': ["Barn Doors"], "desk for kids tjat ate 10 year old": []
    }  # fmt: skip
    interests = dataset.read("interests").to_pylist()
    assert [row["interest_id"] for row in interests] == ["Barn Doors", "Beds", "Interior Doors", "Kids Beds"]
    assert {(row["parent_id"], row["level"]) for row in interests} == {(None, 1)}
    assert dataset.read("query_interests").num_rows == 3
    for note in (
        "1 products that stand again, equal in all columns, were left out.",
        "1 queries that stand again, equal in all columns, were left out.",
        "1 queries have the text of an earlier one and are one with it; 1 have no class.",
        "1 labels that stand again, equal in all columns, were left out.",
        "1 pairs of a query and a product are judged more than once; all judgments are kept.",
        "3 classes of queries and 3 of products, 2 of them common, are interests of one level.",
    ):
        assert note in result["notes"]


def test_the_documented_header_and_training_pairs(source: Path, imported: Imported) -> None:
    text = PRODUCTS.replace("category hierarchy", "category_hierarchy")
    (source / "product.csv").write_text(text, encoding="utf-8")
    _, dataset = imported("wands", source, "--pairs", "exact")
    assert dataset.read("products")["category_hierarchy"][0].as_py() == "Furniture / Bedroom Furniture / Beds"
    rows = dataset.read("engagements").to_pylist()
    assert [(row["query"], row["entity_id"], row["timestamp"].year) for row in rows] == [("platform bed", "0", 2000)]


def test_unknown_products_and_queries(source: Path, imported: Imported, refused: Refused) -> None:
    (source / "label.csv").write_text(LABELS + "4\t99\t0\tExact\n5\t0\t77\tExact\n")
    assert "label.csv, row 6 names the query_id 99, which query.csv lacks" in refused("wands", source)
    result, _ = imported("wands", source, "--drop-unknown")
    assert "2 labels of queries or products that the other files lack were left out." in result["notes"]
    (source / "label.csv").write_text("id\tquery_id\tproduct_id\tlabel\n5\t0\t77\tExact\n")
    assert "row 1 names the product 77, which product.csv lacks" in refused("wands", source)
    assert "None of the 1 labels" in refused("wands", source, "--drop-unknown")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("product", PRODUCTS.replace("\tcategory hierarchy", "\tparents"), "has no column 'category hierarchy'"),
        ("product", PRODUCTS.replace("product_name", "name"), "has no column 'product_name'"),
        ("product", PRODUCTS.replace("\n2\t", "\n0\t"),
            "product.csv, row 3: the product_id 0 stands, with other contents,"),
        ("product", PRODUCTS.replace("\n2\t", "\n\t"), "product.csv, row 3: there is no product_id"),
        ("product", PRODUCTS.replace("98.0", "many"), "row 3, column 'review_count': 'many' is not a number"),
        ("product", PRODUCTS.replace("98.0", "inf"), "'inf' is not a number"),
        ("product", PRODUCTS.replace("98.0", "1_000"), "row 3, column 'review_count': '1_000' is not a number"),
        ("product", PRODUCTS.replace("98.0", "９８"), "'９８' is not a number"),
        ("query", QUERIES.replace("\n9\t", "\n7\t"), "query.csv, row 4: the query_id 7 stands, with other contents,"),
        ("query", QUERIES.replace("platform bed\tKids", "\tKids"), "query.csv, row 4: there is no query"),
        ("query", QUERIES.splitlines()[0] + "\n", "query.csv has no rows"),
        ("query", "", "query.csv is empty"),
        ("query", QUERIES.replace('barn  door"', "barn  door"),
            "line 3: a cell opens a quote that is never closed"),
        ("label", LABELS.replace("Exact", "Perfect"),
            "row 1: the label is 'Perfect' but must be one of Exact, Partial"),
        ("label", LABELS.replace("\n3\t9", "\n1\t9"), "label.csv, row 4: the id 1 stands, with other contents,"),
        ("label", LABELS.replace("\tPartial\r", "\r"), "line 4 has 3 columns, but the header has 4"),
    ],
)  # fmt: skip
def test_bad_files(source: Path, refused: Refused, name: str, text: str, said: str) -> None:
    (source / f"{name}.csv").write_text(text, encoding="utf-8", newline="")
    assert said in refused("wands", source)


def test_other_bad_input(source: Path, refused: Refused) -> None:
    (source / "label.csv").write_bytes(LABELS.encode().replace(b"Exact", b"Ex\xffct"))
    assert "label.csv, row 1, column 'label' is not UTF-8" in refused("wands", source)
    (source / "label.csv").unlink()
    assert "label.csv does not exist" in refused("wands", source)
    assert "Unknown pairs" in refused("wands", source, "--pairs", "some")
