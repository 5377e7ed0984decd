from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.data.files import read_table
from omnifeat.data.splits import TimeSplit
from omnifeat.data.validate import validate
from omnifeat.enrich.graph import entity_vectors, fit_boards, ppmi
from omnifeat.enrich.graph_columns import GraphSettings, enrich_graph
from omnifeat.errors import DataError

START = datetime(2024, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SPLIT = TimeSplit(development_from=START + 10 * DAY, test_from=START + 15 * DAY, gap_days=2)
Save = tuple[str, str, datetime | None]


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["enrich", "graph", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def write(folder: Path, saves: list[Save], split: TimeSplit | None = SPLIT, pins: int = 12) -> Path:
    boards, ids, times = zip(*saves, strict=True)
    kinds = ["product" if identity.startswith("q") else "pin" for identity in ids]
    with DatasetWriter(folder, DatasetInfo(name="graph", split=split), overwrite=True) as writer:
        writer.write("pins", pa.table({"id": [f"p{n}" for n in range(pins)], "title": ["x"] * pins}))
        writer.write("products", pa.table({"id": ["q0", "q1", "q2"]}))
        writer.write("boards", pa.table({"board_id": sorted(set(boards)), "title": ["x"] * len(set(boards))}))
        stamps = pa.array(times, pa.timestamp("us", tz="UTC"))
        writer.write(
            "saves", pa.table({"board_id": boards, "entity_id": ids, "entity_type": kinds, "timestamp": stamps})
        )
    return folder


def themes(times: datetime = START) -> list[Save]:
    """Pins 0-4 and q0 on boards a*, pins 5-9 and q1 on boards b*, each on three of four; p10 on one of a's alone."""
    saves: list[Save] = []
    for theme, first, product in (("a", 0, "q0"), ("b", 5, "q1")):
        for place, identity in enumerate([*(f"p{first + n}" for n in range(5)), product]):
            saves += [(f"{theme}{n}", identity, times) for n in range(4) if n != place % 4]
    return [*saves, ("a1", "p10", times)]


def test_ppmi_by_hand() -> None:
    counts = sp.csr_matrix(np.array([[2, 0], [1, 3]]))
    shares = np.array([0.4, 0.6])
    # ln(1 / 0.4); ln(0.25 / 0.4) < 0 is none; ln(0.75 / 0.6)
    np.testing.assert_allclose(ppmi(counts, shares).toarray(), [[np.log(2.5), 0], [0, np.log(1.25)]])


def test_vectors_are_the_symmetric_factorisation() -> None:
    """Placing the fitted entities by their boards gives the rows of U * sqrt(S) of a dense SVD, up to signs."""
    rng = np.random.default_rng(0)
    dense = rng.integers(0, 3, (12, 9)) * (rng.random((12, 9)) < 0.6)
    counts = sp.csr_matrix(dense)
    totals = np.maximum(dense.sum(axis=0), 1).astype(np.float64)
    boards = fit_boards(counts, pa.array([f"b{n}" for n in range(9)]), totals, width=8, seed=0)
    shares = totals**0.75 / (totals**0.75).sum()
    matrix = ppmi(counts, shares).toarray()
    left, values, _ = np.linalg.svd(matrix, full_matrices=False)
    expected = left[:, :8] * np.sqrt(values[:8])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    mine = entity_vectors(counts, boards)
    np.testing.assert_allclose(mine @ mine.T, expected @ expected.T, atol=1e-4)


def test_themes_come_apart(tmp_path: Path) -> None:
    data = write(tmp_path / "data", themes())
    result = enrich_graph(Dataset.open(data), tmp_path / "out", GraphSettings(width=2))
    assert result.with_vector == {"pins": 11, "products": 2}
    assert result.without == {"pins": 1, "products": 1}  # p11 and q2 are on no board
    assert result.fitted == 12  # p10 has one save: placed, not fitted
    out = Dataset.open(tmp_path / "out")
    pins, products = out.read("pins"), out.read("products")
    assert pins.schema.field("pinsage").type == pa.list_(pa.float32(), 2)
    assert pins["pinsage"][11].as_py() is None
    assert products["itemsage"][2].as_py() is None
    vectors = np.array(pins["pinsage"].to_pylist()[:11] + products["itemsage"].to_pylist()[:2])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    cosines = vectors @ vectors.T
    theme = np.array([0] * 5 + [1] * 5 + [0, 0, 1])  # pins, p10, then the products
    same = theme[:, None] == theme[None, :]
    assert cosines[same].min() > 0.9
    assert np.abs(cosines[~same]).max() < 0.05
    assert pins["title"].to_pylist() == ["x"] * 12
    assert validate(tmp_path / "out", check_leaks=True).ok


def test_vectors_of_products_beside_those_of_pins_stay_in_their_space(tmp_path: Path) -> None:
    plain = Dataset.open(write(tmp_path / "plain", themes()))
    old = pa.array([[1.0, 0.0, 0.0]] * plain.count("products"), pa.list_(pa.float32(), 3))
    with DatasetWriter(tmp_path / "data", plain.info) as writer:
        for table in plain.tables():
            rows = plain.read(table)
            writer.write(table, rows.append_column("pinsage", old) if table == "products" else rows)
    data = Dataset.open(tmp_path / "data")
    with pytest.raises(DataError, match=r"products\.parquet has vectors in 'pinsage' already"):
        enrich_graph(data, tmp_path / "out", GraphSettings(width=2))
    enrich_graph(data, tmp_path / "out", GraphSettings(width=2), replace=True)
    products = Dataset.open(tmp_path / "out").read("products")
    assert products["pinsage"].to_pylist() == products["itemsage"].to_pylist()


def test_saves_after_the_training_part_do_not_count(tmp_path: Path) -> None:
    late = [("b1", "p0", START + 9 * DAY), ("b2", "p0", START + 12 * DAY)]  # in the gap, and in the development part
    enrich_graph(Dataset.open(write(tmp_path / "data", themes())), tmp_path / "out", GraphSettings(width=4))
    with_late = write(tmp_path / "late", [*themes(), *late])
    enrich_graph(Dataset.open(with_late), tmp_path / "out2", GraphSettings(width=4))
    one, two = (Dataset.open(tmp_path / name).read("pins") for name in ("out", "out2"))
    assert one.equals(two)
    # who asks for later ones gets them, and is found out
    enrich_graph(Dataset.open(with_late), tmp_path / "out3", GraphSettings(width=4, until=START + 20 * DAY))
    assert not one.equals(Dataset.open(tmp_path / "out3").read("pins"))
    report = validate(tmp_path / "out3", check_leaks=True)
    assert report.found == {("pins", "pinsage", "leak"): 1, ("products", "itemsage", "leak"): 1}
    assert "from saves up to 2024-03-13 00:00" in report.problems[0].message


def test_new_entities_are_placed_by_the_old_boards(tmp_path: Path) -> None:
    enrich_graph(Dataset.open(write(tmp_path / "data", themes())), tmp_path / "old", GraphSettings(width=4))
    more = [*themes(), ("b0", "p11", START), ("b1", "p11", START), ("new", "p11", START), ("new", "q2", START)]
    data = write(tmp_path / "more", more)
    result = enrich_graph(Dataset.open(data), tmp_path / "out", boards_from=tmp_path / "old")
    assert result.fitted == 0
    old, new = (Dataset.open(tmp_path / name).read("pins")["pinsage"].to_pylist() for name in ("old", "out"))
    assert new[:11] == old[:11]
    assert np.dot(new[11], new[5]) > 0.3 > abs(np.dot(new[11], new[0]))
    assert Dataset.open(tmp_path / "out").read("products")["itemsage"][2].as_py() is None  # its only board is unknown
    assert validate(tmp_path / "out", check_leaks=True).ok


def test_the_same_bytes(tmp_path: Path) -> None:
    data = Dataset.open(write(tmp_path / "data", themes()))
    for name in ("one", "two"):
        enrich_graph(data, tmp_path / name, GraphSettings(width=4, seed=5))
    for name in ("pins.parquet", "products.parquet", "graph_boards.parquet", "dataset.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_saves_without_a_time(tmp_path: Path) -> None:
    saves: list[Save] = [*themes(), ("a0", "p0", None)]
    data = Dataset.open(write(tmp_path / "data", saves))
    with pytest.raises(DataError, match=r"has saves without a timestamp, so that nobody can tell which lie before"):
        enrich_graph(data, tmp_path / "out", GraphSettings(width=4))
    enrich_graph(data, tmp_path / "out", GraphSettings(width=4, undated=True))
    report = validate(tmp_path / "out", check_leaks=True)
    assert "from saves of which 1 rows bear no time" in report.problems[0].message
    # without a split by time there is nothing that they could lie after
    unsplit = Dataset.open(write(tmp_path / "unsplit", saves, None))
    assert enrich_graph(unsplit, tmp_path / "all", GraphSettings(width=4)).saves == 38


def test_command_and_bad_input(tmp_path: Path) -> None:
    data, out = write(tmp_path / "data", themes()), tmp_path / "out"
    late = write(tmp_path / "late", themes(START + 12 * DAY))
    odd, far = write(tmp_path / "odd", themes()), write(tmp_path / "far", themes())
    saves = read_table(odd / "saves.parquet")
    kinds = ["pin", "pine", *saves["entity_type"].to_pylist()[2:]]
    pq.write_table(saves.set_column(2, "entity_type", pa.array(kinds)), odd / "saves.parquet")
    times = pa.array([-(10**18)] * saves.num_rows).cast(pa.timestamp("us", tz="UTC"))
    pq.write_table(saves.set_column(3, "timestamp", times), far / "saves.parquet")
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, expected in [
        (
            (data, "-o", out),
            "The width 64 is too large for a graph of 12 fitted entities and 8 boards: give at most 7.",
        ),
        ((data, "-o", out, "--width", 0), "The width must be at least 1, but is 0"),
        ((data, "-o", out, "--until", "soon"), "--until 'soon' is not a day"),
        ((data, "-o", out, "--until", "0001-01-01T00:00+09:00"), "--until '0001-01-01T00:00+09:00' is not a day"),
        ((data, "-o", out, "--seed", "-1"), "The seed must be from 0 to 4294967295, but is -1."),
        ((data, "-o", out, "--seed", 2**32), "The seed must be from 0 to 4294967295"),
        ((late, "-o", out, "--width", 2), "has no save before 2024-03-09 00:00, where the training part ends"),
        ((data, "-o", out, "--boards-from", late), "graph_boards.parquet does not exist"),
        ((empty, "-o", out), "dataset.json does not exist"),
        (
            (odd, "-o", out, "--width", 2),
            "saves.parquet, row 2: the entity_type is 'pine', but must be one of pin, product",
        ),
        ((far, "-o", out, "--width", 2, "--until", "2025-01-01"), "saves.parquet has times in no year from 1 to 9999"),
        ((data, "-o", out, "--least-saves", 99), "of 0 fitted entities and 8 boards: no width is small enough"),
    ]:
        code, shown, error = run(*arguments)
        assert (code, shown) == (2, "")
        assert expected in error
        assert error.count("\n") == 1
        assert not out.exists()
    code, shown, _ = run(data, "-o", out, "--width", 4)
    assert code == 0
    assert "From 37 saves to 8 boards; 12 entities fitted." in shown
    code, _, error = run(out, "-o", tmp_path / "again", "--width", 2)
    assert code == 2
    assert "has vectors in 'pinsage' already" in error
    code, shown, _ = run(out, "-o", tmp_path / "again", "--width", 2, "--replace", "--json")
    assert code == 0
    assert '"with_vector": {"pins": 11, "products": 2}' in shown
    assert Dataset.open(tmp_path / "again").schema("pins").field("pinsage").type.list_size == 2
