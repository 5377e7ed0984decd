import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.data.dataset import Dataset
from omnifeat.errors import DataError, OmnifeatError, SettingError
from omnifeat.importers import import_table
from omnifeat.importers.reading import TextOptions
from omnifeat.importers.splitting import hash_split, time_split

PINS = """sku,name,tags,vec,shelf
00123,Copper sink,sink|basin,,3
00124,"Brass, tap",,1 2,4
"""
LOG = """q,pin,when
copper sink,00123,2024-03-01
tap,00124,2024-03-20T12:00:00Z
"""
PIN_MAP = {"pins.id": "sku", "pins.title": "name", "pins.engaged_queries": "tags", "pins.pinsage": "vec"}
LOG_MAP = {"engagements.query": "q", "engagements.entity_id": "pin", "engagements.timestamp": "when"}
LOG_SET = {"engagements.entity_type": "pin", "engagements.action": "click"}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "pins.csv").write_text(PINS)
    (tmp_path / "log.csv").write_text(LOG)
    return {"pins": tmp_path / "pins.csv", "engagements": tmp_path / "log.csv"}


def test_mapped_csv(files: dict[str, Path], tmp_path: Path) -> None:
    result = import_table(files, tmp_path / "out", mapping=PIN_MAP | LOG_MAP, constants=LOG_SET)
    dataset = Dataset.open(tmp_path / "out")
    pins = dataset.read("pins")
    assert pins.to_pylist() == [
        # leading zeros are kept; the vector's width is that of the second row
        {"id": "00123", "title": "Copper sink", "engaged_queries": ["sink", "basin"], "pinsage": None, "shelf": 3},
        {"id": "00124", "title": "Brass, tap", "engaged_queries": None, "pinsage": [1.0, 2.0], "shelf": 4},
    ]
    assert pins.schema.field("pinsage").type == pa.list_(pa.float32(), 2)
    first = dataset.read("engagements").to_pylist()[0]
    assert first == {
        "query": "copper sink",
        "entity_id": "00123",
        "entity_type": "pin",
        "action": "click",
        "timestamp": datetime(2024, 3, 1, tzinfo=UTC),
    }
    assert result.counts == {"pins": 2, "engagements": 2}


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv", ".arrow"])
def test_every_format_gives_the_same(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"judged{suffix}"
    rows = [{"search": "lamp", "item": "7", "grade": 2.0}, {"search": "灯", "item": "8", "grade": 0.0}]
    table = pa.Table.from_pylist(rows)
    if suffix == ".parquet":
        pq.write_table(table, path)
    elif suffix == ".arrow":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    elif suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        path.write_text("search,item,grade\nlamp,7,2\n灯,8,0\n", encoding="utf-8")
    import_table(
        {"judgments": path},
        tmp_path / "out",
        mapping={"judgments.query": "search", "judgments.entity_id": "item"},
        constants={"judgments.entity_type": "product"},
    )
    assert Dataset.open(tmp_path / "out").read("judgments").to_pylist() == [
        {"query": "lamp", "entity_id": "7", "entity_type": "product", "grade": 2.0},
        {"query": "灯", "entity_id": "8", "entity_type": "product", "grade": 0.0},
    ]


def test_extra_columns_can_be_left_out(files: dict[str, Path], tmp_path: Path) -> None:
    import_table({"pins": files["pins"]}, tmp_path / "out", mapping=PIN_MAP, keep_extra=False)
    names = Dataset.open(tmp_path / "out").read("pins").column_names
    assert names == ["id", "title", "engaged_queries", "pinsage"]


def test_one_source_column_may_serve_twice(files: dict[str, Path], tmp_path: Path) -> None:
    import_table({"pins": files["pins"]}, tmp_path / "out", mapping=PIN_MAP | {"pins.description": "name"})
    first = Dataset.open(tmp_path / "out").read("pins").to_pylist()[0]
    assert first["title"] == first["description"] == "Copper sink"


def test_a_column_that_is_set_otherwise_is_noted(tmp_path: Path) -> None:
    (tmp_path / "pins.csv").write_text("id,title,heading\n1,old,new\n")
    result = import_table({"pins": tmp_path / "pins.csv"}, tmp_path / "out", mapping={"pins.title": "heading"})
    assert Dataset.open(tmp_path / "out").read("pins").to_pylist() == [{"id": "1", "title": "new"}]
    assert result.notes == ["Table pins: the file's own column 'title' was not taken, as 'title' is set otherwise."]


def test_a_vector_column_without_vectors_is_left_out_and_noted(tmp_path: Path) -> None:
    (tmp_path / "pins.csv").write_text("id,pinsage\n1,\n2,\n")
    result = import_table({"pins": tmp_path / "pins.csv"}, tmp_path / "out")
    assert Dataset.open(tmp_path / "out").read("pins").column_names == ["id"]
    assert result.notes == ["Table pins: the column 'pinsage' holds no vector and was left out."]


def test_splits_are_recorded(files: dict[str, Path], tmp_path: Path) -> None:
    settings: dict[str, Any] = {"mapping": PIN_MAP | LOG_MAP, "constants": LOG_SET}
    hashed = hash_split(salt="s", test=0.2)
    import_table(files, tmp_path / "hash", split=hashed, **settings)
    assert Dataset.open(tmp_path / "hash").info.split == hashed
    timed = time_split(development_from="2024-03-05", test_from="2024-03-15", gap_days=1)
    import_table(files, tmp_path / "time", split=timed, **settings)
    dataset = Dataset.open(tmp_path / "time")
    assert dataset.info.split == timed
    assert timed.assign(dataset.read("engagements")).to_pylist() == ["train", "test"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"development_from": None}, "needs --development-from"),
        ({"test_from": "soon"}, "--test-from 'soon' is not a day"),
        ({"test_from": "9999-12-31T23:00-05:00"}, "--test-from '9999-12-31T23:00-05:00' is not a day"),
        ({"test_from": "2024-03-05"}, "must begin after"),
        ({"gap_days": -1}, "must not be negative"),
        ({"gap_days": float("nan")}, "must not be negative"),
        ({"gap_days": 40_000}, "must not be negative or above 36,500, but is 40000"),
    ],
)
def test_bad_time_splits(changes: dict[str, Any], said: str) -> None:
    good: dict[str, Any] = {"development_from": "2024-03-05", "test_from": "2024-03-15", "gap_days": 0}
    with pytest.raises(SettingError, match=said):
        time_split(**(good | changes))


