import os
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.enrich.carry import enriched_dataset
from omnifeat.errors import OutputError

PINS = pa.table({"id": ["p0", "p1"]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tables, one of them of two CSV files, and what is no table."""
    with DatasetWriter(tmp_path / "data", DatasetInfo(name="some")) as writer:
        writer.write("pins", PINS)
    (tmp_path / "data" / "queries").mkdir()
    for number in range(2):
        (tmp_path / "data" / "queries" / f"{number}.csv").write_text(f"query\nsink {number}\n")
    (tmp_path / "data" / "images" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "images" / "deep" / "a.jpg").write_bytes(b"picture")
    (tmp_path / "data" / ".hidden").write_text("mine")
    return tmp_path / "data"


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


CARRIED = {"dataset.json", "pins.parquet", "corpus.parquet", "images/deep/a.jpg", "asked/0.csv", "asked/1.csv"}


@pytest.mark.parametrize("copy", [False, True])
def test_files_are_linked_or_copied_and_tables_renamed(folder: Path, tmp_path: Path, copy: bool) -> None:
    dataset = Dataset.open(folder)
    with enriched_dataset(
        dataset, tmp_path / "out", dataset.info, replaced={"corpus"}, renamed={"queries": "asked"}, copy=copy
    ) as writer:
        writer.write("corpus", pa.table({"entity_type": ["pin"], "entity_id": ["p0"]}))
    assert files(tmp_path / "out") == CARRIED
    for name, old in (("pins.parquet", "pins.parquet"), ("asked/1.csv", "queries/1.csv")):
        assert os.path.samefile(tmp_path / "out" / name, folder / old) is not copy
        assert (tmp_path / "out" / name).read_bytes() == (folder / old).read_bytes()
    assert Dataset.open(tmp_path / "out").info.counts == {"pins": 2, "corpus": 1}


def test_a_dataset_on_another_file_system_is_fetched(folder: Path, tmp_path: Path) -> None:
    remote = fsspec.filesystem("memory")
    for name in files(folder):
        remote.pipe_file(f"/carry/{name}", (folder / name).read_bytes())
    try:
        dataset = Dataset.open("memory://carry")
        with enriched_dataset(
            dataset, tmp_path / "out", dataset.info, replaced={"pins"}, renamed={"queries": "asked"}
        ) as writer:
            writer.write("pins", PINS.slice(0, 1))
        assert files(tmp_path / "out") == CARRIED - {"corpus.parquet"}
        assert (tmp_path / "out" / "asked" / "1.csv").read_bytes() == (folder / "queries" / "1.csv").read_bytes()
        assert Dataset.open(tmp_path / "out").count("pins") == 1
    finally:
        remote.rm("/carry", recursive=True)


def test_not_into_itself(folder: Path) -> None:
    dataset = Dataset.open(folder)
    with (
        pytest.raises(OutputError, match="lies inside"),
        enriched_dataset(dataset, folder / "out", dataset.info, replaced=()),
    ):
        pass
    assert not (folder / "out").exists()
