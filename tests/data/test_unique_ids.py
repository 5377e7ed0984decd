from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.data.unique_ids import refuse_duplicate_ids
from omnifeat.errors import DataError
from tests.data.small_world import tables

IMAGES = ("captions", "images")


@pytest.fixture
def twice(tmp_path: Path) -> Path:
    """The small world, in which the pin p1 stands in rows 1 and 3."""
    folder = tmp_path / "world"
    with DatasetWriter(folder, DatasetInfo(name="small")) as writer:
        for name, table in tables().items():
            writer.write(name, table)
    pins = pq.read_table(folder / "pins.parquet")
    pins = pins.append_column("image_path", pa.array(["a.png", "b.png"]))
    pq.write_table(pa.concat_tables([pins, pins.slice(0, 1)]), folder / "pins.parquet")
    return folder


@pytest.mark.parametrize(
    "command",
    [("enrich", "boards"), ("enrich", "queries"), ("enrich", "graph", "--replace"), ("pairs",)]
    + [("enrich", name, "--model", "none") for name in IMAGES],
)
def test_each_command_that_makes_a_dataset_refuses_an_id_that_stands_twice(twice: Path, command) -> None:
    result = CliRunner().invoke(app, [*command, str(twice), "-o", str(twice.parent / "out")])
    assert result.exit_code == 2
    said = result.stderr.strip().removeprefix("error: ")
    assert said == f"{twice}/pins.parquet: the id 'p1' stands in row 1 and again in row 3: keep one row for each"
    assert [path.name for path in twice.parent.iterdir()] == ["world"]


@given(ids=st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), min_size=1, max_size=6))
def test_it_names_the_first_pair_of_rows(ids: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("ids")
    with DatasetWriter(folder / "data", DatasetInfo(name="ids")) as writer:
        writer.write("pins", pa.table({"id": ["a"]}))
    pq.write_table(pa.table({"id": ids}), folder / "data" / "pins.parquet")
    dataset = Dataset.open(folder / "data")
    again = [(ids.index(name), row) for row, name in enumerate(ids) if ids.index(name) < row]
    if not again:
        refuse_duplicate_ids(dataset)
        return
    first = min(place for place, _ in again)
    second = min(row for place, row in again if place == first)
    with pytest.raises(DataError, match=f"'{ids[first]}' stands in row {first + 1} and again in row {second + 1}:"):
        refuse_duplicate_ids(dataset)
