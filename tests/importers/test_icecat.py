import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.data.dataset import Dataset
from omnifeat.errors import DataError, OmnifeatError, SettingError
from omnifeat.importers.icecat import import_icecat

RATED = "Broad_Query_Set_rated.csv"
RATERS = "Broad_Query_Set_individual_ratings.csv"


def _records(source: Path, number: int = 1) -> list[dict[str, object]]:
    from omnifeat.importers.sources import read_json_records

    return read_json_records(source / f"{number}.json.zip")


def _replace(source: Path, records: object, number: int = 1) -> None:
    (source / f"{number}.json.zip").unlink()
    (source / f"{number}.json").write_text(json.dumps(records), encoding="utf-8")


def test_products(icecat_source: Path, tmp_path: Path) -> None:
    result = import_icecat(icecat_source, tmp_path / "out")
    rows = Dataset.open(tmp_path / "out").read("products").to_pylist()
    assert [row["id"] for row in rows] == ["3920564", "832931", "4205239"]
    toner, processor, kit = rows
    assert toner["title"] == "Xerox 006R90321 toner cartridge Original Black 6 pc(s)"
    assert toner["brand"] == "Xerox"
    assert toner["price"] == 4995.0
    assert toner["color"] is None
    assert toner["attributes"] == "type: Original; printing colours: Black"
    assert toner["img_thumb"] == "http://images.icecat.biz/d.jpg"
    assert toner["ean"] == ["0095205603217"]
    # the tag, the reference and the double space are gone
    assert processor["description"] == "Intel® Core™2 Duo & Processor T5600 (2M Cache, 1.83 GHz)"
    assert processor["color"] == "Black, Silver"
    assert processor["product_type"] == "Processor"
    assert processor["attributes"] == "storage temperature t t: -20 - 60"
    assert processor["img_high"] is None
    assert (kit["description"], kit["brand"], kit["attributes"]) == (None, None, None)
    assert "1 values of number attributes and 1 of yes-or-no attributes were not taken." in result.notes


def test_judgments_are_the_agreed_ratings(icecat_source: Path, tmp_path: Path) -> None:
    import_icecat(icecat_source, tmp_path / "out")
    judgments = Dataset.open(tmp_path / "out").read("judgments")
    assert judgments.column_names == ["query", "entity_id", "entity_type", "grade"]
    assert [tuple(row.values()) for row in judgments.to_pylist()] == [
        ("laptop", "3920564", "product", 0.0),
        ("toner, black", "3920564", "product", 3.0),
        ("processor", "832931", "product", 2.0),
    ]


def test_raters_stand_in_place_of_the_agreed_rating(icecat_source: Path, tmp_path: Path) -> None:
    import_icecat(icecat_source, tmp_path / "out", raters=True)
    rows = Dataset.open(tmp_path / "out").read("judgments").to_pylist()
    assert [(row["query"], row["grade"], row["rater"]) for row in rows] == [
        ("laptop", 0.0, None),
        ("toner, black", 2.0, "agent_1"),
        ("toner, black", 3.0, "agent_2"),
        ("toner, black", 3.0, "agent_3"),
        ("processor", 2.0, None),
    ]


def test_pseudo_queries_are_marked_as_such(icecat_source: Path, tmp_path: Path) -> None:
    result = import_icecat(icecat_source, tmp_path / "out", pairs_per_product=3)
    dataset = Dataset.open(tmp_path / "out")
    engagements = dataset.read("engagements").to_pylist()
    assert {row["action"] for row in engagements} == {"click"}
    assert {row["timestamp"] for row in engagements} == {datetime(2000, 1, 1, tzinfo=UTC)}
    assert {row["entity_id"] for row in engagements} <= {"3920564", "832931", "4205239"}
    queries = dataset.read("queries")["query"].to_pylist()
    assert sorted({row["query"] for row in engagements}) == queries
    assert any("pseudo-queries" in note and "not a log" in note for note in result.notes)
    assert dataset.info.notes == result.notes
    assert dataset.info.split is not None
    assert dataset.info.split.method == "hash"


def test_ratings_change_no_pseudo_query(icecat_source: Path, tmp_path: Path) -> None:
    import_icecat(icecat_source, tmp_path / "one")
    (icecat_source / RATED).write_text("query,docid,rating\ntoner cartridge,4205239,3\n")
    import_icecat(icecat_source, tmp_path / "two")
    for table in ("queries", "engagements", "products"):
        assert Dataset.open(tmp_path / "one").read(table).equals(Dataset.open(tmp_path / "two").read(table))


def test_without_pairs_there_is_no_engagement(icecat_source: Path, tmp_path: Path) -> None:
    import_icecat(icecat_source, tmp_path / "out", pairs="none")
    dataset = Dataset.open(tmp_path / "out")
    assert sorted(dataset.tables()) == ["judgments", "products"]
    assert dataset.info.split is None


