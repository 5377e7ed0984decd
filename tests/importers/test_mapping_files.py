"""Ready mappings on small inputs of each export's shape, and mapping files of one's own."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.data.dataset import Dataset
from omnifeat.errors import DataError
from omnifeat.importers.mapping_files import read_mapping, ready_mappings

SHOPIFY = """Handle,Title,Body (HTML),Vendor,Type,Tags,Published,Variant SKU,Variant Price,Image Src,Status
linen-shirt,Linen shirt,"<p>Breathable <strong>linen</strong>.</p>
<ul><li>Machine&nbsp;wash &amp; dry</li></ul>",Coast,Shirts,"summer, linen",true,LS-S,39.00,https://c.example/1.jpg,active
linen-shirt,,,,,,,LS-M,41.00,,
linen-shirt,,,,,,,,,https://c.example/2.jpg,
oak-stool,Oak stool,<div>Solid oak</div>,Wood,Stools,,true,OS,129.00,,active
"""
MERCHANT = (
    "id\ttitle\tdescription\tlink\tprice\tavailability\tbrand\tproduct type\tcolor\n"
    'SKU1\t24" walnut board\tEnd grain\thttps://shop.example/1\t49.90 USD\tin_stock\tGrain\tHome > Kitchen\tbrown\n'
    "SKU2\tSteel kettle\tWhistling\thttps://shop.example/2\t1,149.00 USD\tout_of_stock\tPot\tHome\t\n"
)
MAGENTO = """sku,store_view_code,product_type,categories,name,description,price
24-MB01,,simple,"Default Category/Gear,Default Category/Gear/Bags",Duffle Bag,<p>Fits all.</p>,34.0000
24-MB01,de,simple,,Tasche,,
MH01,,configurable,Default Category/Men,Hoodie,,
"""
META = [
    {"main_category": "Kitchen", "title": "Mug", "description": ["A mug.", "For coffee."], "price": 12.99,
     "store": "Potter", "details": {"Color": "Blue"}, "parent_asin": "B1"},
    {"main_category": None, "title": "Kettle", "description": [], "price": "from 19.99", "store": None,
     "details": {}, "parent_asin": "B2"},
]  # fmt: skip
REVIEWS = [
    {"rating": 5.0, "title": "Great mug", "asin": "B1", "parent_asin": "B1", "user_id": "U1",
     "timestamp": 1588687728923},
    {"rating": 2.0, "title": "", "asin": "B2", "parent_asin": "B2", "user_id": "U2", "timestamp": 1588687728924},
]  # fmt: skip
GA4 = """event_date,event_timestamp,event_name,search_term,item_id,user_pseudo_id
20240301,1709294400123456,select_item,red mug,SKU1,1.2
20240301,1709294400123457,page_view,red mug,,1.2
20240301,1709294400123458,purchase,red mug,SKU1,1.2
20240301,1709294400123459,add_to_cart,,SKU1,1.2
"""


def test_ga4_words_for_nothing_are_nothing_and_the_second_user_id_serves_where_the_first_is_empty(
    tmp_path: Path,
) -> None:
    text = "event_timestamp,event_name,search_term,item_id,user_id,user_pseudo_id\n"
    text += "1709294400123456,purchase,red mug,SKU1,,p1\n1709294400123457,purchase,red mug,SKU2,u2,p2\n"
    text += "1709294400123458,purchase,(not set),SKU2,u2,p2\n1709294400123459,purchase,red mug,(not set),u2,p2\n"
    text += "1709294400123460,purchase,red mug,SKU1,(not set),p3\n"
    dataset, notes = _imported(tmp_path, "--mapping", "ga4", "--engagements", _write(tmp_path / "e.csv", text))
    rows = dataset.read("engagements").to_pylist()
    assert [(row["entity_id"], row["user_id"]) for row in rows] == [("SKU1", "p1"), ("SKU2", "u2"), ("SKU1", "p3")]
    assert "Table engagements: cells of 'search_term' were read as nothing: '(not set)' (1)." in notes


def test_magento_and_shopify_take_what_each_row_has(tmp_path: Path) -> None:
    text = "sku,name,description,short_description,price\nA,a,,short,1\nB,b,long,short,2\n"
    dataset, _ = _imported(tmp_path, "--mapping", "magento", "--products", _write(tmp_path / "m.csv", text))
    assert dataset.read("products")["description"].to_pylist() == ["short", "long"]
    text = "Handle,Title,Product Category,Type,Variant SKU\na,A,,Mugs,S1\nb,B,Pots,Mugs,S2\nb,,,,S3\n"
    file = _write(tmp_path / "s.csv", text)
    dataset, _ = _imported(tmp_path, "--mapping", "shopify", "--products", file, "--overwrite")
    assert dataset.read("products")["product_type"].to_pylist() == ["Mugs", "Pots"]
    _, notes = _imported(
        tmp_path, "--mapping", "shopify", "--products", file, "--overwrite", "--map", "products.id=Variant SKU"
    )
    assert any("1 of 3 rows have no 'title'" in note for note in notes)


def test_an_unknown_key_is_refused_with_the_form_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text("zzz = 1\n")
    with pytest.raises(DataError, match=r"'zzz'.*write \[TABLE\] and under it map = \{ COLUMN = \.\.\. \}\.$"):
        read_mapping(str(tmp_path / "m.toml"), ["products"])
    (tmp_path / "m.toml").write_text("null-words = [1]\n")
    with pytest.raises(DataError, match="'null-words' must be a list of texts"):
        read_mapping(str(tmp_path / "m.toml"), ["products"])


def _run(tmp_path: Path, *more: str) -> Any:
    return CliRunner().invoke(app, ["import", "table", "-o", str(tmp_path / "out"), "--json", *more])


def _imported(tmp_path: Path, *more: str) -> tuple[Dataset, list[str]]:
    done = _run(tmp_path, *more)
    assert done.exit_code == 0, done.output
    return Dataset.open(tmp_path / "out"), json.loads(done.stdout)["notes"]


def _write(path: Path, content: Any) -> str:
    text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_shopify(tmp_path: Path) -> None:
    file = _write(tmp_path / "products_export.csv", SHOPIFY)
    dataset, notes = _imported(tmp_path, "--mapping", "shopify", "--products", file)
    assert dataset.read("products").to_pylist() == [
        {"id": "linen-shirt", "title": "Linen shirt", "description": "Breathable linen. Machine wash & dry",
         "brand": "Coast", "product_type": "Shirts", "price": 39.0},
        {"id": "oak-stool", "title": "Oak stool", "description": "Solid oak", "brand": "Wood",
         "product_type": "Stools", "price": 129.0},
    ]  # fmt: skip
    assert "Table products: 2 rows whose 'id' stands in an earlier row were left out." in notes
    assert "Table products: HTML was taken out of 2 cells of 'description'; --keep-html keeps it." in notes


def test_shopify_by_variant_leaves_out_the_pictures_rows(tmp_path: Path) -> None:
    file = _write(tmp_path / "products_export.csv", SHOPIFY)
    dataset, notes = _imported(
        tmp_path, "--mapping", "shopify", "--products", file, "--map", "products.id=Variant SKU", "--keep-html",
        "--drop", "products.price",
    )  # fmt: skip
    products = dataset.read("products")
    assert products["id"].to_pylist() == ["LS-S", "LS-M", "OS"]
    assert products["description"].to_pylist()[2] == "<div>Solid oak</div>"
    assert "price" not in products.column_names
    assert "Table products: 1 rows without 'id' were left out." in notes


def test_google_merchant(tmp_path: Path) -> None:
    file = _write(tmp_path / "feed.tsv", MERCHANT)
    dataset, notes = _imported(tmp_path, "--mapping", "google-merchant", "--products", file)
    first, second = dataset.read("products").to_pylist()
    assert first == {"id": "SKU1", "title": '24" walnut board', "description": "End grain", "brand": "Grain",
                     "color": "brown", "product_type": "Home > Kitchen", "price": 49.9}  # fmt: skip
    assert second["price"] == 1149.0
    assert "Table products: prices were read without their currency: USD (2)." in notes


def test_magento(tmp_path: Path) -> None:
    file = _write(tmp_path / "catalog_product.csv", MAGENTO)
    dataset, _ = _imported(tmp_path, "--mapping", "magento", "--products", file)
    bag, hoodie = dataset.read("products").to_pylist()
    assert bag["product_type"] == "Default Category/Gear,Default Category/Gear/Bags"
    assert (bag["title"], bag["description"], bag["price"]) == ("Duffle Bag", "Fits all.", 34.0)
    assert (hoodie["id"], hoodie["price"]) == ("MH01", None)


def test_amazon_reviews_2023(tmp_path: Path) -> None:
    meta, reviews = _write(tmp_path / "meta_Kitchen.jsonl", META), _write(tmp_path / "Kitchen.jsonl", REVIEWS)
    dataset, notes = _imported(
        tmp_path, "--mapping", "amazon-reviews-2023", "--products", meta, "--engagements", reviews
    )
    assert dataset.read("products").select(["id", "title", "description", "brand", "price"]).to_pylist() == [
        {"id": "B1", "title": "Mug", "description": "A mug. For coffee.", "brand": "Potter", "price": 12.99},
        {"id": "B2", "title": "Kettle", "description": None, "brand": None, "price": None},
    ]
    log = dataset.read("engagements").to_pylist()
    assert [row["query"] for row in log] == ["Great mug"]
    assert log[0]["timestamp"] == datetime(2020, 5, 5, 14, 8, 48, 923_000, tzinfo=UTC)
    assert any("1 values of 'price' that cannot be read were left empty, first" in note for note in notes)
    assert "Table engagements: 1 rows without 'query' were left out." in notes


def test_movielens(tmp_path: Path) -> None:
    movies = _write(tmp_path / "movies.csv", "movieId,title,genres\n31,Dangerous Minds (1995),Drama\n")
    tags = _write(tmp_path / "tags.csv", "userId,movieId,tag,timestamp\n3,31,teachers,1260759144\n")
    ratings = _write(tmp_path / "ratings.csv", "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n")
    dataset, _ = _imported(
        tmp_path, "--mapping", "movielens", "--products", movies, "--engagements", tags, "--judgments", ratings
    )
    assert dataset.read("products").to_pylist() == [
        {"id": "31", "title": "Dangerous Minds (1995)", "product_type": "Drama"}
    ]
    assert dataset.read("engagements").to_pylist()[0]["timestamp"].year == 2009
    assert dataset.read("judgments").to_pylist()[0]["grade"] == 2.5


def test_ga4(tmp_path: Path) -> None:
    file = _write(tmp_path / "events.csv", GA4)
    dataset, notes = _imported(tmp_path, "--mapping", "ga4", "--engagements", file)
    log = dataset.read("engagements")
    assert log["action"].to_pylist() == ["click", "checkout"]
    assert log["timestamp"].to_pylist()[0] == datetime(2024, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)
    assert "Table engagements: 1 rows without 'query' were left out." in notes


def test_every_ready_mapping_is_tested_and_read() -> None:
    assert ready_mappings() == ["amazon-reviews-2023", "ga4", "google-merchant", "magento", "movielens", "shopify"]
    for name in ready_mappings():
        assert read_mapping(name, ["products", "engagements", "judgments"]).options["drop-extra"] is True


def test_options_on_the_command_line_win_over_a_mapping_of_ones_own(tmp_path: Path) -> None:
    mapping = _write(
        tmp_path / "shop.toml",
        "drop-extra = true\ntime-unit = 'ms'\nsplit = 'time'\ndevelopment-from = 2024-03-05\ntest-from = '2024-03-15'\n"
        "[engagements]\nmap = { query = 'q', entity_id = 'sku' }\nset = { entity_type = 'pin', action = 'save' }\n"
        "[pins]\nmap = { id = 'nowhere' }\n",
    )
    log = _write(tmp_path / "log.csv", "q,sku,timestamp,note,act\nmug,1,1709294400,x,buy\n")
    dataset, _ = _imported(
        tmp_path, "--mapping", mapping, "--engagements", log, "--time-unit", "s", "--keep-extra",
        "--map", "engagements.action=act", "--value", "engagements.action:buy=checkout", "--test-from", "2024-03-16",
    )  # fmt: skip
    assert dataset.read("engagements").to_pylist() == [
        {"query": "mug", "entity_id": "1", "entity_type": "pin", "action": "checkout",
         "timestamp": datetime(2024, 3, 1, 12, tzinfo=UTC), "note": "x"}
    ]  # fmt: skip
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["split"]["test_from"].startswith("2024-03-16")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("drop-extras = true", "has the key 'drop-extras', .*; did you mean 'drop-extra'"),
        ("[product]\nmap = {}", "has the key 'product', .*; did you mean 'products'"),
        ("[products]\nmapp = {}", r"has the key 'products\.mapp', which is unknown; did you mean 'map'"),
        ("pins = 'pins.csv'", "has the key 'pins', which is no option and no table"),
        ("drop-extra = 'yes'", "'drop-extra' must be true or false but is 'yes'"),
        ("test = true", "'test' must be a number but is True"),
        ("[products]\nmap = { id = 3 }", r"'products\.map' must be a table of texts"),
        ("[products]\ndrop = 'price'", r"'products\.drop' must be a list of columns"),
        (
            "[products]\nmap = { price = 'p' }\ndrop = ['price']",
            r"names 'products\.price' under 'map' and under 'drop'",
        ),
        ("a = ", "is not TOML"),
        ("a = " + "[" * 5_000, "is not TOML"),
    ],
)
def test_what_is_wrong_in_a_mapping_is_named(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_mapping(_write(tmp_path / "m.toml", content), ["products"])


@pytest.mark.parametrize("name", ["shopfy", "../nowhere.toml", "mappings", "", "a\0b"])
def test_a_mapping_that_is_not_there_names_the_ready_ones(name: str) -> None:
    with pytest.raises(DataError, match="There is no mapping"):
        read_mapping(name, ["products"])


def test_a_mapping_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(DataError, match="is not UTF-8"):
        read_mapping(str(tmp_path / "m.toml"), [])
