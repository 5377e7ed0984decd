"""Each leak is planted and seen; a clean world stays clean."""

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.data.leaks_counts import follows
from omnifeat.data.provenance import Provenance, with_provenance
from omnifeat.data.splits import HashSplit, TimeSplit
from omnifeat.data.validate import validate
from omnifeat.errors import DataError
from omnifeat.simulator.simulate import simulate
from tests.data.small_world import MARCH, replaced, tables

DAY = timedelta(days=1)
SPLIT = TimeSplit(development_from=MARCH + 10 * DAY, test_from=MARCH + 20 * DAY)


def write(folder: Path, split: HashSplit | TimeSplit | None = SPLIT, **changed: pa.Table) -> Path:
    with DatasetWriter(folder, DatasetInfo(name="small", split=split), overwrite=True) as writer:
        for name, table in (tables() | changed).items():
            writer.write(name, table)
    return folder


def messages(folder: Path) -> list[str]:
    return [problem.message for problem in validate(folder, check_leaks=True).problems]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("leaks") / "world"
    simulate(folder, scale="tiny", seed=3)
    return folder


def changed(tiny: Path, out: Path, **changes: pa.Table) -> Path:
    dataset = Dataset.open(tiny)
    with DatasetWriter(out, dataset.info) as writer:
        for name in dataset.tables():
            writer.write(name, changes.get(name, dataset.read(name)))
    return out


@pytest.mark.parametrize(("scale", "seed"), [("tiny", 0), ("tiny", 1), ("small", 0)])
def test_a_simulated_world_is_clean(tmp_path: Path, scale: str, seed: int) -> None:
    simulate(tmp_path / "world", scale=scale, seed=seed)
    assert validate(tmp_path / "world", check_leaks=True).ok


def boards(titles: list[list[str] | None], saved: list[tuple[str, str, datetime | None]]) -> dict[str, pa.Table]:
    """Pins p1, p2 with board titles; boards b1 Kitchen, b2 Garden, b3 kitchen; saves (board, pin, time)."""
    columns = list(zip(*saved, strict=True))
    return {
        "pins": replaced(tables()["pins"], "board_titles", pa.array(titles, pa.list_(pa.string()))),
        "boards": pa.table({"board_id": ["b1", "b2", "b3"], "title": ["Kitchen", "Garden", "kitchen "]}),
        "saves": pa.table(
            {
                "board_id": columns[0],
                "entity_id": columns[1],
                "entity_type": ["pin"] * len(saved),
                "timestamp": pa.array(columns[2], pa.timestamp("us", tz="UTC")),
            }
        ),
    }


EARLY, LATE = MARCH + DAY, MARCH + 12 * DAY


@pytest.mark.parametrize(
    ("titles", "saved", "expected"),
    [
        # of a save after the split
        ([["Kitchen"], []], [("b1", "p1", LATE), ("b1", "p2", EARLY)], "row 1 (id 'p1'): the board title 'Kitchen', of "
         "boards that hold it only from 2024-03-11 00:00 on"),
        # in other letters
        ([None, ["GARDEN"]], [("b2", "p2", LATE)], "row 2 (id 'p2'): the board title 'GARDEN', of boards that hold it"),
        # of a board that came later, and does not hold it
        ([["Garden"], None], [("b2", "p2", LATE), ("b1", "p1", EARLY)], "the board title 'Garden', of boards that have "
         "saves only from"),
        # an earlier save makes it known, on another board of the same title too
        ([["Kitchen"], None], [("b1", "p1", LATE), ("b1", "p1", EARLY)], None),
        ([["Kitchen"], None], [("b1", "p1", LATE), ("b3", "p1", EARLY)], None),
        # no evidence: no time, another source of the title, a board without saves
        ([["Kitchen"], None], [("b1", "p1", None), ("b1", "p2", LATE)], None),
        ([["Bathroom"], None], [("b1", "p1", LATE)], None),
        ([["Garden"], None], [("b1", "p1", EARLY)], None),
    ],
)  # fmt: skip
def test_board_titles(
    tmp_path: Path, titles: list[list[str] | None], saved: list[tuple[str, str, datetime | None]], expected: str | None
) -> None:
    found = messages(write(tmp_path / "world", **boards(titles, saved)))
    assert len(found) == (expected is not None)
    if expected is not None:
        assert expected in found[0]
        assert found[0].startswith(str(tmp_path / "world" / "pins.parquet"))


def test_a_planted_board_title_in_a_whole_world(tiny: Path, tmp_path: Path) -> None:
    """All saves are counted, as one would who forgets the split."""
    dataset = Dataset.open(tiny)
    title = dict(zip(*(dataset.read("boards")[name].to_pylist() for name in ("board_id", "title")), strict=True))
    titles: dict[str, set[str]] = {}
    for save in dataset.read("saves").to_pylist():
        titles.setdefault(save["entity_id"], set()).add(title[save["board_id"]])
    pins = dataset.read("pins")
    lists = pa.array([sorted(titles.get(pin, ())) for pin in pins["id"].to_pylist()], pa.list_(pa.string()))
    report = validate(changed(tiny, tmp_path / "out", pins=replaced(pins, "board_titles", lists)), check_leaks=True)
    assert set(report.found) == {("pins", "board_titles", "leak")}
    assert report.total > 10


