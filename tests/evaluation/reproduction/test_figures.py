"""Cells worked by hand, and verdicts of claims."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.recall import EvaluationPairs
from evaluation.reproduction.claims import claims_of
from evaluation.reproduction.corpus_sizes import corpus_size_table
from evaluation.reproduction.figures import Bootstrap, Measured, question_cells
from evaluation.reproduction.questions import PairGroup, Question, QuestionSet
from evaluation.reproduction.rank_files import without_training
from evaluation.reproduction.results import Cell, Column, Difference, Estimate, Row, Table
from evaluation.reproduction.systems import Vectors, cut, parse
from evaluation.reproduction.tables import build_table, lacking_text, plan_of
from evaluation.reproduction.variations import BASE

PAIRS = EvaluationPairs.make(["a", "a", "b", "c"], ["1", "2", "1", "3"], pa.array(["1", "2", "3"]))
ALL = np.ones(4, dtype=bool)
GROUP = PairGroup("pin", "pin", PAIRS, np.array([True, False, False, False]))
SAVE = Question("pin/save", "save", "Pin", "pin", (ALL,))


def measured(ranks: dict[str, list[list[int]]], resamples: int = 0) -> Measured:
    of_systems = {name: [{"pin": np.array(seed, np.int32)} for seed in seeds] for name, seeds in ranks.items()}
    return Measured(QuestionSet({"pin": GROUP}, {"pin/save": SAVE}, None), of_systems, Bootstrap(resamples))


def test_a_cell_by_hand() -> None:
    """The first finds 3 of 4 pairs with one seed and 2 with the other: 0.625; the second 2 of 4: 0.5."""
    found = measured({"one": [[1, 10, 11, 3], [1, 12, 11, 3]], "two": [[11, 20, 4, 5]]})
    cells = question_cells(found, SAVE, {"one": "two", "two": None})
    assert cells["one"].ours == Estimate(value=0.625)
    assert cells["one"].per_seed == [0.75, 0.5]
    assert cells["one"].difference == Difference(to="two", value=0.125, relative=0.25)
    assert (cells["one"].pairs, cells["one"].queries) == (4, 3)
    assert cells["two"].difference is None
    assert cells["two"].per_seed == []


def test_figures_without_training_positives_are_of_their_own_ranks() -> None:
    """Of 4 pairs the second stands too far behind among all, and not without what its query led to before."""
    ranks = {"pin": np.array([1, 12, 11, 3]), without_training("pin"): np.array([1, 10, 11, 3])}
    among = Measured(QuestionSet({"pin": GROUP}, {"pin/save": SAVE}, None), {"one": [ranks]}, Bootstrap(0))
    assert question_cells(among, SAVE, {"one": None})["one"].ours.value == 0.5
    without = replace(among, without_training=True)
    assert question_cells(without, SAVE, {"one": None})["one"].ours.value == 0.75


def test_a_mean_over_countries_by_hand() -> None:
    """1 of 3 pairs in one country and 1 of 1 in the other: 2 / 3, not 2 of 4."""
    countries = (np.array([True, True, True, False]), np.array([False, False, False, True]))
    relevance = Question("pin/relevance", "relevance", "Pin", "pin", countries)
    cells = question_cells(measured({"one": [[1, 11, 12, 3]]}), relevance, {"one": None})
    assert cells["one"].ours.value == pytest.approx(2 / 3)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=4, max_size=4), st.lists(st.integers(1, 30), min_size=4, max_size=4))
def test_cells_hold_their_intervals_and_differences_are_opposite(one: list[int], two: list[int]) -> None:
    found = measured({"one": [one], "two": [two]}, resamples=50)
    cells = question_cells(found, SAVE, {"one": "two", "two": "one"})
    left, right = cells["one"].difference, cells["two"].difference
    assert left is not None
    assert right is not None
    assert left.value == pytest.approx(-right.value)
    assert left.low == pytest.approx(-right.high)
    for cell in cells.values():
        assert cell.ours.low is not None
        assert cell.ours.high is not None
        assert cell.ours.low - 1e-9 <= cell.ours.value <= cell.ours.high + 1e-9


def test_a_system_that_was_not_measured_has_no_cell() -> None:
    cells = question_cells(measured({"one": [[1, 2, 3, 4]]}), SAVE, {"one": "two", "two": None})
    assert list(cells) == ["one"]
    assert cells["one"].difference is None


def test_pins_that_lack_a_text() -> None:
    pins = pa.table({"id": ["1", "2", "3"], "title": ["t", " ", "t"], "description": ["d", "d", None]})
    assert lacking_text({"pin": GROUP}, pins)["pin"].tolist() == [False, True, False, True]
    assert lacking_text({"pin": GROUP}, pins.drop_columns("title"))["pin"].all()


def test_table_three_is_of_such_pins_alone() -> None:
    found = measured({"native-text": [[11, 11, 1, 1]], "captions": [[1, 1, 1, 11]]})
    table = build_table(plan_of("3", ()), found, {"pin": np.array([True, True, False, False])})
    assert [row.cells["pin/save"].ours.value for row in table.rows] == [0, 1]
    assert table.rows[1].cells["pin/save"].paper == 0.66
    assert table.rows[1].cells["pin/save"].paper_relative == 0.3043


def test_table_five_compares_the_base_with_the_model_of_each_kind() -> None:
    found = measured({"pin-only": [[1, 1, 1, 11]], BASE: [[1, 1, 1, 1]]})
    table = build_table(plan_of("5", ()), found)
    (row,) = [row for row in table.rows if row.key == BASE]
    found_difference = row.cells["pin/save"].difference
    assert found_difference is not None
    assert (found_difference.to, found_difference.value) == ("pin-only", 0.25)
    assert found_difference.relative == pytest.approx(1 / 3)
    assert table.notes == ["Not measured, as the data do not have what is needed: Product only, Query only."]


def one_cell(key: str, system: str, value: float, low: float, high: float) -> Table:
    other = 0.5
    cell = Cell(
        ours=Estimate(value=other + value), difference=Difference(to="x", value=value, low=low, high=high), pairs=9,
        queries=3,
    )  # fmt: skip
    column = Column(key="pin/save", label="save", group="Pin")
    return Table(
        key=key, title="", caption="", columns=[column], rows=[Row(key=system, label="", cells={"pin/save": cell})]
    )


@pytest.mark.parametrize(
    ("key", "system", "difference", "verdict"),
    [
        ("2", BASE, (0.1, 0.05, 0.15), "shown"),
        ("2", BASE, (0.1, -0.01, 0.2), "not shown"),
        ("2", BASE, (-0.1, -0.2, -0.05), "contrary"),
        ("3", "captions", (0.1, 0.05, 0.15), "shown"),
        ("4", "board-titles", (0.1, 0.0, 0.2), "not shown"),
        # 5% of 0.5 is 0.025
        ("5", BASE, (-0.01, -0.02, 0.0), "shown"),
        ("5", BASE, (-0.02, -0.03, 0.0), "not shown"),
        ("5", BASE, (-0.1, -0.2, -0.03), "contrary"),
        # 3% of 0.5 is 0.015
        ("6", BASE, (-0.01, -0.014, 0.0), "shown"),
        ("6", BASE, (-0.01, -0.016, 0.0), "not shown"),
        ("6", f"{BASE}/existing", (-0.1, -0.2, -0.03), "contrary"),
    ],
)
def test_verdicts(key: str, system: str, difference: tuple[float, float, float], verdict: str) -> None:
    (claim,) = claims_of([one_cell(key, system, *difference)])
    assert claim.verdict == verdict
    assert f"against 0.500: {difference[0]:+.3f} [{difference[1]:+.3f}, {difference[2]:+.3f}]" in claim.evidence


def test_no_claim_where_nothing_is_compared() -> None:
    assert claims_of([one_cell("2", "bm25", 0.1, 0.0, 0.2)]) == []


def test_prefixes_are_unit_vectors_again() -> None:
    vectors = Vectors(
        np.array([[3, 4, 12]], np.float32) / 13, np.array([[0, 0, 1]], np.float32), np.ones(1, dtype=bool)
    )
    assert cut(vectors, 2).queries == pytest.approx(np.array([[0.6, 0.8]]))
    assert cut(vectors, 2).entities.tolist() == [[0, 0]]
    assert cut(vectors, None) is vectors
    assert parse("matryoshka@64") == ("matryoshka", False, 64)
    assert parse("searchsage/existing") == ("searchsage", True, None)


def test_prefixes_are_compared_with_the_same_width() -> None:
    assert plan_of("matryoshka", (), dim=128).compared == {
        BASE: None, "matryoshka": BASE, f"{BASE}@64": None, "matryoshka@64": f"{BASE}@64", f"{BASE}@32": None,
        "matryoshka@32": f"{BASE}@32",
    }  # fmt: skip


def test_differences_by_size_of_the_corpus() -> None:
    """With two others beside the positive, one of them before it: a corpus of one has it in half of the draws."""
    found = measured({"native-text": [[2, 1, 1, 1]], "captions": [[1, 1, 1, 1]]})
    whole = question_cells(found, SAVE, {"captions": "native-text", "native-text": None})
    assert whole["captions"].difference is not None
    assert whole["captions"].difference.value == 0  # all are among the first ten
    assert found.hits("native-text", "pin")[0].tolist() == [1, 1, 1, 1]
    assert corpus_size_table([(plan_of("3", ()), None)], found) is None  # no corpus is larger than the smallest size


def by_size(*actions: str) -> Measured:
    """Two pairs among 4,000 pins, and a question about them for each action."""
    pairs = EvaluationPairs.make(["a", "b"], ["1", "2"], pa.array([str(number) for number in range(4_000)]))
    group = PairGroup("pin", "pin", pairs, np.zeros(2, bool))
    both = (np.ones(2, dtype=bool),)
    questions = {f"pin/{action}": Question(f"pin/{action}", action, "Pin", "pin", both) for action in actions}
    ranks = {"native-text": [[21, 4000]], "captions": [[11, 4000]]}
    of_systems = {name: [{"pin": np.array(seed, np.int32)} for seed in seeds] for name, seeds in ranks.items()}
    return Measured(QuestionSet({"pin": group}, questions, None), of_systems, Bootstrap(20))


def test_a_table_by_size_is_of_the_first_action_that_the_data_have() -> None:
    table = corpus_size_table([(plan_of("3", ()), None)], by_size("click", "save"))
    assert table is not None
    (row,) = table.rows
    assert row.label.startswith("Table 3, pin click")
    assert all(cell.paper is None for cell in row.cells.values())


def test_there_is_no_table_by_size_where_nothing_is_compared() -> None:
    assert corpus_size_table([(plan_of("2", ("random",)), None)], by_size("click")) is None


def test_a_table_by_size_leaves_out_baselines_and_sizes_that_are_none() -> None:
    found = by_size("save")
    table = corpus_size_table([(plan_of("3", ()), None), (plan_of("2", ("random",)), None)], found)
    assert table is not None
    assert [column.key for column in table.columns] == ["1000", "3000", "all"]
    (row,) = table.rows
    assert row.label.startswith("Table 3, pin save")
    differences = {key: cell.difference.value for key, cell in row.cells.items() if cell.difference is not None}
    assert differences["all"] == 0  # neither is among the first ten of all
    assert 0 <= differences["1000"] < differences["3000"]  # 5 of 20 and 15 of 20 are expected before it there
