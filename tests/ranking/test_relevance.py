"""The relevance models: what they learn, what they promise of their probabilities, and what they refuse."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from omnifeat.errors import DataError, FingerprintError, SettingError
from ranking.base import held_out_queries
from ranking.groups import encode_queries
from ranking.relevance import HEADS, AdsRelevanceModel, RelevanceModel, monotone
from ranking.relevance_metrics import accuracy, spearman, spearman_within, top_weights, weighted_top_relevance
from ranking.saving import load_model

FEW = settings(deadline=None, max_examples=5)


def pairs(seed: int = 0, rows: int = 600, queries: int = 40) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Features of which `good` makes the grade (0, 1, 2, 4), with noise, and a text query per row."""
    rng = np.random.default_rng(seed)
    good = rng.normal(size=rows).astype(np.float32)
    part = np.where(rng.random(rows) < 0.3, np.nan, rng.normal(size=rows))
    table = pd.DataFrame({"good": good, "part": part, "count": rng.integers(0, 5, size=rows)})
    place = np.clip(np.round(good + 0.5 * rng.normal(size=rows) + 1), 0, 3).astype(int)
    return table, np.array([0, 1, 2, 4])[place], np.array([f"query {n}" for n in rng.integers(queries, size=rows)])


def model(head: str = "ordinal", **more: object) -> RelevanceModel:
    return RelevanceModel(**{"head": head, "n_estimators": 40, "threads": 1, "learning_rate": 0.1, **more})


@pytest.fixture(scope="module", params=HEADS)
def fitted(request: pytest.FixtureRequest) -> RelevanceModel:
    table, grades, queries = pairs()
    return model(request.param).fit(table, grades, query_ids=queries)


def test_it_learns_grades_of_queries_it_never_saw(fitted: RelevanceModel) -> None:
    table, grades, queries = pairs(seed=1)
    expected = fitted.predict(table)
    assert spearman(expected, grades) > 0.7
    assert abs(expected.mean() - grades.mean()) < 0.15
    assert np.abs(expected - grades).mean() < 0.8 * np.abs(grades.mean() - grades).mean()
    ranked = weighted_top_relevance(expected, grades, queries)
    assert ranked.mean() > 1.5 * grades.mean()
    assert fitted.feature_importances_.argmax() == 0
    # bins of the expected grade hold, on average, what they say
    for part in np.array_split(np.argsort(expected), 4):
        assert expected[part].mean() == pytest.approx(grades[part].mean(), abs=0.35)


@pytest.mark.parametrize("calibration", ["platt", "isotonic", "none"])
@pytest.mark.parametrize("head", HEADS)
def test_probabilities_are_probabilities(head: str, calibration: str) -> None:
    table, grades, queries = pairs()
    found = model(head, calibration=calibration).fit(table, grades, query_ids=queries)
    assert found.classes_ == [0, 1, 2, 4]
    other = pairs(seed=3)[0]
    probabilities = found.predict_proba(other)
    assert probabilities.shape == (600, 4)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(probabilities @ [0, 1, 2, 4], found.predict(other), atol=1e-12)
    above = np.column_stack([found.predict_at_least(other, grade) for grade in range(6)])
    assert (np.diff(above, axis=1) <= 0).all()
    assert (above[:, 0] == 1).all()
    assert (above[:, 5] == 0).all()
    np.testing.assert_array_equal(above[:, 3], above[:, 4])  # nobody gives a 3
    np.testing.assert_allclose(above[:, 2], probabilities[:, 2:].sum(axis=1), atol=1e-12)


@FEW
@given(st.integers(0, 1000), st.sampled_from(HEADS))
def test_order_of_rows_and_columns_changes_nothing(seed: int, head: str) -> None:
    table, grades, queries = pairs(seed, rows=240)
    small = model(head, n_estimators=8)
    expected = small.fit(table, grades, query_ids=queries).predict(table)
    rows = np.random.default_rng(seed).permutation(len(table))
    shuffled = table.iloc[rows][["part", "count", "good"]]
    other = clone(small).fit(shuffled, grades[rows], query_ids=queries[rows])
    np.testing.assert_array_equal(other.predict(table), expected)
    np.testing.assert_array_equal(other.predict(shuffled), expected[rows])


@FEW
@given(st.lists(st.integers(0, 599), min_size=1, max_size=30))
def test_duplicated_candidates_are_equal_whatever_stands_beside_them(fitted: RelevanceModel, rows: list[int]) -> None:
    table = pairs()[0]
    alone = fitted.predict(table)
    doubled = fitted.predict(pd.concat([table.iloc[rows], table.iloc[rows]]))
    np.testing.assert_array_equal(doubled, np.r_[alone[rows], alone[rows]])