def counted(dataset: Dataset, *, whole: bool, action: str | None = None) -> Counter[str]:
    split = dataset.info.split
    assert isinstance(split, TimeSplit)
    log = dataset.read("engagements")
    if not whole:
        log = log.filter(pc.less(log["timestamp"], pa.scalar(split.development_from)))
    if action is not None:
        log = log.filter(pc.equal(log["action"], action))
    return Counter(log["entity_id"].to_pylist())


@pytest.mark.parametrize("form", ["count", "log", "share", "saves alone"])
def test_popularity_over_the_whole_log(tiny: Path, tmp_path: Path, form: str) -> None:
    dataset = Dataset.open(tiny)
    functions = {"log": np.log1p, "share": lambda counts: counts / 6000}
    for whole in (True, False):
        counts = counted(dataset, whole=whole, action="save" if form == "saves alone" else None)
        changes = {}
        for table, key in (("impressions", "entity_id"), ("pins", "id")):
            rows = dataset.read(table)
            values = np.array([counts[entity] for entity in rows[key].to_pylist()], dtype=np.float64)
            changes[table] = replaced(rows, "f_popularity", pa.array(functions.get(form, np.asarray)(values)))
        report = validate(changed(tiny, tmp_path / f"whole{whole}", **changes), check_leaks=True)
        expected = {("impressions", "f_popularity", "leak"): 1, ("pins", "f_popularity", "leak"): 1} if whole else {}
        assert report.found == expected
        if whole:
            what = "save" if form == "saves alone" else "engagements"
            assert f"column 'f_popularity' follows the number of {what} in the whole log (for 100% of" in (
                report.problems[0].message
            )


def test_other_features_are_no_leak(tiny: Path, tmp_path: Path) -> None:
    pins = Dataset.open(tiny).read("pins")
    random = np.random.default_rng(0).random(pins.num_rows)
    for name, values in (("f_random", random), ("f_constant", np.ones_like(random)), ('f_"odd', (random < 0.1) * 1.0)):
        pins = replaced(pins, name, pa.array(values))
    assert validate(changed(tiny, tmp_path / "out", pins=pins), check_leaks=True).ok


def test_follows_by_hand() -> None:
    counts = np.array([1, 1, 2, 3, 4, 5], dtype=np.float64)
    assert follows(np.log(counts), counts) == 1.0
    assert follows(np.minimum(counts, 4), counts) == 1.0
    assert follows(-counts, counts) == 0.0  # one value, that of the smallest count: too few to tell
    assert follows(np.array([1, 9, 2, 3, 4, 5.0]), counts) == pytest.approx(5 / 6)
    assert follows(np.ones(6), counts) == 0.0


def test_columns_made_from_later_rows(tmp_path: Path) -> None:
    pins = tables()["pins"]

    def made(last: datetime | None, undated: int = 0) -> pa.Table:
        provenance = Provenance(made_by="omnifeat enrich graph", reads=("saves",), last=last, undated=undated)
        return pins.cast(with_provenance(pins.schema, {"pinsage": provenance}))

    assert messages(write(tmp_path / "world", pins=made(EARLY))) == []
    found = messages(write(tmp_path / "world", pins=made(LATE)))
    assert len(found) == 1
    assert (
        "pins.parquet, column 'pinsage' was made by omnifeat enrich graph from saves up to 2024-03-13 00:00, but the "
        "development part starts at 2024-03-11 00:00: make it again from earlier rows"
    ) in found[0]
    # the file carries it into any other dataset
    (tmp_path / "world" / "pins.parquet").rename(tmp_path / "pins.parquet")
    other = write(tmp_path / "other")
    assert messages(other) == []
    (tmp_path / "pins.parquet").rename(other / "pins.parquet")
    assert len(messages(other)) == 1
    assert "of which 3 rows bear no time" in messages(write(tmp_path / "world", pins=made(EARLY, 3)))[0]
    assert (
        messages(write(tmp_path / "world", HashSplit(column="entity_id", test=0, development=0), pins=made(LATE))) == []
    )


def test_provenance_that_cannot_be_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "world")
    pins = pq.read_table(folder / "pins.parquet").replace_schema_metadata({"omnifeat.provenance": "[1]"})
    pq.write_table(pins, folder / "pins.parquet")
    found = messages(folder)
    assert len(found) == 1
    assert "pins.parquet, metadata omnifeat.provenance' is wrong at" in found[0]
    assert found[0].endswith("write the table again.")


def test_pairs_are_held_against_the_whole_log(tmp_path: Path) -> None:
    """A query known from a row that is no pair is no leak; without the log it would look like one."""
    log = tables()["engagements"]
    late = log.slice(0, 1).set_column(4, "timestamp", pa.array([LATE], pa.timestamp("us", tz="UTC")))
    folder = write(tmp_path / "world", engagements=late)
    assert len(messages(folder)) == 1
    assert "the engaged query 'sink'" in messages(folder)[0]
    assert messages(write(tmp_path / "world", engagements=late, log=log)) == []


def test_the_log_and_the_corpus_are_checked(tmp_path: Path) -> None:
    log = tables()["engagements"]
    corpus = pa.table({"entity_type": ["pin", "pin"], "entity_id": ["p1", "p7"]})
    found = [p.message for p in validate(write(tmp_path / "world", log=log, corpus=corpus)).problems]
    assert len(found) == 1
    assert "corpus.parquet, row 2: entity_id 'p7' is not in column 'id' of the table 'pins'" in found[0]
    with pytest.raises(DataError, match="column 'action' is missing|no column 'action'"):
        write(tmp_path / "world", log=log.drop_columns(["action"]))
