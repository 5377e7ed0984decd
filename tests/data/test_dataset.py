import json
import os
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.data.files import TableWriter
from omnifeat.data.schema import TABLES, TIMESTAMP
from omnifeat.data.splits import HashSplit, TimeSplit
from omnifeat.errors import DataError, OutputError, SettingError
from tests.data.small_world import MARCH, replaced, tables

World = Callable[..., Path]


def test_what_is_written_is_read(world: World) -> None:
    split = HashSplit(salt="s")
    dataset = Dataset.open(world(split))
    assert dataset.tables() == list(TABLES)
    assert dataset.info.split == split
    assert dataset.info.counts == {name: table.num_rows for name, table in tables().items()}
    pins = dataset.read("pins")
    assert pins.to_pylist() == tables()["pins"].to_pylist()
    assert pins.schema.field("pinsage").type == pa.list_(pa.float32(), 2)
    assert dataset.schema("pins").equals(pins.schema)
    # whole numbers are brought to the schema's types
    assert dataset.schema("judgments").field("grade").type == pa.float64()
    assert dataset.schema("engagements").field("timestamp").type == TIMESTAMP
    assert dataset.read("pins", ["title", "id"]).column_names == ["title", "id"]
    assert [batch.num_rows for batch in dataset.batches("engagements", ["query"], batch_size=3)] == [3, 1]
    assert dataset.has_column("pins", "title")
    assert not dataset.has_column("pins", "brand")
    assert not dataset.has_column("nothing", "id")
    assert dataset.count("engagements") == 4


def test_time_splits_are_recorded(world: World) -> None:
    split = TimeSplit(development_from=MARCH, test_from=MARCH, gap_days=1.5)
    assert Dataset.open(world(split)).info.split == split


def test_any_format_and_part_folders(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"name": "mine"}')
    (tmp_path / "pins.csv").write_text("id,title,my_own\n007,Sink,3\n")
    os.mkdir(tmp_path / "products")
    for number in range(2):
        with TableWriter(tmp_path / "products" / f"{number}.jsonl", pa.schema([("id", "string")])) as writer:
            writer.write(pa.table({"id": [str(number)]}))
    (tmp_path / "notes.txt").write_text("not a table")
    dataset = Dataset.open(tmp_path)
    assert dataset.tables() == ["pins", "products"]
    assert dataset.read("pins").to_pylist() == [{"id": "007", "title": "Sink", "my_own": 3}]
    assert dataset.read("products")["id"].to_pylist() == ["0", "1"]


def test_by_url() -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/set/dataset.json", b'{"name": "far"}')
    files.pipe("/set/queries.csv", b"query,language\nsink,en\n")
    dataset = Dataset.open("memory://set")
    assert dataset.read("queries").to_pylist() == [{"query": "sink", "language": "en"}]
    with pytest.raises(SettingError, match="write to a local folder"), DatasetWriter("memory://other", dataset.info):
        pass


