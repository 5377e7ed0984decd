"""The panel judges any pairs of a world as its table of judgments came about."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from omnifeat.errors import DataError, SettingError
from omnifeat.simulator import rates, simulate
from omnifeat.simulator.panel import RaterPanel


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("panel") / "world"
    simulate(path, scale="tiny")
    return path


def columns(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    return table["query"].tolist(), table["entity_id"].tolist()


@pytest.mark.parametrize("entity_type", ["pin", "product"])
def test_true_grades_are_those_of_the_world(world: Path, entity_type: str) -> None:
    grades = pd.read_parquet(world / "truth" / "grades.parquet")
    grades = grades[grades["entity_type"] == entity_type]
    assert grades["grade"].nunique() > 2
    found = RaterPanel(world).true_grades(*columns(grades), entity_type)
    np.testing.assert_array_equal(found, grades["grade"])


def every_pair(world: Path) -> tuple[list[str], list[str]]:
    queries = pd.read_parquet(world / "queries.parquet")["query"].tolist()
    pins = pd.read_parquet(world / "pins.parquet")["id"].tolist()
    rows = np.random.default_rng(0).integers(0, [len(queries), len(pins)], (3000, 2))
    pairs = list(dict.fromkeys((queries[query], pins[pin]) for query, pin in rows))
    return [query for query, _ in pairs], [pin for _, pin in pairs]


def test_three_different_raters_with_noise_and_few_slips(world: Path) -> None:
    queries, pins = every_pair(world)
    panel = RaterPanel(world)
    judged = panel.judge(queries, pins, "pin").to_pandas()
    assert judged["query"].tolist() == [query for query in queries for _ in range(3)]
    assert not judged.duplicated(["query", "entity_id", "rater"]).any()
    assert judged["rater"].nunique() == rates.RATERS
    assert judged["grade"].isin(range(5)).all()
    off = judged["grade"].to_numpy() - np.repeat(panel.true_grades(queries, pins, "pin"), 3)
    inside = np.repeat(np.isin(panel.true_grades(queries, pins, "pin"), [1, 2, 3]), 3)
    # normal noise of half a grade before rounding, a bias of 0.15: of grades with room on both sides about 0.33 are off
    assert 0.25 < (off[inside] != 0).mean() < 0.45
    assert 0 < (np.abs(off) > 2).mean() < rates.RATER_SLIP
    # raters differ in what they are off by on average, and no two panels are alike
    other = RaterPanel(world, seed=1).judge(queries, pins, "pin").to_pandas()
    assert (other["grade"] != judged["grade"]).mean() > 0.05


def test_a_pair_is_judged_alike_in_any_company(world: Path) -> None:
    queries, pins = (column[:60] for column in every_pair(world))
    whole = RaterPanel(world).judge(queries, pins, "pin").to_pandas()
    for rows in (range(0, 60, 7), range(59, -1, -1)):
        part = RaterPanel(world).judge([queries[row] for row in rows], [pins[row] for row in rows], "pin").to_pandas()
        expected = pd.concat([whole.iloc[row * 3 : row * 3 + 3] for row in rows], ignore_index=True)
        pd.testing.assert_frame_equal(part, expected)
    twice = RaterPanel(world).judge([queries[0], queries[0]], [pins[0], pins[0]], "pin")
    assert twice.num_rows == 3
    assert RaterPanel(world).judge([], [], "pin").num_rows == 0


def test_bad_input(world: Path, tmp_path: Path) -> None:
    panel = RaterPanel(world)
    query, pin = (column[0] for column in every_pair(world))
    with pytest.raises(DataError, match="does not know the query 'no such query', so nobody there can judge it"):
        panel.judge([query, "no such query"], [pin, pin], "pin")
    with pytest.raises(DataError, match="does not know the pin 'pin-x'"):
        panel.judge([query], ["pin-x"], "pin")
    with pytest.raises(SettingError, match="pin or product, not 'query'"):
        panel.judge([query], [query], "query")
    with pytest.raises(SettingError, match="0 or more, got -1"):
        RaterPanel(world, seed=-1)
    with pytest.raises(DataError, match="holds no truth/rates.json of a simulated world"):
        RaterPanel(tmp_path)
    other = tmp_path / "other"
    shutil.copytree(world / "truth", other / "truth")
    said = json.loads((other / "truth" / "rates.json").read_text())
    said["rates"]["RATER_NOISE"] = 0.1
    (other / "truth" / "rates.json").write_text(json.dumps(said))
    with pytest.raises(DataError, match="RATER_NOISE was 0.1 when this world was made, and now it is 0.5"):
        RaterPanel(other)
    (other / "truth" / "rates.json").write_text((world / "truth" / "rates.json").read_text())
    (other / "truth" / "pin_latent.parquet").write_text("no table")
    with pytest.raises(DataError, match="pin_latent.parquet cannot be read"):
        RaterPanel(other).judge([query], [pin], "pin")
