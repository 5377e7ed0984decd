"""Figures of interest classifiers by hand: two systems, four queries, two levels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.answers import SystemAnswers
from classifiers.metrics import level_answers
from evaluation.interests.comparison import sampled_rows
from evaluation.interests.figures import average_figures, hierarchical_figures, level_figures, reliability

BIRDS, FISH, ANIMALS, FOOD = ("animals", "birds"), ("animals", "fish"), ("animals",), ("food",)
TRUE = [(BIRDS,), (FISH,), (FOOD,), (FISH,)]
DRAWS = {"resamples": 200, "seed": 0}


def system(name: str, top: list[list[float]], below: list[list[float]]) -> SystemAnswers:
    levels = (
        level_answers([ANIMALS, FOOD], np.array(top), TRUE, 0),
        level_answers([BIRDS, FISH], np.array(below), TRUE, 1),
    )
    paths = tuple(
        two if one == ANIMALS else one for one, two in zip(levels[0].predicted, levels[1].predicted, strict=True)
    )
    return SystemAnswers(name, levels, paths)


ALWAYS = system("always birds", [[1.0, 0.0]] * 4, [[0.6, 0.4], [0.7, 0.3], [0.8, 0.1], [0.9, 0.1]])
GOOD = system(
    "good", [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]], [[0.8, 0.1], [0.3, 0.5], [0.1, 0.2], [0.4, 0.2]]
)


def test_a_level_by_hand() -> None:
    found = level_figures([ALWAYS, GOOD], TRUE, {BIRDS: 3, FISH: 60}, 1, 0, **DRAWS)
    assert (found["level"], found["queries"], found["interests"]) == (1, 3, 2)
    # three queries have an interest: ALWAYS is surest of rows 3, 2, 1, all wrong; GOOD of 0, 1 (right) and 3 (wrong)
    always, good = (found["systems"][name] for name in ("always birds", "good"))
    assert always["precision_at_coverage_1"]["value"] == 0
    assert good["precision_at_coverage_1"]["value"] == pytest.approx(2 / 3)
    gain = found["gains"]["good"]["precision_at_coverage_1"]
    assert gain["value"] == pytest.approx(2 / 3)
    assert gain["low"] <= gain["value"] <= gain["high"]
    # nothing is a share of a precision of zero
    assert found["gains"]["good"]["relative_precision_at_coverage_1"]["value"] is None
    assert found["gains"]["always birds"]["precision_at_coverage_1"] == {"value": 0, "low": 0, "high": 0}
    # a third of the wanted: ALWAYS finds row 0 last of all, GOOD at once; three quarters neither
    assert always["precision_at_recall_0.25"]["value"] == pytest.approx(1 / 4)
    assert good["precision_at_recall_0.25"]["value"] == 1
    assert good["precision_at_recall_0.75"]["value"] is None
    assert good["accuracy_of_wanted"]["value"] == pytest.approx(2 / 3)
    assert found["groups"] == {"1-4": 1, "50-99": 2, "head": 2, "tail": 1}
    assert good["accuracy_of_1-4"]["value"] == good["accuracy_of_tail"]["value"] == 1
    assert good["accuracy_of_head"]["value"] == pytest.approx(1 / 2)
    # all four are answered: two hits of four given, of three true
    assert good["micro"] == pytest.approx({"precision": 2 / 4, "recall": 2 / 3, "f1": 4 / 7})


def test_averages_over_levels() -> None:
    found = average_figures([ALWAYS, GOOD], 2, 0, 1.0, **DRAWS)["systems"]
    # level 0: three of four, all of four; level 1: none of three, two of three
    assert found["always birds"]["precision"]["value"] == pytest.approx(0.75 / 2)
    assert found["good"]["precision"]["value"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["good"]["gain"]["value"] == pytest.approx((0.25 + 2 / 3) / 2)
    assert found["good"]["relative_gain"]["value"] is None  # of a precision of zero at level 1
    top = average_figures([ALWAYS, GOOD], 1, 0, 1.0, **DRAWS)["systems"]
    assert top["good"]["relative_gain"]["value"] == pytest.approx(1 / 3)


def test_whole_paths_and_reliability() -> None:
    found = hierarchical_figures([ALWAYS, GOOD], TRUE, **DRAWS)
    # ALWAYS gives animals, birds to all: shares 2, 1, 0, 1 of 8 given and 7 true
    assert found["always birds"]["precision"]["value"] == pytest.approx(4 / 8)
    assert found["always birds"]["recall"]["value"] == pytest.approx(4 / 7)
    assert found["always birds"]["whole_path"]["value"] == pytest.approx(1 / 4)
    assert found["good"]["whole_path"]["value"] == pytest.approx(3 / 4)
    assert reliability(GOOD.levels[0], bins=2) == [
        {"answers": 4, "confidence": pytest.approx(0.75), "precision": 1.0},
    ]


@given(st.lists(st.sampled_from([BIRDS, FISH, FOOD]), min_size=1, max_size=40), st.integers(0, 5))
def test_samples_are_as_large_as_asked_and_lie_in_each_other(paths: list[tuple[str, ...]], seed: int) -> None:
    before: set[int] = set()
    for size in (1, 2, 5, 100):
        rows = sampled_rows([(path,) for path in paths], size, seed)
        assert rows == sorted(set(rows))
        assert before <= set(rows)
        before = set(rows)
        for path in set(paths):
            assert sum(paths[row] == path for row in rows) == min(size, paths.count(path))
    assert len(before) == len(paths)