def test_what_is_missing_is_named(world: World, tmp_path: Path) -> None:
    dataset = Dataset.open(world(boards=None))
    with pytest.raises(DataError, match="has no table 'boards': it has pins, products"):
        dataset.read("boards")
    with pytest.raises(DataError, match="has no table 'pin'.*did you mean 'pins'"):
        dataset.require("pin")
    with pytest.raises(DataError, match="has no columns 'titel', 'x': it has id, title.*did you mean 'title'"):
        dataset.require("pins", "id", "titel", "x")
    with pytest.raises(DataError, match="nowhere does not exist"):
        Dataset.open(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is a file: give a dataset folder"):
        Dataset.open(tmp_path / "world" / "pins.parquet")
    with pytest.raises(DataError, match=r"dataset\.json does not exist"):
        Dataset.open(tmp_path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "is not JSON"),
        ("[]", "must hold a JSON object, not list"),
        ('{"name": "x", "format_version": 2}', "has format_version 2, but this omnifeat reads 1"),
        ('{"source": "x"}', r"name is wrong \(Field required\)"),
        ('{"name": "x", "sede": 1}', "sede is wrong"),
        ('{"name": "x", "split": {"method": "dice"}}', "split is wrong"),
        ('{"name": "x", "split": {"method": "hash", "test": 2}}', "split.hash.test is wrong"),
    ],
)
def test_a_wrong_dataset_json(tmp_path: Path, content: str, match: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(DataError, match=match):
        Dataset.open(tmp_path)


def test_a_table_that_is_there_twice(world: World) -> None:
    folder = world()
    (folder / "pins.csv").write_text("id\na\n")
    with pytest.raises(DataError, match="has the table 'pins' twice"):
        Dataset.open(folder).read("pins")


def test_wrong_types_and_nulls_are_refused_when_read(world: World) -> None:
    folder = world()
    pq.write_table(pa.table({"id": [1, 2]}), folder / "pins.parquet")
    assert Dataset.open(folder).read("pins")["id"].to_pylist() == ["1", "2"]
    pq.write_table(pa.table({"id": [True]}), folder / "pins.parquet")
    with pytest.raises(DataError, match=r"pins\.parquet, column 'id' is bool, but must be text"):
        Dataset.open(folder).read("pins")
    pq.write_table(pa.table({"id": ["a", None]}), folder / "pins.parquet")
    with pytest.raises(DataError, match=r"pins\.parquet, row 2 has no id"):
        Dataset.open(folder).read("pins")
    pq.write_table(pa.table({"id": pa.array([], pa.string())}), folder / "pins.parquet")
    with pytest.raises(DataError, match=r"pins\.parquet has no rows"):
        Dataset.open(folder).read("pins")
    pq.write_table(pa.table({"id": ["a"], "title": [["x", "y"]]}), folder / "pins.parquet")
    assert Dataset.open(folder).read("pins")["title"].to_pylist() == ["x y"]
    pq.write_table(pa.table({"id": ["a"], "title": [[1]]}), folder / "pins.parquet")
    with pytest.raises(DataError, match="column 'title' is list<.*>, but must be text"):
        Dataset.open(folder).read("pins")


def test_batches_are_written_as_one_table(tmp_path: Path) -> None:
    vector = pa.list_(pa.float64())
    batches = (
        pa.record_batch({"id": [f"{number}"], "pinsage": pa.array([None if number == 0 else [1, number]], vector)})
        for number in range(3)
    )
    with DatasetWriter(tmp_path / "d", DatasetInfo(name="d")) as writer:
        writer.write("pins", batches)
    pins = Dataset.open(tmp_path / "d").read("pins")
    assert pins["pinsage"].to_pylist() == [None, [1, 1], [1, 2]]
    assert pins.schema.field("pinsage").type == pa.list_(pa.float32(), 2)


@pytest.mark.parametrize(
    ("name", "table", "match"),
    [
        ("pin", {"id": ["a"]}, "there is no table 'pin' in a dataset folder; did you mean 'pins'"),
        ("pins", {"title": ["a"]}, "the table 'pins' has no column 'id': it has title"),
        ("pins", {"id": [True]}, "column 'id' is bool, but must be text"),
        ("pins", {"id": ["a", None]}, "the table 'pins', row 2 has no id"),
        ("pins", {"id": pa.array([], pa.string())}, "the table 'pins' has no rows"),
        ("pins", {"id": ["a", "b"], "pinsage": [[1.0], [1.0, 2.0]]}, "row 2: the vector has 2 numbers"),
        ("pins", {"id": ["a"], "pinsage": [[float("nan")]]}, "row 1: the vector holds a number that is NaN"),
        ("pins", {"id": ["a"], "pinsage": ["x"]}, "column 'pinsage' is text, but must be fixed_size_list"),
    ],
)
def test_wrong_tables_are_not_written(tmp_path: Path, name: str, table: dict, match: str) -> None:
    def write() -> None:
        with DatasetWriter(tmp_path / "d", DatasetInfo(name="d")) as writer:
            writer.write("boards", tables()["boards"])
            writer.write(name, pa.table(table))

    with pytest.raises(DataError, match=match):
        write()
    assert os.listdir(tmp_path) == []


def test_widths_hold_across_batches(tmp_path: Path) -> None:
    pieces = [pa.table({"id": ["a"], "pinsage": [[1.0, 2.0]]}), pa.table({"id": ["b"], "pinsage": [[1.0]]})]
    with (
        pytest.raises(DataError, match="row 2: the vector has 1 numbers, but the column's first one has 2"),
        DatasetWriter(tmp_path / "d", DatasetInfo(name="d")) as writer,
    ):
        writer.write("pins", pieces)


def test_what_stands_there_is_not_replaced_by_accident(world: World, tmp_path: Path) -> None:
    folder = world()
    info = DatasetInfo(name="new")
    with pytest.raises(OutputError, match="world exists and is not empty"), DatasetWriter(folder, info):
        pass
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with (
        pytest.raises(OutputError, match="home is not a dataset folder .* and is not overwritten"),
        DatasetWriter(tmp_path / "home", info, overwrite=True),
    ):
        pass
    with pytest.raises(OutputError, match=r"letter\.txt is a file"), DatasetWriter(tmp_path / "home/letter.txt", info):
        pass
    with DatasetWriter(folder, info, overwrite=True) as writer:
        writer.write("boards", tables()["boards"])
        (writer.folder / "extra.txt").write_text("kept")
    assert sorted(os.listdir(folder)) == ["boards.parquet", "dataset.json", "extra.txt"]
    assert json.loads((folder / "dataset.json").read_text())["counts"] == {"boards": 1}
    (tmp_path / "empty").mkdir()
    with DatasetWriter(tmp_path / "empty", info) as writer:
        writer.write("boards", tables()["boards"])
        with pytest.raises(DataError, match="was written before"):
            writer.write("boards", tables()["boards"])
    assert Dataset.open(tmp_path / "empty").tables() == ["boards"]
    with pytest.raises(SettingError, match="inside its `with` block"):
        writer.write("boards", tables()["boards"])


def test_extra_columns_are_kept(world: World) -> None:
    pins = replaced(tables()["pins"], "my_score", pa.array([1.5, None]))
    assert Dataset.open(world(pins=pins)).read("pins")["my_score"].to_pylist() == [1.5, None]
