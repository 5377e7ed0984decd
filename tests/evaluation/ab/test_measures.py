"""Figures of arms: totals over totals, paired gains by hand, pages of what exists, grades given once."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from evaluation.ab.grading import first_of_type, grade_lists, mean_grades
from evaluation.ab.measures import (
    Totals,
    ad_totals,
    compare,
    fulfilment_totals,
    gctr_totals,
    null_tests,
    organic_totals,
)
from evaluation.ab.pages import Pages, WorldRows, first_there
from evaluation.ab.settings import AbSettings
from evaluation.judges import PanelJudge
from omnifeat.data.dataset import Dataset
from omnifeat.data.schema import ACTIONS
from omnifeat.errors import DataError, SettingError
from omnifeat.simulator.behaviour import Behaviour, Sessions
from ranking.stack import Catalogue


def test_gains_by_hand() -> None:
    # two queries: 1 of 4 and 1 of 1 searches fulfilled in the control, 2 of 4 and 1 of 1 in the arm
    control = Totals(np.array([1.0, 1.0]), np.array([4.0, 1.0]))
    arm = Totals(np.array([2.0, 1.0]), np.array([4.0, 1.0]))
    found = compare({"control": {"f": control}, "arm": {"f": arm}}, "control", resamples=400, level=0.95, seed=0)
    assert found["control"]["f"].value.value == pytest.approx(0.4)
    assert found["arm"]["f"].value.value == pytest.approx(0.6)
    assert found["arm"]["f"].difference.value == pytest.approx(0.2)
    assert found["arm"]["f"].gain.value == pytest.approx(0.5)
    # resamples: only the first query (1/4 to 2/4: gain 1), only the second (gain 0), both (gain 1/2)
    assert (found["arm"]["f"].gain.low, found["arm"]["f"].gain.high) == (0.0, 1.0)
    same = found["control"]["f"]
    assert (same.gain.value, same.gain.low, same.gain.high, same.difference.high) == (0.0, 0.0, 0.0, 0.0)


def test_a_control_of_nothing_has_no_gain() -> None:
    nothing, some = Totals(np.zeros(2), np.ones(2)), Totals(np.ones(2), np.ones(2))
    found = compare({"control": {"f": nothing}, "arm": {"f": some}}, "control", resamples=10, level=0.9, seed=0)
    assert np.isnan(found["arm"]["f"].gain.value)
    assert found["arm"]["f"].difference.value == 1.0


class Scripted:
    """People whose actions are given."""

    queries = ("a", "b", "c")

    def __init__(self, done: np.ndarray, chances: np.ndarray) -> None:
        self.done, self.told = done, chances

    def react(self, sessions: Sessions, kinds: np.ndarray, rows: np.ndarray, **_: object) -> np.ndarray:
        return self.done

    def chances(self, sessions: Sessions, kinds: np.ndarray, rows: np.ndarray, **_: object) -> np.ndarray:
        return self.told


def sessions(*queries: int) -> Sessions:
    row = np.array(queries)
    return Sessions(np.arange(len(row)), row, row.astype(np.int8), row.astype(np.int32), row)


def action(name: str) -> int:
    return ACTIONS.index(name)


def test_organic_figures_by_hand() -> None:
    click, save, buy = action("click"), action("save"), action("checkout")
    done = np.array([[click, -1], [save, click], [-1, -1], [-1, buy]], np.int8)
    chances = np.zeros((4, 2, len(ACTIONS)))
    chances[..., save] = 0.5
    chances[..., click] = 0.4  # a click fulfils nothing
    pages = Pages(np.zeros((4, 2), np.int8), np.zeros((4, 2), np.int64))
    graded = np.array([0.25, np.nan, 1.0])
    found = organic_totals(Scripted(done, chances), sessions(0, 0, 1, 2), pages, graded)  # type: ignore[arg-type]
    assert found["fulfilment"].sums.tolist() == [1, 0, 1]
    assert found["fulfilment"].counts.tolist() == [2, 1, 1]
    assert found["engaged"].sums.tolist() == [2, 0, 1]
    assert found["expected_fulfilment"].sums.tolist() == [1.5, 0.75, 0.75]
    assert found["relevance"].sums.tolist() == [0.5, 0, 1]
    assert found["relevance"].counts.tolist() == [2, 0, 1]


def test_ad_figures_by_hand() -> None:
    long_click, save = action("long_click"), action("save")
    done = np.array([[long_click, save], [-1, long_click]], np.int8)
    chances = np.zeros((2, 2, len(ACTIONS)))
    chances[..., long_click] = 0.1
    chances[..., save] = 0.3  # no click at all
    pages = Pages(np.array([[1, 1], [-1, 1]], np.int8), np.zeros((2, 2), np.int64))
    grades = np.array([[0.5, 1.0], [np.nan, 0.25]])
    found = ad_totals(Scripted(done, chances), sessions(0, 2), pages, (2, 5), grades)  # type: ignore[arg-type]
    assert found["gctr"].sums.tolist() == [1, 0, 1]
    assert found["gctr"].counts.tolist() == [2, 0, 1]
    assert found["relevance"].sums.tolist() == [1.5, 0, 0.25]
    assert found["expected_gctr"].sums.tolist() == pytest.approx([0.2, 0, 0.2])
    assert found["shown"].counts.tolist() == [1, 0, 1]


def test_null_tests_pair_moods_by_hand() -> None:
    # one query of ten searches; moods in pairs: 1 and 3, 5 and 5, 8 and 2 fulfilled
    fulfilled = [1.0, 3.0, 5.0, 5.0, 8.0, 2.0]
    found = null_tests(
        lambda mood: Totals(np.array([fulfilled[mood]]), np.array([10.0])), 3, resamples=20, level=0.95, seed=0
    )
    assert [one.value for one in found.differences] == pytest.approx([0.2, 0.0, -0.6])
    assert found.excluding_zero == 2  # of one query there is one resample
    none = null_tests(lambda mood: Totals(np.zeros(1), np.ones(1)), 0, resamples=20, level=0.95, seed=0)
    assert none.differences == ()


def test_null_tests_leave_zero_out_as_often_as_the_level_says() -> None:
    searches = np.random.default_rng(1).integers(1, 6, 400).astype(float)

    def totals(mood: int) -> Totals:
        return Totals(np.random.default_rng([7, mood]).binomial(searches.astype(int), 0.6).astype(float), searches)

    found = null_tests(totals, 400, resamples=400, level=0.9, seed=0)
    assert 20 <= found.excluding_zero <= 60  # 40 are expected, give or take 6


def test_figures_of_one_mood_are_those_of_the_table() -> None:
    click, save, long_click = action("click"), action("save"), action("long_click")
    done = np.array([[click, -1], [save, click], [-1, -1], [-1, long_click]], np.int8)
    people = Scripted(done, np.zeros((4, 2, len(ACTIONS))))
    pages = Pages(np.array([[1, 1], [1, 1], [-1, 1], [1, 1]], np.int8), np.zeros((4, 2), np.int64))
    searches, grades = sessions(0, 0, 1, 2), np.zeros((4, 2))
    organic = organic_totals(people, searches, pages, np.zeros(3))["fulfilment"]  # type: ignore[arg-type]
    ads = ad_totals(people, searches, pages, (2, 5), grades)["gctr"]  # type: ignore[arg-type]
    alone = fulfilment_totals(people, searches, pages), gctr_totals(people, searches, pages, (2, 5))  # type: ignore[arg-type]
    for one, other in zip((organic, ads), alone, strict=True):
        assert one.sums.tolist() == other.sums.tolist()
        assert one.counts.tolist() == other.counts.tolist()


def test_pages_hold_what_exists_at_the_moment(world: Path) -> None:
    people = Behaviour(world)
    catalogue = Catalogue.of(Dataset.open(world))
    rows = WorldRows(people, catalogue)
    lists = np.array([[0, 400, 1, 401, -1, -1]])  # 400 pins, then products
    pages = rows.pages(lists)
    assert pages.kinds.tolist() == [[0, 1, 0, 1, -1, -1]]
    assert pages.rows[0, :4].tolist() == [0, 0, 1, 1]
    there = people.there

    def without_the_first(*arguments: object) -> np.ndarray:
        found = there(*arguments).copy()  # type: ignore[arg-type]
        found[:, 0] = False
        return found

    people.there = without_the_first  # type: ignore[method-assign]
    one = sessions(0)
    late = Sessions(one.number, one.query, one.country, one.user, np.array([90 * 86_400]))
    shown = first_there(people, late, pages, 4)
    assert shown.kinds.tolist() == [[1, 0, 1, -1]]
    assert shown.rows.tolist() == [[0, 1, 1, 0]]


def test_a_pair_is_graded_once_for_all_arms(world: Path) -> None:
    catalogue = Catalogue.of(Dataset.open(world))
    people = Behaviour(world)
    lists = np.array([[0, 400, 5], [401, 7, -1]])
    pins = first_of_type(lists, catalogue, "pin", 4)
    assert pins.tolist() == [[0, 5, -1, -1], [7, -1, -1, -1]]
    judge = PanelJudge(world)
    asked: list[int] = []
    judge_pairs = judge.judge

    def counting(queries: list[str], ids: list[str], entity_type: str) -> pa.Table:
        asked.append(len(ids))
        return judge_pairs(queries, ids, entity_type)

    judge.judge = counting  # type: ignore[method-assign,assignment]
    queries = people.queries[:2]
    found = grade_lists({"one": pins, "other": pins[:, ::-1]}, queries, catalogue, "pin", judge)
    assert asked == [3]
    np.testing.assert_array_equal(found["one"], found["other"][:, ::-1])
    raters = judge_pairs([queries[1]], [catalogue.ids[7].as_py()], "pin")["grade"].to_numpy()
    assert found["one"][1, 0] == pytest.approx(raters.mean() / 4)
    assert mean_grades(found["one"])[0] == pytest.approx(found["one"][0, :2].mean())
    assert np.isnan(mean_grades(np.full((1, 3), np.nan))[0])
    empty = grade_lists({"one": np.full((2, 3), -1)}, queries, catalogue, "pin", judge)
    assert np.isnan(empty["one"]).all()


def test_a_world_that_does_not_know_the_catalogue(world: Path) -> None:
    foreign = Catalogue(pa.array(["nobody knows me"]), np.zeros(1, np.int8))
    with pytest.raises(DataError, match="does not know the pin 'nobody knows me'; give the world"):
        WorldRows(Behaviour(world), foreign)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"kind": "both"}, "organic or ads, got 'both'"),
        ({"rankers_from": "tests"}, "train or development or test, got 'tests'"),
        ({"sessions": 0}, "sessions of an A/B test must be 1 or more, got 0"),
        ({"ad_share": 0.0}, "above 0 and at most 1, got 0.0"),
        ({"ad_places": (2, 2)}, "distinct numbers from 1"),
        ({"seed": -1}, "0 or more, got -1"),
        ({"level": 1.0}, "between 0 and 1"),
    ],
)
def test_settings_out_of_their_range(setting: dict[str, object], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        AbSettings(**setting)  # type: ignore[arg-type]