@pytest.mark.parametrize(
    ("content", "mapping", "said"),
    [
        (
            "sku,title\n1,a\n",
            {},
            r"has no column 'id': it has sku, title; name the right one with --map pins\.id=COLUMN",
        ),
        ("id,title\n1,a\n", {"pins.title": "titel"}, "has no column 'titel'.*; correct the mapping"),
        ("id,title\n1,a\n,b\n", {}, r"column 'id', row 2: there is no value, but 'pins\.id' must have one"),
        ("id,title\n1,a\n2,b\n1,c\n", {}, "row 3: the id '1' stands in row 1 too"),
        ("id,pinsage\n1,1 2\n2,1 2 3\n", {}, "column 'pinsage', row 2: '1 2 3' is not a vector of 2 numbers"),
        ("id,pinsage\n1,\n2,1 nan\n", {}, "row 2: '1 nan' is not a vector of finite numbers"),
        ("id,title\n", {}, "holds no rows"),
    ],
)
def test_bad_pins(tmp_path: Path, content: str, mapping: dict[str, str], said: str) -> None:
    (tmp_path / "pins.csv").write_text(content)
    with pytest.raises(DataError, match=said):
        import_table({"pins": tmp_path / "pins.csv"}, tmp_path / "out", mapping=mapping)
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["pins.csv"]  # nothing half written


def test_a_value_that_is_not_of_the_choices(files: dict[str, Path], tmp_path: Path) -> None:
    files["engagements"].write_text("query,entity_id,entity_type,action,timestamp\na,1,pin,click,0\nb,1,pin,like,0\n")
    with pytest.raises(DataError, match="column 'action', row 2: 'like' is not one of save, long_click, click"):
        import_table({"engagements": files["engagements"]}, tmp_path / "out")