@FEW
@given(st.integers(0, 1000), st.sampled_from([0.0, -3.5, math.nan]))
def test_a_constant_feature_changes_nothing(seed: int, value: float) -> None:
    table, grades, queries = pairs(seed, rows=240)
    small = model(n_estimators=8)
    expected = small.fit(table, grades, query_ids=queries).predict(table)
    wider = table.assign(aa_constant=value)
    np.testing.assert_array_equal(clone(small).fit(wider, grades, query_ids=queries).predict(wider), expected)


@pytest.mark.parametrize("head", HEADS)
def test_boosters_learn_nothing_from_held_out_labels(head: str) -> None:
    table, grades, queries = pairs()
    codes, distinct = encode_queries(queries, len(queries))
    held = held_out_queries(codes, distinct, 0.2, 0)
    fixed = model(head, n_estimators=5, early_stopping_rounds=1000)
    first = clone(fixed).fit(table, grades, query_ids=queries)
    wrong = np.where(held, grades[::-1], grades)
    second = clone(fixed).fit(table, wrong, query_ids=queries)
    for name in first.boosters_:
        assert _trees(first, name, 1) == _trees(second, name, 1)
    assert first.calibrations_ != second.calibrations_
    assert (first.held_out_rows_, first.rows_) == (int(held.sum()), int((~held).sum()))
    # the other way about: the calibration is what an evaluation set of the same rows gives
    apart = clone(fixed).fit(
        table[~held], grades[~held], query_ids=queries[~held],
        eval_X=table[held], eval_y=grades[held], eval_query_ids=queries[held],
    )  # fmt: skip
    np.testing.assert_array_equal(apart.predict(table), first.predict(table))


def _trees(model: RelevanceModel, name: str, count: int) -> str:
    return model.boosters_[name].model_to_string(num_iteration=count).split("end of trees")[0].split("\nTree=0")[1]


def test_rows_of_one_split_id_are_never_parted() -> None:
    table, grades, queries = pairs()
    requests = np.arange(len(queries))
    by_query = model(n_estimators=5).fit(table, grades, query_ids=queries)
    by_split = model(n_estimators=5).fit(table, grades, query_ids=requests, split_ids=queries)
    np.testing.assert_array_equal(by_split.predict(table), by_query.predict(table))


@pytest.mark.parametrize("kind", [RelevanceModel, AdsRelevanceModel])
def test_saved_and_loaded_it_predicts_the_same(kind: type[RelevanceModel], tmp_path: Path) -> None:
    table, grades, queries = pairs()
    found = kind(n_estimators=10, calibration="isotonic", encoder_fingerprint="aaaa", threads=1)
    found.fit(table, grades, query_ids=queries).save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert type(loaded) is kind
    np.testing.assert_array_equal(loaded.predict_proba(table), found.predict_proba(table))
    assert loaded.classes_ == found.classes_
    with pytest.raises(FingerprintError, match=r"aaaa.*bbbb"):
        loaded.predict(table, encoder_fingerprint="bbbb")
    other = {RelevanceModel: AdsRelevanceModel, AdsRelevanceModel: RelevanceModel}[kind]
    if kind is RelevanceModel:
        with pytest.raises(DataError, match="not a AdsRelevanceModel"):
            other.load(tmp_path / "model")
    (tmp_path / "model" / "model-above-0.txt").write_text("x")
    with pytest.raises(DataError, match=r"model-above-0.txt was changed"):
        load_model(tmp_path / "model")


def test_a_rising_feature_is_held_to_it() -> None:
    table, grades, queries = pairs()
    found = model(monotonic_cst={"good": 1}).fit(table, grades, query_ids=queries)
    grid = pd.DataFrame({"good": np.linspace(-3, 3, 60), "part": 0.0, "count": 1})
    assert (np.diff(found.predict(grid)) >= 0).all()
    with pytest.raises(SettingError, match="softmax over the grades has none"):
        model("multiclass", monotonic_cst={"good": 1}).fit(table, grades, query_ids=queries)


