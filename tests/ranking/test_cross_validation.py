import numpy as np
import pandas as pd
import pytest

from omnifeat.errors import DataError, SettingError
from ranking import LambdaRanker, cross_validate
from ranking.cross_validation import query_folds

RANKER = LambdaRanker(n_estimators=8, threads=1, min_child_samples=5)


def judged(rows: int = 300, queries: int = 25) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"good": rng.normal(size=rows), "noise": rng.normal(size=rows)})
    return table, np.clip(table["good"].round(), 0, 3).to_numpy(int), rng.integers(queries, size=rows).astype(str)


def test_a_query_lies_in_one_fold_whatever_the_order_of_rows() -> None:
    _, _, queries = judged()
    folds = query_folds(queries, 300, folds=5, seed=1)
    assert sorted(set(folds)) == [0, 1, 2, 3, 4]
    assert all(len(set(folds[queries == query])) == 1 for query in set(queries))
    rows = np.random.default_rng(2).permutation(300)
    np.testing.assert_array_equal(query_folds(queries[rows], 300, folds=5, seed=1), folds[rows])
    assert (query_folds(queries, 300, folds=5, seed=2) != folds).any()


def test_scores_come_from_rankers_that_never_saw_the_query() -> None:
    table, grades, queries = judged()
    result = cross_validate(table, grades, queries, {"good": ["good"]}, folds=5, ranker=RANKER)
    for fold in range(5):
        kept = result.folds[:, 0] != fold
        by_hand = RANKER.fit(table[["good"]][kept], grades[kept], query_ids=queries[kept])
        np.testing.assert_array_equal(result.scores["good"][~kept], by_hand.predict(table[["good"]][~kept]))


def test_feature_sets_share_folds_and_seeds_are_averaged() -> None:
    table, grades, queries = judged()
    sets = {"good": ["good"], "both": ["noise", "good"]}
    calls: list[int] = []
    both = cross_validate(table, grades, queries, sets, folds=3, seeds=(4, 9), ranker=RANKER, advance=calls.append)
    assert calls == [1] * (3 * 2 * 2)
    assert both.folds.shape == (300, 2)
    alone = [cross_validate(table, grades, queries, sets, folds=3, seeds=(seed,), ranker=RANKER) for seed in (4, 9)]
    np.testing.assert_allclose(both.scores["both"], (alone[0].scores["both"] + alone[1].scores["both"]) / 2)
    assert both.importances["both"][1] > both.importances["both"][0]
    assert np.corrcoef(both.scores["good"], grades)[0, 1] > 0.8


def test_settings_that_do_not_fit_are_refused() -> None:
    table, grades, queries = judged()
    with pytest.raises(SettingError, match="25 queries for 26 folds"):
        cross_validate(table, grades, queries, {"a": ["good"]}, folds=26)
    with pytest.raises(SettingError, match="two folds or more"):
        cross_validate(table, grades, queries, {"a": ["good"]}, folds=1)
    with pytest.raises(SettingError, match="at least one feature set"):
        cross_validate(table, grades, queries, {})
    with pytest.raises(SettingError, match="at least one seed"):
        cross_validate(table, grades, queries, {"a": ["good"]}, seeds=())
    with pytest.raises(SettingError, match="Feature set 'a' is empty"):
        cross_validate(table, grades, queries, {"a": []})
    with pytest.raises(DataError, match="'god' is not in the table"):
        cross_validate(table, grades, queries, {"a": ["god"]})


def test_a_set_takes_the_monotonic_features_that_it_has() -> None:
    table, grades, queries = judged()
    falling = LambdaRanker(n_estimators=8, threads=1, min_child_samples=5, monotonic_cst={"good": -1})
    result = cross_validate(table, grades, queries, {"good": ["good"], "noise": ["noise"]}, ranker=falling)
    assert np.cov(result.scores["good"], grades)[0, 1] <= 0  # a feature that makes the grade, held from helping
    assert result.scores["noise"].std() > 0