@pytest.mark.parametrize(
    ("tables", "mapping", "constants", "said"),
    [
        ({}, {}, {}, "No table is given"),
        ({"pin": "x.csv"}, {}, {}, "Unknown table 'pin'"),
        ({"pins": "x.csv"}, {"title": "name"}, {}, "'title' does not name a column"),
        ({"pins": "x.csv"}, {"products.title": "name"}, {}, "'products', which is not given"),
        ({"pins": "x.csv"}, {"pins.title": "name"}, {"pins.title": "x"}, "both mapped and set"),
    ],
)
def test_bad_settings(
    tmp_path: Path, tables: dict[str, str], mapping: dict[str, str], constants: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingError, match=said):
        import_table(tables, tmp_path / "out", mapping=mapping, constants=constants)


def test_a_constant_must_be_one_of_the_choices(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"'engagements\.action' cannot be 'like'; it is one of: save"):
        import_table(
            files, tmp_path / "out", mapping=PIN_MAP | LOG_MAP, constants=LOG_SET | {"engagements.action": "like"}
        )


def test_a_split_by_a_column_that_no_table_has(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="No table has the column 'text'"):
        import_table({"pins": files["pins"]}, tmp_path / "out", mapping=PIN_MAP, split=hash_split(column="text"))


def test_many_batches(tmp_path: Path) -> None:
    # more rows than a batch holds: the width of the vectors is known only far down, and rows are counted on
    rows = 70_000
    lines = [f"{row},{'' if row < rows - 1 else '1 2 3'}\n" for row in range(rows)]
    (tmp_path / "pins.csv").write_text("id,image_embedding\n" + "".join(lines))
    import_table({"pins": tmp_path / "pins.csv"}, tmp_path / "out")
    pins = Dataset.open(tmp_path / "out").read("pins")
    assert pins.num_rows == rows
    assert pins["image_embedding"].null_count == rows - 1
    (tmp_path / "pins.csv").write_text("id,image_embedding\n" + "".join(lines) + "12,\n")
    with pytest.raises(DataError, match="row 70001: the id '12' stands in row 13 too"):
        import_table({"pins": tmp_path / "pins.csv"}, tmp_path / "other")


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.csv"):
        import_table({"pins": tmp_path / "nowhere.csv"}, tmp_path / "out")
    (tmp_path / "pins.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(DataError, match=r"pins.parquet"):
        import_table({"pins": tmp_path / "pins.parquet"}, tmp_path / "out")
    (tmp_path / "pins.csv").write_bytes(b"id,title\n1,caf\xe9\n")
    with pytest.raises(DataError, match="UTF-8"):
        import_table({"pins": tmp_path / "pins.csv"}, tmp_path / "out", text=TextOptions(encoding="utf-8"))
    assert not (tmp_path / "out").exists()


def test_unwritable_target(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(OmnifeatError):
        import_table({"pins": files["pins"]}, files["engagements"] / "out", mapping=PIN_MAP)


def _call(files: dict[str, Path], out: Path, *more: str) -> Any:
    call = ["import", "table", "-o", str(out), "--pins", str(files["pins"]), "--engagements", str(files["engagements"])]
    call += [part for target, column in (PIN_MAP | LOG_MAP).items() for part in ("--map", f"{target}={column}")]
    call += [part for target, value in LOG_SET.items() for part in ("--set", f"{target}={value}")]
    return CliRunner().invoke(app, [*call, *more])


def test_command(files: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = _call(
        files, out, "--split", "time", "--development-from", "2024-03-05", "--test-from", "2024-03-15", "--json"
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["counts"] == {"pins": 2, "engagements": 2}
    split = json.loads((out / "dataset.json").read_text())["split"]
    assert split["method"] == "time"
    assert split["test_from"].startswith("2024-03-15")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--map", "pins.title"], "does not read TABLE.COLUMN=VALUE"),
        (["--map", "pins.title=other"], "names 'pins.title' twice"),
        (["--split", "time"], "needs --development-from"),
        (["--split", "hash", "--test", "1"], "test fraction"),
    ],
)
def test_bad_calls(files: dict[str, Path], tmp_path: Path, more: list[str], said: str) -> None:
    done = _call(files, tmp_path / "out", *more)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not (tmp_path / "out").exists()