def test_what_cannot_be_learnt_from_is_named() -> None:
    table, grades, queries = pairs(rows=60)
    small = model(n_estimators=2)
    with pytest.raises(NotFittedError, match="This RelevanceModel is not fitted yet"):
        small.predict(table)
    with pytest.raises(DataError, match=r"the grade 1, so there is nothing to tell apart"):
        small.fit(table, np.ones(60), query_ids=queries)
    with pytest.raises(DataError, match=r"grade of row 4 is 1.5"):
        small.fit(table, [*grades[:3], 1.5, *grades[4:]], query_ids=queries)
    with pytest.raises(DataError, match="1 queries"):
        small.fit(table, grades, query_ids=["one"] * 60)
    with pytest.raises(DataError, match="query id of row 4 is null"):
        small.fit(table, grades, query_ids=[*queries[:3], None, *queries[4:]])
    with pytest.raises(SettingError, match=r"'head' setting must be one of ordinal, multiclass; got 'linear'"):
        model("linear").fit(table, grades, query_ids=queries)
    with pytest.raises(SettingError, match="'calibration' setting"):
        model(calibration="beta").fit(table, grades, query_ids=queries)
    with pytest.raises(SettingError, match="'validation_fraction'"):
        model(validation_fraction=1.0).fit(table, grades, query_ids=queries)
    with pytest.raises(SettingError, match="give all three or none"):
        small.fit(table, grades, query_ids=queries, eval_X=table)
    with pytest.raises(DataError, match="'part', which the model was trained on, is missing"):
        small.fit(table, grades, query_ids=queries).predict(table[["good", "count"]])
    stamped = pa.Table.from_pandas(table).replace_schema_metadata({"omnifeat.fingerprint": "bbbb"})
    with pytest.raises(FingerprintError, match=r"aaaa.*bbbb"):
        model(encoder_fingerprint="aaaa").fit(stamped, grades, query_ids=queries)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), min_size=3, max_size=3), min_size=1, max_size=5))
def test_monotone_rows_fall_and_falling_rows_stay(rows: list[list[float]]) -> None:
    above = np.array(rows)
    found = monotone(above)
    assert (np.diff(found, axis=1) <= 0).all()
    assert (found >= above.min(axis=1, keepdims=True)).all()
    assert (found <= above.max(axis=1, keepdims=True)).all()
    falling = -np.sort(-above, axis=1)
    np.testing.assert_array_equal(monotone(falling), falling)


def test_monotone_golden() -> None:
    # below: 0.6 0.2 0.2, over: 0.6 0.4 0.4
    np.testing.assert_allclose(monotone(np.array([[0.6, 0.2, 0.4]])), [[0.6, 0.3, 0.3]])


def test_golden_metrics() -> None:
    log2 = math.log2
    np.testing.assert_allclose(top_weights(3), [1, 1 / log2(3), 1 / 2])
    queries = ["b", "a", "b", "b"]
    # a has one row of grade 3; b's grades by score: 1, 0, 2
    found = weighted_top_relevance([0.3, 0.5, 0.9, 0.6], [2, 3, 1, 0], queries)
    np.testing.assert_allclose(found, [3, (1 + 2 / 2) / (1 + 1 / log2(3) + 1 / 2)])
    np.testing.assert_allclose(weighted_top_relevance([0.3, 0.5, 0.9, 0.6], [2, 3, 1, 0], queries, k=1), [3, 1])
    # equal scores: either order is as likely
    np.testing.assert_allclose(weighted_top_relevance([1, 1], [4, 0], ["q", "q"], k=1), [2])
    # nine rows: the ninth has no say
    nine = weighted_top_relevance(-np.arange(9.0), [1] * 8 + [4], ["q"] * 9)
    np.testing.assert_allclose(nine, [1])
    assert accuracy([0.4, 0.5, 2.6, 1.0], [0, 1, 2, 1]) == 0.75
    assert spearman([1, 2, 3], [3, 5, 9]) == pytest.approx(1)
    # ranks 1, 2, 3 and 1.5, 1.5, 3: covariance 1.5, variances 2 and 1.5
    assert spearman([1, 2, 3], [0, 0, 1]) == pytest.approx(1.5 / math.sqrt(3))
    assert math.isnan(spearman([1, 2], [1, 1]))
    found = spearman_within([1, 2, 5, 1], [1, 0, 2, 2], ["x", "x", "y", "y"])
    assert found[0] == pytest.approx(-1)
    assert math.isnan(found[1])


def test_the_manifest_tells_what_was_held_out(tmp_path: Path) -> None:
    table, grades, queries = pairs()
    found = model(n_estimators=3).fit(table, grades, query_ids=queries)
    found.save(tmp_path / "model")
    fitted = json.loads((tmp_path / "model" / "manifest.json").read_text())["fitted"]
    assert fitted["queries_"] + fitted["held_out_queries_"] == 40
    assert fitted["trees_"] == [3, 3, 3]
