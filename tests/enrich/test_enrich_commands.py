"""The commands as a user runs them, and the folder that they write."""

import hashlib
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.data.dataset import Dataset
from omnifeat.data.splits import HashSplit, TimeSplit
from omnifeat.data.validate import validate
from omnifeat.enrich import filling
from tests.data.small_world import replaced, tables

World = Callable[..., Path]


def omnifeat(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["enrich", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def done(*arguments: object) -> dict:
    code, stdout, stderr = omnifeat(*arguments, "--json", "--threads", 1, "--memory-limit", "200MB")
    assert code == 0, stderr
    return json.loads(stdout)


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_queries_then_boards_in_place(world: World, tmp_path: Path) -> None:
    split = TimeSplit(development_from=datetime(2024, 3, 10, tzinfo=UTC), test_from=datetime(2024, 3, 20, tzinfo=UTC))
    folder, out = world(split), tmp_path / "out"
    before = hashes(folder)
    result = done("queries", folder, "-o", out)
    assert hashes(folder) == before
    assert result["rows"] == {"pins": 2, "products": 1}
    assert result["filled"] == {"pins": 2, "products": 0}  # the product was engaged with after the split alone
    assert (result["first_day"], result["last_day"]) == ("2022-03-11", "2024-03-09")
    pins = Dataset.open(out).read("pins")
    assert pins["engaged_queries"].to_pylist() == [["sink", "tap"], ["sink"]]
    original = Dataset.open(folder).read("pins")
    assert pins.column_names == original.column_names  # a column that was there keeps its place
    assert pins.drop_columns("engaged_queries").equals(original.drop_columns("engaged_queries"))
    products = Dataset.open(out).read("products")
    assert products["engaged_queries"].to_pylist() == [[]]
    assert validate(out, check_leaks=True).problems == []
    result = done("boards", out, "-o", out, "--overwrite")
    pins = Dataset.open(out).read("pins")
    assert pins["board_titles"].to_pylist() == [[], ["Kitchen"]]
    assert pins["engaged_queries"].to_pylist() == [["sink", "tap"], ["sink"]]
    assert validate(out, check_leaks=True).problems == []
    done("queries", out, "-o", out, "--overwrite", "--top", 1)
    notes = Dataset.open(out).info.notes
    assert [note for note in notes if note.startswith("engaged_queries: at most")] == [
        "engaged_queries: at most 1 queries by weighted counts of actions of the days 2022-03-11 to 2024-03-09"
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "world"]  # nothing half lies about


def test_the_same_input_gives_the_same_bytes(world: World, tmp_path: Path) -> None:
    folder = world(HashSplit())
    for name in ("one", "two"):
        done("queries", folder, "-o", tmp_path / name)
        done("boards", tmp_path / name, "-o", tmp_path / name, "--overwrite")
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_other_tables_are_carried_over(world: World, tmp_path: Path) -> None:
    folder = world()
    (folder / "truth").mkdir()
    (folder / "truth" / "deep.bin").write_bytes(b"deep")
    (folder / "README.md").write_text("mine")
    (folder / ".hidden").write_text("not a table")
    done("queries", folder, "-o", tmp_path / "linked")
    done("queries", folder, "-o", tmp_path / "copied", "--copy")
    kept = {"queries.parquet", "engagements.parquet", "saves.parquet", "truth/deep.bin", "README.md"}
    for name, same in (("linked", True), ("copied", False)):
        assert kept < set(hashes(tmp_path / name))
        assert ".hidden" not in hashes(tmp_path / name)
        for file in kept:
            assert os.path.samefile(folder / file, tmp_path / name / file) is same
            assert (folder / file).read_bytes() == (tmp_path / name / file).read_bytes()


def test_a_file_system_without_links(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*paths: object) -> None:
        raise OSError("no links here")

    folder = world()
    monkeypatch.setattr(os, "link", refused)
    done("queries", folder, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "saves.parquet").read_bytes() == (folder / "saves.parquet").read_bytes()


def test_rows_keep_their_order_over_many_batches(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Part files, and batches that are not those of the lists."""
    monkeypatch.setattr(filling, "_BATCH", 7)
    ids = [f"p{(i * 37) % 100}" for i in range(100)]
    vectors = pa.array([[float(i), 1.0] if i % 3 else None for i in range(100)], pa.list_(pa.float32(), 2))
    pins = pa.table({"id": ids, "pinsage": vectors, "mine": range(100)})
    some = [i for i in range(100) if i % 4]
    log = pa.table(
        {
            "query": [f"query of p{i}" for i in some], "entity_id": [f"p{i}" for i in some],
            "entity_type": ["pin"] * len(some), "action": ["save"] * len(some),
            "timestamp": [datetime(2024, 3, 1, tzinfo=UTC)] * len(some),
        }
    )  # fmt: skip
    folder = world(pins=pins, products=None, engagements=log, saves=None, judgments=None, impressions=None)
    (folder / "pins.parquet").unlink()
    (folder / "pins").mkdir()
    for number, start in enumerate(range(0, 100, 30)):
        pq.write_table(with_lists(pins).slice(start, 30), folder / "pins" / f"{number}.parquet")
    result = done("queries", folder, "-o", tmp_path / "out")
    assert result["filled"] == {"pins": 75}
    found = Dataset.open(tmp_path / "out").read("pins").to_pylist()
    assert [row["id"] for row in found] == ids
    assert [row["mine"] for row in found] == list(range(100))
    assert [row["pinsage"] for row in found] == vectors.to_pylist()
    assert [row["engaged_queries"] for row in found] == [[f"query of {i}"] if int(i[1:]) % 4 else [] for i in ids]
    assert not (tmp_path / "out" / "pins").exists()


def with_lists(pins: pa.Table) -> pa.Table:
    """Vectors as lists, which Arrow can read again where they are null."""
    place = pins.column_names.index("pinsage")
    return pins.set_column(place, "pinsage", pins["pinsage"].cast(pa.list_(pa.float32())))


def test_new_log_files_with_a_state(world: World, tmp_path: Path) -> None:
    folder, state = world(), tmp_path / "state"
    log = tables()["engagements"]
    for number in range(4):
        pq.write_table(log.slice(number, 1), tmp_path / f"day{number}.parquet")
    full = done("queries", folder, "-o", tmp_path / "full")
    assert (full["parts"], full["new_parts"], full["log_rows"]) == (1, 1, 4)
    for number in (2, 0, 2, 3):
        done(
            "queries",
            folder,
            "-o",
            tmp_path / "out",
            "--overwrite",
            "--state",
            state,
            "--log",
            tmp_path / f"day{number}.parquet",
        )
    result = done(
        "queries",
        folder,
        "-o",
        tmp_path / "out",
        "--overwrite",
        "--state",
        state,
        "--log",
        tmp_path / "day1.parquet",
        "--log",
        tmp_path / "day0.parquet",
    )
    assert (result["parts"], result["new_parts"], result["log_rows"], result["new_log_rows"]) == (4, 1, 4, 1)
    for table in ("pins", "products"):
        assert (tmp_path / "out" / f"{table}.parquet").read_bytes() == (
            tmp_path / "full" / f"{table}.parquet"
        ).read_bytes()


def test_a_state_is_not_written_over(world: World, tmp_path: Path) -> None:
    folder, out = world(), tmp_path / "out"
    for state in (out, out / "state"):
        code, _, stderr = omnifeat("queries", folder, "-o", out, "--state", state)
        assert code == 2
        assert f"The state {state} lies in {out}, which is written anew: put it elsewhere." in stderr
        assert not out.exists()
    # within the dataset it is carried over, in place too
    done("queries", folder, "-o", folder, "--overwrite", "--state", folder / "state")
    again = done("queries", folder, "-o", folder, "--overwrite", "--state", folder / "state")
    assert (again["parts"], again["new_parts"]) == (1, 0)


def test_what_is_printed(world: World, tmp_path: Path) -> None:
    log = tables()["engagements"]
    more = replaced(log, "entity_id", pa.array(["p1", "p9", "p2", "q1"]))
    code, stdout, _ = omnifeat("queries", world(engagements=more), "-o", tmp_path / "out")
    assert code == 0
    assert "left out: queries of 1 entities that are in no table" in stdout
    assert "log: 1 files with 4 rows, of which 1 files with 4 rows were read now" in stdout
    assert "no split is recorded, so that every engagement counts" in stdout
    code, stdout, _ = omnifeat("boards", tmp_path / "out", "-o", tmp_path / "again")
    assert code == 0
    assert "1 saves to 1 boards, 0 of them with a noisy title" in stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--as-of", "yesterday"], "--as-of 'yesterday' is not a day such as 2024-03-01"),
        (["--weight", "save"], "--weight save does not read ACTION=N"),
        (["--weight", "save=-1"], "--weight save=-1 does not read ACTION=N"),
        (["--weight", "like=1"], "There is no action 'like'"),
        (["--weight", "save=1", "--weight", "save=2"], "--weight names 'save' twice"),
        (["--memory-limit", "lots"], "The memory limit must be a size such as 4GB"),
        (["--memory-limit", "1MB"], "The memory limit must be at least 64MB"),
        (["--log", "nowhere.parquet"], "nowhere.parquet does not exist"),
    ],
)
def test_options_that_make_no_sense(world: World, tmp_path: Path, arguments: list[str], message: str) -> None:
    code, stdout, stderr = omnifeat("queries", world(), "-o", tmp_path / "out", *arguments)
    assert (code, stdout) == (2, "")
    assert stderr.startswith("error: ")
    assert stderr.count("\n") == 1
    assert message in stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["queries", "boards"])
def test_folders_that_make_no_sense(world: World, tmp_path: Path, command: str) -> None:
    folder = world()
    cases = [
        (tmp_path / "nowhere", tmp_path / "out", "nowhere does not exist"),
        (folder, folder, "exists and is not empty"),
        (folder / "pins.parquet", tmp_path / "out", "is a file: give a dataset folder"),
        (folder, "memory://out", "is not on this machine"),
    ]
    for data, out, message in cases:
        code, _, stderr = omnifeat(command, data, "-o", out)
        assert code == 2
        assert message in stderr
    table = "engagements" if command == "queries" else "saves"
    whole = (folder / f"{table}.parquet").read_bytes()
    (folder / f"{table}.parquet").write_bytes(whole[:-25])
    code, _, stderr = omnifeat(command, folder, "-o", tmp_path / "out")
    assert code == 2
    assert f"{table}.parquet cannot be read as Parquet" in stderr
    (folder / f"{table}.parquet").write_bytes(whole)
    pins = folder / "pins.parquet"
    pins.write_bytes(pins.read_bytes()[:-25])
    code, _, stderr = omnifeat(command, folder, "-o", tmp_path / "out")
    assert code == 2
    assert "pins.parquet cannot be read as Parquet" in stderr
    assert not (tmp_path / "out").exists()


def test_ids_that_never_meet_are_refused_with_both_ways_of_writing(world: World, tmp_path: Path) -> None:
    folder = world(None)
    path = folder / "engagements.parquet"
    log = pq.read_table(path)
    ids = pa.array([f"{one.upper()} " for one in log["entity_id"].to_pylist()])
    pq.write_table(
        log.set_column(log.schema.get_field_index("entity_id"), "entity_id", ids), folder / "engagements.parquet"
    )
    code, _, stderr = omnifeat("queries", folder, "-o", tmp_path / "out")
    assert code == 2
    assert "stands in" in stderr
    assert "letter case or white space" in stderr
    assert not (tmp_path / "out").exists()
