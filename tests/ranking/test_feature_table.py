"""`omnifeat rank features` of a dataset's impressions and judgments: rows, parts, manifest and what is refused."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import Result

from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.data.files import read_table
from omnifeat.errors import DataError
from omnifeat.frozen import FrozenEncoder
from omnifeat.models.training_record import TrainingRecord, id_hashes, pair_hashes, query_hashes
from ranking.feature_table import JUDGMENT_SPLIT, PairRows, features_in
from ranking.features import choose_features, declared_roles
from tests.commands import omnifeat, refused
from tests.ranking.test_rank_features import LOG, PINS, PRODUCTS, QUERIES, SHOWN, TIME_SPLIT, make_encoder

JUDGED = pa.table(
    {
        "query": ["hat", "hat", "hat", "rain"],
        "entity_id": ["b", "b", "a", "nobody"],
        "entity_type": ["pin", "pin", "product", "pin"],
        "grade": [1.0, 3.0, 2.0, 0.0],
        "rater": ["r1", "r2", "r1", "r1"],
    }
)


def write(folder: Path, **replaced: Any) -> Path:
    shown = SHOWN.append_column("request_id", pa.array([f"r{row}" for row in range(SHOWN.num_rows)]))
    shown = shown.append_column("position", pa.array(range(1, 6), pa.int64()))
    tables = {
        "pins": PINS,
        "products": PRODUCTS,
        "queries": pa.table({"query": QUERIES}),
        "engagements": LOG,
        "impressions": shown.append_column("f_world", pa.array([0.5] * 5)),
        "judgments": JUDGED,
    } | replaced
    with DatasetWriter(folder, DatasetInfo(name="shop", split=TIME_SPLIT), overwrite=True) as writer:
        for name, table in tables.items():
            writer.write(name, table)
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("shop") / "data")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(0).save_pretrained(tmp_path_factory.mktemp("encoder") / "one")


def test_impressions(dataset: Path, encoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "shown.parquet"
    done = omnifeat("rank", "features", dataset, "--impressions", "--encoder", encoder, "-o", out, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["rows"], told["parts"], told["unscored"]) == (5, {"train": 4, "test": 1}, 0)
    table = pq.read_table(out)
    assert table.select(["query", "entity_id", "action"]).equals(SHOWN.select(["query", "entity_id", "action"]))
    assert table["part"].to_pylist() == ["train"] * 4 + ["test"]
    assert table["entity_shown"].to_pylist() == [0, 0, 1, 0, 1]
    manifest = json.loads(Path(told["manifest"]).read_text())
    assert manifest["encoder_fingerprint"] == make_encoder(0).fingerprint
    roles = {column["name"]: column["role"] for column in manifest["columns"]}
    assert [column["name"] for column in manifest["columns"]] == table.column_names
    assert roles["position"] == "position"
    assert roles["action"] == "label"
    assert roles["f_world"] == roles["cosine"] == "feature"
    described = features_in(table.schema)
    assert described is not None
    assert [column.as_json() for column in described] == manifest["columns"]
    # the position, which rank train would take otherwise, is a feature for those who ask for it alone
    assert declared_roles(table.schema) == roles
    assert choose_features(table) == told["features"]
    assert choose_features(table.append_column("mine", table["cosine"])) == [*told["features"], "mine"]
    assert choose_features(table, features=["position"]) == ["position"]
    assert choose_features(table, exclude=["f_world"], reserved=["cosine"]) == [
        name for name in told["features"] if name not in ("f_world", "cosine")
    ]


def test_a_part(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "test.csv"
    done = omnifeat("rank", "features", dataset, "--impressions", "--part", "test", "-o", out)
    assert done.exit_code == 0, done.output
    assert read_table(out)["entity_id"].to_pylist() == ["b"]
    assert (tmp_path / "test.csv.features.json").is_file()


def test_judgments_are_agreed_on_and_parted_by_query(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "judged.parquet"
    done = omnifeat("rank", "features", dataset, "--judgments", "-o", out)
    assert done.exit_code == 0, done.output
    assert "1 pairs have no query or an unknown entity" in done.stdout
    table = pq.read_table(out)
    assert table["grade"].to_pylist() == [1, 2, 0]
    assert table["part"].to_pylist() == [JUDGMENT_SPLIT.part_of(query) for query in ("hat", "hat", "rain")]
    # as of the end of the training part
    assert table["query_engaged"].to_pylist() == [3, 3, 0]
    refused(omnifeat("rank", "features", dataset, "--judgments", "-o", tmp_path / "x.csv", "--strict"), "'nobody'")
    assert not list(tmp_path.glob("x.csv*"))


def test_all_batches(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once, apart = tmp_path / "once.parquet", tmp_path / "apart.parquet"
    omnifeat("rank", "features", dataset, "--impressions", "-o", once)
    monkeypatch.setattr("ranking.feature_table._BATCH_ROWS", 2)
    omnifeat("rank", "features", dataset, "--impressions", "-o", apart)
    assert pq.read_table(apart).equals(pq.read_table(once))


def test_what_is_refused(dataset: Path, encoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"

    def run(*arguments: object) -> Result:
        return omnifeat("rank", "features", *arguments, "-o", out)

    refused(run(dataset, "--impressions", "--part", "all"), "must be one of train, development, test")
    refused(run(dataset, "--impressions", "--part", "development"), "has no rows in part 'development'")
    refused(run(dataset, "--impressions", "--judgments"), "give one of them")
    refused(run(dataset, "--encoder", encoder), "--encoder goes with --impressions or --judgments")
    refused(run(dataset, "--impressions", "--entities", dataset), "--entities is for a table of pairs")
    refused(run(dataset, "--impressions", "--encoder", tmp_path), "is no encoder", str(tmp_path))
    refused(run(tmp_path / "no", "--impressions"), "does not exist")
    refused(run(dataset, "--impressions", "--memory-limit", "much"), "must be a size")
    twice = write(tmp_path / "twice", impressions=with_column(dataset, "cosine"))
    refused(run(twice, "--impressions", "--encoder", encoder), "has a column 'cosine' already")
    broken = write(tmp_path / "broken", impressions=with_column(dataset, "part"))
    refused(run(broken, "--impressions"), "has a column 'part' already")
    nowhen = write(tmp_path / "nowhen", impressions=pq.read_table(dataset / "impressions.parquet").drop("timestamp"))
    refused(run(nowhen, "--impressions"), "'timestamp'")
    assert not list(tmp_path.glob("out*"))


def with_column(dataset: Path, column: str) -> pa.Table:
    return pq.read_table(dataset / "impressions.parquet").append_column(column, pa.array([1.0] * 5))


def test_rows_are_read_alike_twice(dataset: Path) -> None:
    from omnifeat.data.dataset import Dataset

    rows = PairRows(Dataset.open(dataset), "impressions", "train")
    assert pa.concat_tables(rows.batches()).equals(pa.concat_tables(rows.batches()))
    assert sorted(zip(*rows.entities().to_pydict().values(), strict=True)) == [
        ("pin", "a"),
        ("pin", "b"),
        ("product", "a"),
    ]


def test_what_the_encoders_were_trained_on_is_kept_beside_and_is_no_feature(
    dataset: Path, encoder: Path, tmp_path: Path
) -> None:
    loaded = FrozenEncoder.from_pretrained(encoder)
    hashes = query_hashes(pa.array(["hat"]))
    loaded.record = TrainingRecord.of([hashes], [pair_hashes(hashes, "product", id_hashes(pa.array(["a"])))])
    knowing = loaded.save_pretrained(tmp_path / "knowing")
    out = tmp_path / "judged.parquet"
    options = ["--encoder", f"ours={knowing}", "--encoder", f"other={encoder}", "-o", out]
    done = omnifeat("rank", "features", dataset, "--judgments", *options)
    assert done.exit_code == 0, done.output
    table = pq.read_table(out)
    rows = table.select(["query", "entity_type", "ours_trained_on"]).to_pylist()
    assert {tuple(row.values()) for row in rows} == {
        ("hat", "pin", "query"),
        ("hat", "product", "pair"),
        ("rain", "pin", "neither"),
    }
    assert "other_trained_on" not in table.column_names
    assert declared_roles(table.schema)["ours_trained_on"] == "kept"
    assert "ours_trained_on" not in choose_features(table, reserved=("grade",))


def test_judgments_that_share_no_entity_with_the_catalogue_are_refused(tmp_path: Path) -> None:
    strange = JUDGED.set_column(1, "entity_id", pa.array(["B", "B", "A", "C"]))
    data = write(tmp_path / "data", judgments=strange)
    out = tmp_path / "judged.parquet"
    result = omnifeat("rank", "features", data, "--judgments", "-o", out)
    refused(result, "no entity_id of", "judgments.parquet stands in the catalogue", "differ in letter case")
    assert not list(tmp_path.glob("*judged*"))


def test_impressions_that_change_between_the_readings_are_refused(tmp_path: Path) -> None:
    data = write(tmp_path / "data")
    rows = PairRows(Dataset.open(data), "impressions")
    assert rows.entities().equals(rows.entities())
    place = data / "impressions.parquet"
    table = pq.read_table(place)
    pq.write_table(
        table.set_column(table.column_names.index("entity_id"), "entity_id", table["entity_id"][::-1]), place
    )
    with pytest.raises(DataError, match="impressions.parquet changed while it was read; run again"):
        list(rows.batches())