def test_unknown_ratings_are_an_error_or_counted(icecat_source: Path, tmp_path: Path) -> None:
    with (icecat_source / RATED).open("a") as stream:
        stream.write("laptop,999,3\n")
    with pytest.raises(DataError, match=r"1 of 4 ratings .* 'laptop' and 999 in row 4 .*--drop-unknown"):
        import_icecat(icecat_source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    result = import_icecat(icecat_source, tmp_path / "out", drop_unknown=True)
    assert result.counts["judgments"] == 3
    assert "1 ratings of products that the catalogue lacks were left out." in result.notes


def test_no_rating_of_a_known_product(icecat_source: Path, tmp_path: Path) -> None:
    (icecat_source / RATED).write_text("query,docid,rating\nlaptop,999,3\n")
    with pytest.raises(DataError, match="None of the 1 ratings"):
        import_icecat(icecat_source, tmp_path / "out", drop_unknown=True)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("id", None, r"1\.json, record 2: 'id' is missing"),
        ("id", "", "record 2: 'id' is ''"),
        ("id", "3920564", r"record 2: the product id 3920564 stands in 1\.json, record 1"),
        ("title", None, r"record 2 \(id 832931\): 'title' is missing"),
        ("title", ["x"], "'title' is \\['x'\\]"),
        ("supplier", 7, "'supplier' must be text but is 7"),
        ("price", "12", "'price' must be a number that is not negative but is '12'"),
        ("price", -1, "but is -1"),
        ("price", True, "but is True"),
        ("ean", "0095", "'ean' must be a list of texts"),
        ("attr_t_type", ["a"], "'attr_t_type' must be text"),
    ],
)
def test_bad_records_are_named(icecat_source: Path, tmp_path: Path, field: str, value: object, said: str) -> None:
    records = _records(icecat_source)
    records[1][field] = value
    _replace(icecat_source, records)
    with pytest.raises(DataError, match=said):
        import_icecat(icecat_source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_number_is_an_id_too(icecat_source: Path, tmp_path: Path) -> None:
    records = _records(icecat_source)
    records[1]["id"] = 832931
    _replace(icecat_source, records)
    import_icecat(icecat_source, tmp_path / "out")
    assert "832931" in Dataset.open(tmp_path / "out").read("products")["id"].to_pylist()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("laptop,3920564,4", "row 1: 'rating' must be 0 to 3 but is '4'"),
        ("laptop,3920564,2.5", "but is '2.5'"),
        ("laptop,3920564,", "but is ''"),
        (",3920564,1", "row 1: 'query' is ''"),
        ("laptop,,1", "'docid' is ''"),
        ("laptop,3920564,1\nlaptop,3920564,2", "row 2: 'laptop' and 3920564 are rated in row 1 too"),
        ("", "holds no ratings"),
    ],
)
def test_bad_ratings_are_named(icecat_source: Path, tmp_path: Path, rows: str, said: str) -> None:
    (icecat_source / RATED).write_text(f"query,docid,rating\n{rows}\n" if rows else "query,docid,rating\n")
    with pytest.raises(DataError, match=said):
        import_icecat(icecat_source, tmp_path / "out")


def test_individual_ratings_of_an_unrated_pair(icecat_source: Path, tmp_path: Path) -> None:
    with (icecat_source / RATERS).open("a") as stream:
        stream.write("laptop,832931,x,y,1,1,1,1\n")
    with pytest.raises(DataError, match=r"row 2: 'laptop' and 832931 have no row in Broad_Query_Set_rated.csv"):
        import_icecat(icecat_source, tmp_path / "out", raters=True)


def test_individual_ratings_are_needed_only_if_asked_for(icecat_source: Path, tmp_path: Path) -> None:
    (icecat_source / RATERS).unlink()
    import_icecat(icecat_source, tmp_path / "out")
    with pytest.raises(DataError, match=r"individual_ratings.csv does not exist"):
        import_icecat(icecat_source, tmp_path / "other", raters=True)


def test_the_same_products_twice(icecat_source: Path, tmp_path: Path) -> None:
    (icecat_source / "2.json").write_text("[]")
    with pytest.raises(DataError, match=r"2\.json and 2\.json\.zip, the same products twice"):
        import_icecat(icecat_source, tmp_path / "out")


@pytest.mark.parametrize(
    "settings",
    [{"pairs": "titels"}, {"pairs_per_product": 0}, {"test": 0.7, "development": 0.3}, {"test": -0.1}],
)
def test_bad_settings(icecat_source: Path, tmp_path: Path, settings: dict[str, object]) -> None:
    with pytest.raises(SettingError):
        import_icecat(icecat_source, tmp_path / "out", **settings)  # type: ignore[arg-type]


def test_missing_sources(icecat_source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        import_icecat(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(DataError, match="is not a folder"):
        import_icecat(icecat_source / RATED, tmp_path / "out")
    (icecat_source / RATED).unlink()
    with pytest.raises(DataError, match=r"rated.csv does not exist"):
        import_icecat(icecat_source, tmp_path / "out")
    for file in icecat_source.glob("*.zip"):
        file.unlink()
    with pytest.raises(DataError, match="no product files"):
        import_icecat(icecat_source, tmp_path / "out")


def test_command(icecat_source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["import", "icecat", str(icecat_source), "-o", str(out), "--raters", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["counts"]["judgments"] == 5
    again = CliRunner().invoke(app, ["import", "icecat", str(icecat_source), "-o", str(out)])
    assert again.exit_code == 2
    assert again.stderr.startswith("error: ")
    assert Dataset.open(out).read("judgments").num_rows == 5  # as it was
    over = CliRunner().invoke(app, ["import", "icecat", str(icecat_source), "-o", str(out), "--overwrite"])
    assert over.exit_code == 0
    assert Dataset.open(out).read("judgments").num_rows == 3


def test_command_with_a_corrupt_zip(icecat_source: Path, tmp_path: Path) -> None:
    (icecat_source / "1.json.zip").write_bytes(b"PK\x03\x04 nothing")
    done = CliRunner().invoke(app, ["import", "icecat", str(icecat_source), "-o", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "1.json.zip is damaged" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_unwritable_target(icecat_source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OmnifeatError, match="file"):
        import_icecat(icecat_source, tmp_path / "file" / "out")
