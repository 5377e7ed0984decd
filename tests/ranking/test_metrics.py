"""Figures by query: by hand, against ir-measures, and ties as the mean over all orders."""

from itertools import permutations

import ir_measures
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.errors import DataError, SettingError
from ranking.metrics import QueryRanks, kept_of_top


def test_by_hand() -> None:
    ranks = QueryRanks([3, 2, 1, 9], ["a", "a", "a", "b"])
    gains = np.array([0.0, 3.0, 1.0, 0.0])
    ideal = 3 + 1 / np.log2(3)
    np.testing.assert_allclose(ranks.ndcg(gains, 10), [(3 / np.log2(3) + 1 / 2) / ideal, np.nan])
    np.testing.assert_allclose(ranks.ndcg(gains, 2), [3 / np.log2(3) / ideal, np.nan])
    np.testing.assert_allclose(ranks.mrr(gains > 0), [1 / 2, np.nan])
    np.testing.assert_allclose(ranks.recall(gains > 0, 2), [1 / 2, np.nan])
    np.testing.assert_allclose(ranks.precision(gains > 0, 2), [1 / 2, 0])
    assert ranks.queries.tolist() == ["a", "b"]


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_without_ties_they_are_those_of_ir_measures(seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries = np.array([f"q{n}" for n in rng.integers(6, size=60)])
    frame = pd.DataFrame({"query_id": queries, "doc_id": [f"d{row}" for row in range(60)]})
    grades, scores = rng.integers(0, 3, size=60), rng.permutation(60).astype(float)
    measures = [ir_measures.nDCG @ 5, ir_measures.RR, ir_measures.R @ 5]
    found = ir_measures.iter_calc(measures, frame.assign(relevance=grades), frame.assign(score=scores))
    theirs = {(str(item.measure), item.query_id): item.value for item in found}
    ranks = QueryRanks(scores, queries)
    ours = {"nDCG@5": ranks.ndcg(grades, 5), "RR": ranks.mrr(grades > 0), "R@5": ranks.recall(grades > 0, 5)}
    for name, values in ours.items():
        for query, value in zip(ranks.queries, values, strict=True):
            assert np.isnan(value) or value == pytest.approx(theirs[name, query])


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=5))
def test_ties_are_the_mean_over_all_orders(rows: list[tuple[int, int, int]]) -> None:
    scores, gains, reference = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    query = np.zeros(len(rows), dtype=int)
    orders = [np.array(order) for order in permutations(range(len(rows)))]

    def untied(values: np.ndarray, order: np.ndarray) -> np.ndarray:
        return values + 1e-3 * order

    def mean(figure: str, *more: object) -> float:
        return float(np.mean([getattr(QueryRanks(untied(scores, o), query), figure)(*more)[0] for o in orders]))

    ranks = QueryRanks(scores, query)
    if gains.any():
        assert ranks.ndcg(gains, 2)[0] == pytest.approx(mean("ndcg", gains, 2))
        assert ranks.mrr(gains > 0)[0] == pytest.approx(mean("mrr", gains > 0))
        assert ranks.recall(gains > 0, 2)[0] == pytest.approx(mean("recall", gains > 0, 2))
    pairs = [
        kept_of_top(untied(reference, first), untied(scores, second), query, top=1, within=2)[0]
        for first in orders
        for second in orders
    ]
    assert kept_of_top(reference, scores, query, top=1, within=2)[0] == pytest.approx(np.mean(pairs))


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_the_order_of_rows_says_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, gains = rng.integers(0, 4, size=80), rng.integers(0, 3, size=80).astype(float)
    queries, order = rng.integers(0, 7, size=80), rng.permutation(80)
    one, other = QueryRanks(scores, queries), QueryRanks(scores[order], queries[order])
    np.testing.assert_allclose(one.ndcg(gains), other.ndcg(gains[order]), rtol=1e-12)
    np.testing.assert_allclose(one.mrr(gains > 0), other.mrr(gains[order] > 0), rtol=1e-12)
    np.testing.assert_allclose(one.top(3)[order], other.top(3))


def test_what_is_kept_of_the_top() -> None:
    reference = np.arange(20.0)
    assert kept_of_top(reference, -reference, [0] * 20, top=5, within=5)[0] == 0
    assert kept_of_top(reference, -reference, [0] * 20, top=5, within=18)[0] == pytest.approx(3 / 5)
    assert kept_of_top(reference, -reference, [0] * 20, top=5, within=20)[0] == 1
    with pytest.raises(SettingError, match="top 10 cannot be kept within the first 5"):
        kept_of_top(reference, reference, [0] * 20, top=10, within=5)
    with pytest.raises(DataError, match="a gain from 0 for each of the 20 rows"):
        QueryRanks(reference, [0] * 20).ndcg(-reference)
