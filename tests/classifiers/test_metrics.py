import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.metrics import (
    LevelAnswers,
    answered_at_coverage,
    answered_at_recall,
    calibration_error,
    calibration_gaps,
    class_counts,
    head_interests,
    hierarchical_overlaps,
    level_answers,
    macro_figures,
    micro_figures,
    sibling_confusions,
    training_bin,
    training_counts,
)
from omnifeat.errors import DataError, SettingError

# Five nodes: animals (birds, fish), food.
BIRDS, FISH, FOOD = ("animals", "birds"), ("animals", "fish"), ("food",)
TRUE = [(BIRDS,), (FISH,), (FOOD,), (BIRDS, FISH), (BIRDS,)]
SHARES = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.2], [0.2, 0.7], [0.1, 0.8]])


@pytest.fixture
def answers() -> LevelAnswers:
    return level_answers([BIRDS, FISH], SHARES, TRUE, 1)


def test_answers_of_a_level(answers: LevelAnswers) -> None:
    assert answers.predicted == (BIRDS, BIRDS, BIRDS, FISH, FISH)
    assert answers.hit.tolist() == [True, False, False, True, False]
    assert answers.wanted.tolist() == [True, True, False, True, True]
    assert answers.confidence.tolist() == [0.9, 0.6, 0.3, 0.7, 0.8]


def test_precision_at_equal_coverage_and_recall(answers: LevelAnswers) -> None:
    # Four queries have an interest: at a half the two surest are answered, rows 0 and 4.
    assert answered_at_coverage(answers, 0.5).tolist() == [True, False, False, False, True]
    assert answered_at_coverage(answers, 1.0).tolist() == [True, True, False, True, True]
    # A recall of a half needs both hits: rows 0, 4 and 3, precision 2/3.
    assert answered_at_recall(answers, 0.5).tolist() == [True, False, False, True, True]
    assert answered_at_recall(answers, 0.25).tolist() == [True, False, False, False, False]
    assert answered_at_recall(answers, 0.75) is None


def test_ties_are_answered_together() -> None:
    equal = LevelAnswers((BIRDS,) * 4, np.full(4, 0.5), np.array([1, 0, 0, 0], bool), np.ones(4, bool))
    assert answered_at_coverage(equal, 0.25).all()
    assert answered_at_recall(equal, 0.25).all()


def test_calibration_by_hand(answers: LevelAnswers) -> None:
    # Two bins: [0, .5) holds 0.3 (a miss), [.5, 1] holds 0.9 + 0.6 + 0.7 + 0.8 = 3.0 with two hits.
    assert calibration_gaps(answers, 2).sum(axis=0) == pytest.approx([0.3, 1.0])
    assert calibration_error(answers, 2) == pytest.approx(1.3 / 5)
    sure = LevelAnswers((BIRDS,) * 2, np.ones(2), np.ones(2, bool), np.ones(2, bool))
    assert calibration_error(sure) == 0


def test_micro_and_macro_by_hand() -> None:
    counts = class_counts([(BIRDS,), (BIRDS,), (), (FISH, BIRDS)], TRUE[:4], 1)
    assert counts.interests == (BIRDS, FISH)
    assert (counts.hits.tolist(), counts.given.tolist(), counts.true.tolist()) == ([2, 1], [3, 1], [2, 2])
    assert micro_figures(counts) == pytest.approx((3 / 4, 3 / 4, 3 / 4))
    assert macro_figures(counts) == pytest.approx(((2 / 3 + 1) / 2, (1 + 1 / 2) / 2, (4 / 5 + 2 / 3) / 2))
    top = class_counts([(BIRDS,), (FOOD,)], [(FISH,), (BIRDS,)], 0)
    assert micro_figures(top) == pytest.approx((0.5, 0.5, 0.5))
    # food was never true and animals given once: precision 1 and 0, recall of animals a half.
    assert macro_figures(top) == pytest.approx((0.5, 0.5, (2 / 3 + 0) / 2))


def test_hierarchical_overlaps_by_hand() -> None:
    found = hierarchical_overlaps([(BIRDS,), (FISH,), (FOOD,)], [(BIRDS,), (BIRDS,), (BIRDS, FISH)])
    assert found.tolist() == [[2, 2, 2], [2, 2, 1], [1, 3, 0]]


def test_training_counts_head_and_bins() -> None:
    counts = training_counts(TRUE, 1)
    assert counts == {BIRDS: 3, FISH: 2}
    assert head_interests(counts) == {BIRDS}
    assert head_interests({BIRDS: 2, FISH: 2, FOOD: 2}) == {BIRDS, FISH}
    assert [training_bin(n) for n in (0, 1, 4, 5, 9, 10, 49, 50, 99, 100, 5000)] == [
        "0", "1-4", "1-4", "5-9", "5-9", "10-19", "20-49", "50-99", "50-99", "100+", "100+"
    ]  # fmt: skip


def test_confusion_among_siblings(answers: LevelAnswers) -> None:
    assert sibling_confusions(answers, TRUE, 1) == {(FISH, BIRDS): 1, (BIRDS, FISH): 1}


def test_refusals(answers: LevelAnswers) -> None:
    with pytest.raises(DataError, match=r"shape \(5 queries, 2 interests\); got \(5, 1\)"):
        level_answers([BIRDS, FISH], SHARES[:, :1], TRUE, 1)
    with pytest.raises(DataError, match="between 0 and 1"):
        level_answers([BIRDS, FISH], SHARES * 2, TRUE, 1)
    with pytest.raises(DataError, match="between 0 and 1"):
        level_answers([BIRDS, FISH], SHARES * np.nan, TRUE, 1)
    for wrong in (0, 1.5):
        with pytest.raises(SettingError, match="coverage"):
            answered_at_coverage(answers, wrong)
        with pytest.raises(SettingError, match="recall"):
            answered_at_recall(answers, wrong)


@st.composite
def many_answers(draw: st.DrawFn) -> LevelAnswers:
    count = draw(st.integers(1, 30))
    confidence = np.array(draw(st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), min_size=count, max_size=count)))
    wanted = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    hit = wanted & np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    return LevelAnswers((BIRDS,) * count, confidence, hit, wanted)


@given(many_answers(), st.floats(0.05, 1), st.integers(0, 100))
def test_what_is_answered_does_not_depend_on_the_order_of_rows(answers: LevelAnswers, share: float, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(answers.hit))
    turned = LevelAnswers(answers.predicted, answers.confidence[order], answers.hit[order], answers.wanted[order])
    assert (answered_at_coverage(answers, share)[order] == answered_at_coverage(turned, share)).all()
    here, there = answered_at_recall(answers, share), answered_at_recall(turned, share)
    assert (here is None) == (there is None)
    if here is not None and there is not None:
        assert (here[order] == there).all()
        assert answers.hit[here].sum() >= share * answers.wanted.sum() - 1e-6
    assert 0 <= calibration_error(answers) <= 1


@given(many_answers())
def test_what_is_answered_grows_with_the_share(answers: LevelAnswers) -> None:
    before = np.zeros(len(answers.hit), dtype=bool)
    for share in (0.1, 0.4, 0.8, 1.0):
        now = answered_at_coverage(answers, share)
        assert (now >= before).all()
        before = now
    if answers.wanted.any():
        assert before.sum() >= answers.wanted.sum()
