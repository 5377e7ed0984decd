"""Judged relevance: NDCG by hand, ties, raters, and what is missing on either side."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.judged import as_qrels, as_run, judged_figures
from omnifeat.errors import DataError, SettingError


def judgments(*rows: tuple[str, str, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["query", "entity_id", "grade"])


def run(*rows: tuple[str, str, float | None]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["query", "entity_id", "score"])
    return table.astype({"score": float})


def ndcg(gains: list[float], ideal: list[float], k: int = 10) -> float:
    def dcg(values: list[float]) -> float:
        return sum(value / math.log2(place + 2) for place, value in enumerate(values[:k]))

    return dcg(gains) / dcg(sorted(ideal, reverse=True))


def test_ndcg_by_hand() -> None:
    # Ranking b (grade 1), a (grade 3), c (0): DCG = 1 + 3 / log2(3) = 2.892789; ideal 3 + 1 / log2(3) = 3.630930.
    figures = judged_figures(
        judgments(("q", "a", 3), ("q", "b", 1), ("q", "c", 0)),
        run(("q", "a", 1), ("q", "b", 2), ("q", "c", 0)),
        "score",
    )
    assert figures.mean("nDCG@10") == pytest.approx(2.892789 / 3.630930, abs=1e-5)


def test_exponential_gain_by_hand() -> None:
    # Gains 2^3 - 1 = 7 and 2^1 - 1 = 1: (1 + 7 / log2(3)) / (7 + 1 / log2(3)).
    figures = judged_figures(
        judgments(("q", "a", 3), ("q", "b", 1)), run(("q", "a", 1), ("q", "b", 2)), "score", gain="exponential"
    )
    assert figures.mean("nDCG@10") == pytest.approx(5.416508 / 7.630930, abs=1e-5)


def test_ties_go_to_the_smaller_id() -> None:
    judged = judgments(("q", "a", 1), ("q", "b", 0))
    assert judged_figures(judged, run(("q", "b", 5), ("q", "a", 5)), "score", ["RR"]).mean("RR") == 1
    judged = judgments(("q", "a", 0), ("q", "b", 1))
    assert judged_figures(judged, run(("q", "b", 5), ("q", "a", 5)), "score", ["RR"]).mean("RR") == 0.5


def test_queries_without_positive_or_without_run() -> None:
    figures = judged_figures(
        judgments(("good", "a", 2), ("bad", "a", 0), ("absent", "a", 1)),
        run(("good", "a", 1), ("good", "new", 2), ("bad", "a", 1), ("unknown", "a", 1)),
        "score",
        ["nDCG@10", "AP"],
    )
    assert figures.queries == ["absent", "good"]
    assert figures.queries_without_positive == 1
    assert figures.queries_without_run == 1
    assert figures.unjudged == 1  # (good, new); the query "unknown" was not judged at all
    # good: unjudged first, so DCG = 2 / log2(3) of 2. absent: 0.
    np.testing.assert_allclose(figures.values, [[0, 0], [1 / math.log2(3), 0.5]], atol=1e-6)


def test_unscored_come_last_and_are_counted() -> None:
    figures = judged_figures(
        judgments(("q", "a", 1), ("q", "b", 0)), run(("q", "a", None), ("q", "b", -5)), "score", ["RR"]
    )
    assert figures.mean("RR") == 0.5
    assert figures.unscored == 1


@pytest.mark.parametrize("score", [float("-inf"), float("inf"), float("nan")])
def test_scores_that_are_not_finite_come_last_and_are_counted(score: float) -> None:
    figures = judged_figures(
        judgments(("q", "a", 1), ("q", "b", 0)), run(("q", "a", score), ("q", "b", -5)), "score", ["RR"]
    )
    assert figures.mean("RR") == 0.5
    assert figures.unscored == 1


def test_pairs_that_were_judged_in_several_ways_are_counted() -> None:
    judged = judgments(("q", "a", 0), ("q", "a", 2), ("q", "b", 1), ("q", "b", 1))
    assert judged_figures(judged, run(("q", "a", 1)), "score").conflicting == 1


def test_raters_become_their_lower_median() -> None:
    qrels = as_qrels(judgments(("q", "a", 3), ("q", "a", 0), ("q", "a", 2), ("q", "b", 1), ("q", "b", 2)))
    assert qrels["relevance"].tolist() == [2, 1]


def test_only_queries_without_positive() -> None:
    figures = judged_figures(judgments(("q", "a", 0)), run(("q", "a", 1)), "score")
    assert figures.queries == []
    assert math.isnan(figures.mean("nDCG@10"))


def test_average_precision_and_precision_by_grade_by_hand() -> None:
    # a (grade 4), b (0), c (3), d (1), e (not judged), and f (3) not found: places 1, 3 and 4 are relevant of four
    # relevant, 1 and 3 of three from grade 3 on.
    judged = judgments(("q", "a", 4), ("q", "b", 0), ("q", "c", 3), ("q", "d", 1), ("q", "f", 3))
    found = run(("q", "a", 5), ("q", "b", 4), ("q", "c", 3), ("q", "d", 2), ("q", "e", 1))
    expected = {
        "AP": (1 + 2 / 3 + 3 / 4) / 4,
        "AP(rel=3)": (1 + 2 / 3) / 3,
        "AP(rel=4)": 1,
        "P@5": 3 / 5,
        "P(rel=3)@5": 2 / 5,
        "P(rel=4)@5": 1 / 5,
        "P(rel=1)@2": 1 / 2,
        "R(rel=3)@5": 2 / 3,
        "RR(rel=3)": 1,
        "P(rel=1,judged_only=True)@5": 3 / 5,
    }
    for gain in ("linear", "exponential"):  # a gain of 2^2 - 1 must not make a grade of 2 pass for one of 3
        figures = judged_figures(judged, found, "score", list(expected), gain=gain)
        for name, value in expected.items():
            assert figures.mean(name) == pytest.approx(value, abs=1e-6), (name, gain)
    low = judgments(("q", "a", 2), ("q", "b", 0))
    both = judged_figures(low, run(("q", "a", 1)), "score", ["P(rel=3)@1", "nDCG@10"], gain="exponential")
    assert (both.mean("P(rel=3)@1"), both.mean("nDCG@10")) == (0, 1)


def test_mean_average_precision_counts_queries_alike_and_those_below_the_grade_as_zero() -> None:
    judged = judgments(("q", "a", 3), ("q", "b", 3), ("r", "a", 1))
    found = run(("q", "c", 3), ("q", "a", 2), ("q", "b", 1), ("r", "a", 1))
    figures = judged_figures(judged, found, "score", ["AP", "AP(rel=3)"])
    first = (1 / 2 + 2 / 3) / 2
    assert figures.mean("AP") == pytest.approx((first + 1) / 2, abs=1e-6)
    assert figures.mean("AP(rel=3)") == pytest.approx((first + 0) / 2, abs=1e-6)


graded = st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 2)), min_size=1, max_size=15)


@settings(deadline=None, max_examples=50)
@given(graded, st.randoms(use_true_random=False))
def test_equals_plain_ndcg_in_any_order(items, random) -> None:
    rows = [(f"e{number:02}", grade, score) for number, (grade, score) in enumerate(items)]
    ranked = [grade for _, grade, score in sorted(rows, key=lambda row: (-row[2], row[0]))]
    random.shuffle(rows)
    judged = judgments(*(("a query\n| x", name, grade) for name, grade, _ in rows))
    figures = judged_figures(judged, run(*(("a query\n| x", name, score) for name, _, score in rows)), "score")
    if any(ranked):
        assert figures.mean("nDCG@10") == pytest.approx(ndcg(ranked, ranked), abs=1e-6)
    else:
        assert figures.queries_without_positive == 1


def test_bad_input() -> None:
    good = run(("q", "a", 1.0))
    for grade, shown in ((0.5, "0.5"), (-1.0, "-1.0"), (float("nan"), "nan")):
        with pytest.raises(DataError, match=f"row 2 of the judgments has grade .*{shown}.* for query 'r'"):
            judged_figures(judgments(("q", "a", 1), ("r", "a", grade)), good, "score")
    with pytest.raises(DataError, match=r"whole numbers from 0 .* to 30"):
        as_qrels(judgments(("q", "a", 31)), "exponential")
    with pytest.raises(DataError, match="row 2 of the run repeats the pair of query 'q' and entity 'a'"):
        as_run(run(("q", "a", 1), ("q", "a", 2)), "score")
    with pytest.raises(DataError, match="column 'entity_id' of the run is not numeric"):
        as_run(good, "entity_id")
    with pytest.raises(SettingError, match="no gain 'cubic'"):
        as_qrels(judgments(("q", "a", 1)), "cubic")
    for measure in ("nothing@10", "", "nDCG@@"):
        with pytest.raises(SettingError, match="there is no measure"):
            judged_figures(judgments(("q", "a", 1)), good, "score", [measure])
