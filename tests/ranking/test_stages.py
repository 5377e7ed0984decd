"""L1 and L2: what they learn, what must not change them, what they refuse, and that they are saved whole."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.errors import DataError, FingerprintError, SettingError
from ranking import L1Ranker, L2Ranker, LambdaRanker, load_model
from ranking.actions import action_gains, grades_from_actions
from ranking.base import held_out_queries
from ranking.explain import explain, save_shap
from ranking.groups import encode_queries
from ranking.l1 import grades_of_scores
from ranking.metrics import QueryRanks, kept_of_top

FEW = settings(max_examples=3)
SMALL: dict[str, Any] = {"n_estimators": 8, "threads": 1, "min_child_samples": 5}
ACTIONS = np.array([None, "click", "long_click", "save"], dtype=object)
MODELS = {
    "l1": lambda **more: L1Ranker(**SMALL, **more),
    "l2": lambda **more: L2Ranker(**SMALL, **more),
    "per-action": lambda **more: L2Ranker(method="per-action", **SMALL, **more),
}


def shown(seed: int = 0, rows: int = 300, queries: int = 15) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Features of which `good` makes the action, the action of each row, and its query."""
    rng = np.random.default_rng(seed)
    good = rng.normal(size=rows).astype(np.float32)
    part = np.where(rng.random(rows) < 0.3, np.nan, rng.normal(size=rows))
    table = pd.DataFrame({"good": good, "part": part, "count": rng.integers(0, 5, size=rows)})
    level = np.clip(np.round(good + 0.3 * rng.normal(size=rows)), 0, 3).astype(int)
    return table, ACTIONS[level], np.array([f"query {number}" for number in rng.integers(queries, size=rows)])


def labels_for(name: str, table: pd.DataFrame, actions: np.ndarray) -> np.ndarray:
    return table["good"].to_numpy(float) if name == "l1" else actions


@pytest.mark.parametrize("name", MODELS)
@FEW
@given(seed=st.integers(0, 1000))
def test_orders_of_rows_queries_and_columns_change_nothing(name: str, seed: int) -> None:
    table, actions, queries = shown(seed)
    labels = labels_for(name, table, actions)
    expected = MODELS[name]().fit(table, labels, query_ids=queries).predict(table)
    order = np.random.default_rng(seed).permutation(len(table))
    renamed = np.array([f"z{hash(query) % 10**9}" for query in queries])
    other = MODELS[name]().fit(table.iloc[order][["part", "count", "good"]], labels[order], query_ids=renamed[order])
    np.testing.assert_array_equal(other.predict(table), expected)
    wider = table.assign(aa_constant=3.5)
    more = MODELS[name]().fit(wider, labels, query_ids=queries)
    np.testing.assert_array_equal(more.predict(wider), expected)
    rows = order[:20]
    twice = other.predict(pd.concat([table.iloc[rows], table.iloc[rows]]))
    np.testing.assert_array_equal(twice, np.r_[expected[rows], expected[rows]])


@pytest.mark.parametrize("name", MODELS)
def test_they_learn_and_are_saved_whole(name: str, tmp_path: Path) -> None:
    table, actions, queries = shown()
    model = MODELS[name]().fit(table, labels_for(name, table, actions), query_ids=queries)
    unseen, acted, others = shown(seed=1)
    scores = model.predict(unseen)
    assert np.nanmean(QueryRanks(scores, others).ndcg(action_gains(acted, len(acted)))) > (0.8 if name == "l1" else 0.9)
    model.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert type(again) is type(model)
    np.testing.assert_array_equal(again.predict(unseen), scores)
    assert again.get_params() == model.get_params()
    for attribute in model._fitted:
        assert getattr(again, attribute) == getattr(model, attribute)
    with pytest.raises(DataError, match="holds a model of kind"):
        (L2Ranker if name == "l1" else L1Ranker).load(tmp_path / "model")
    assert isinstance(LambdaRanker.load(tmp_path / "model"), LambdaRanker)


@pytest.mark.parametrize("name", MODELS)
def test_features_of_another_encoder_are_refused(name: str) -> None:
    table, actions, queries = shown()
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    stamped = arrow.replace_schema_metadata({"omnifeat.fingerprint": "aaaa"})
    model = MODELS[name]().fit(stamped, labels_for(name, table, actions), query_ids=queries)
    with pytest.raises(FingerprintError, match="aaaa.*bbbb"):
        model.predict(arrow.replace_schema_metadata({"omnifeat.fingerprint": "bbbb"}))
    with pytest.raises(DataError, match="'part', which the model was trained on, is missing"):
        model.predict(stamped.drop_columns(["part"]))


def test_grades_of_actions_are_their_gains_in_order() -> None:
    actions = ["save", None, "click", "", "checkout", "view"]
    gains = {"checkout": 9.0, "save": 2.5, "click": 2.5, "view": 0.0}
    grades, of_grade = grades_from_actions(actions, 6, gains)
    assert grades.tolist() == [1, 0, 1, 0, 2, 0]
    assert of_grade == [0.0, 2.5, 9.0]
    assert action_gains(actions, 6, gains).tolist() == [2.5, 0, 2.5, 0, 9, 0]
    with pytest.raises(DataError, match="action of row 2 is 'like', which has no gain"):
        grades_from_actions(["click", "like"], 2)
    for wrong in ({"click": -1.0}, {"click": math.nan}, {"click": "much"}, {"click": 0.0}):
        with pytest.raises(SettingError, match="gain"):
            action_gains(["click"], 1, wrong)  # type: ignore[arg-type]


def test_l2_is_the_plain_ranker_of_the_actions_grades() -> None:
    table, actions, queries = shown()
    grades, gains = grades_from_actions(actions, len(actions))
    plain = LambdaRanker(**SMALL, num_leaves=31, label_gain=gains).fit(table, grades, query_ids=queries)
    ours = L2Ranker(**SMALL).fit(table, actions, query_ids=queries)
    np.testing.assert_array_equal(ours.predict(table), plain.predict(table))
    assert ours.actions_ == {
        a: int((actions == a).sum()) for a in ("click", "long_click", "save", "add_to_cart", "checkout")
    }


def test_gains_weigh_actions() -> None:
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, size=600)  # what a row brings: nothing, clicks, saves
    table = pd.DataFrame({"clicky": (kind == 1) * 1.0, "savey": (kind == 2) * 1.0})
    actions = np.array([None, "click", "save"], dtype=object)[np.where(rng.random(600) < 0.8, kind, 0)]
    queries = rng.integers(30, size=600)
    ask = pd.DataFrame({"clicky": [1.0, 0.0], "savey": [0.0, 1.0]})
    for method in ("lambdarank", "per-action"):
        for gains, first in (({"click": 1.0, "save": 5.0}, 1), ({"click": 5.0, "save": 1.0}, 0)):
            model = L2Ranker(**SMALL, method=method, action_gains=gains).fit(table, actions, query_ids=queries)
            assert int(model.predict(ask).argmax()) == first


def test_per_action_is_the_weighted_sum_of_probabilities() -> None:
    table, actions, queries = shown()
    gains = {"click": 1.0, "save": 3.0, "long_click": 0.0, "checkout": 7.0}
    model = L2Ranker(**SMALL, method="per-action", action_gains=gains).fit(table, actions, query_ids=queries)
    each = model.predict_actions(table)
    assert sorted(each) == ["click", "save"]
    assert model.actions_left_out_ == ["checkout"]  # nobody bought
    np.testing.assert_allclose(model.predict(table), each["click"] + 3 * each["save"])
    assert abs(each["save"].mean() - (actions == "save").mean()) < 0.02
    with pytest.raises(SettingError, match="say which one"):
        explain(model, table)
    with pytest.raises(SettingError, match="no booster 'like'"):
        explain(model, table, booster="like")
    with pytest.raises(SettingError, match="Only method 'per-action'"):
        L2Ranker(**SMALL).fit(table, actions, query_ids=queries).predict_actions(table)


def test_position_bias_is_taken_out() -> None:
    """An engine shows what has `shiny` on top; people act on what stands high. Only `good` is worth anything."""
    rng = np.random.default_rng(0)
    queries = np.repeat(np.arange(300), 10)
    table = pd.DataFrame({"shiny": rng.normal(size=3000), "good": rng.normal(size=3000)})
    engine = table["shiny"] + rng.normal(size=3000)
    position = engine.groupby(queries).rank(ascending=False).to_numpy(int) - 1
    seen = rng.random(3000) < 1.0 / (1 + position)
    actions = np.where(seen & (rng.random(3000) < 1 / (1 + np.exp(-2 * table["good"]))), "click", None)
    more = {**SMALL, "n_estimators": 40, "num_leaves": 7, "learning_rate": 0.1}
    plain = L2Ranker(**more).fit(table, actions, query_ids=queries)
    unbiased = L2Ranker(**more).fit(table, actions, query_ids=queries, positions=position)

    def truth(model: L2Ranker) -> float:
        return float(np.nanmean(QueryRanks(model.predict(table), queries).ndcg(np.exp(table["good"]))))

    assert truth(unbiased) > truth(plain) + 0.02
    order = rng.permutation(3000)
    again = L2Ranker(**more).fit(table.iloc[order], actions[order], query_ids=queries[order], positions=position[order])
    np.testing.assert_array_equal(again.predict(table), unbiased.predict(table))
    with pytest.raises(SettingError, match="Position bias belongs to method 'lambdarank'"):
        MODELS["per-action"]().fit(table, actions, query_ids=queries, positions=position)
    with pytest.raises(DataError, match=r"position of row \d+ is -1; .* to 10,000\.$"):
        L2Ranker(**SMALL).fit(table, actions, query_ids=queries, positions=position - 1)


def test_queries_held_out_are_fixed_by_their_text() -> None:
    queries = np.array([f"query {n}" for n in range(200)], dtype=object)
    codes, distinct = encode_queries(queries, 200)
    out = held_out_queries(codes, distinct, 0.2)
    assert 20 < out.sum() < 60
    fewer = held_out_queries(*encode_queries(queries[50:], 150), 0.2)
    np.testing.assert_array_equal(fewer, out[50:])
    assert (held_out_queries(codes, distinct, 0.2, seed=1) != out).any()
    with pytest.raises(SettingError, match="above 0 and below 1"):
        held_out_queries(codes, distinct, 1.0)
    with pytest.raises(DataError, match="holds out 0"):
        held_out_queries(codes[:1], distinct[:1], 0.01)


@pytest.mark.parametrize("name", MODELS)
def test_validation_inside_is_an_evaluation_set(name: str) -> None:
    table, actions, queries = shown(rows=600, queries=40)
    labels = labels_for(name, table, actions)
    inside = MODELS[name](validation_fraction=0.3, early_stopping_rounds=2)
    inside.fit(table, labels, query_ids=queries)
    out = held_out_queries(*encode_queries(queries, 600), 0.3)
    given_set = MODELS[name](early_stopping_rounds=2).fit(
        table[~out], labels[~out], query_ids=queries[~out],
        eval_X=table[out], eval_y=labels[out], eval_query_ids=queries[out],
    )  # fmt: skip
    np.testing.assert_array_equal(inside.predict(table), given_set.predict(table))
    assert inside.queries_ == len(np.unique(queries))
    requests = np.array([f"{query}#{row % 2}" for row, query in enumerate(queries)])
    by_text = MODELS[name](validation_fraction=0.3).fit(table, labels, query_ids=requests, split_ids=queries)
    assert by_text.queries_ == len(np.unique(requests))


def test_places_in_the_teachers_order_are_grades() -> None:
    scores = np.array([9.0, 8, 7, 7, 6, 5, 4, 3, 2, 1, 0, 5])
    codes = np.array([0] * 11 + [1])
    # keep 1: place 1 is 3, to 3 is 2, to 10 is 1; the equal 7s share place 3; a query of one score is left at 0
    assert grades_of_scores(scores, codes, 1).tolist() == [3, 2, 2, 2, 1, 1, 1, 1, 1, 1, 0, 0]


def test_l1_keeps_what_its_teacher_puts_on_top() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(6000, 4)), columns=list("abcd"))
    queries = np.repeat(np.arange(30), 200)
    teacher = (table["a"] + table["b"] * table["c"]).to_numpy()
    model = L1Ranker(threads=1, keep=10).fit(table, teacher, query_ids=queries)
    kept = kept_of_top(teacher, model.predict(table), queries, top=10, within=40).mean()
    by_one = kept_of_top(teacher, table["a"], queries, top=10, within=40).mean()
    assert kept > 0.85 > by_one
    narrow = L1Ranker(threads=1, max_features=3, feature_costs={"a": 2.0}).fit(table, teacher, query_ids=queries)
    assert narrow.left_out_ == ["d"]
    assert narrow.feature_names_in_.tolist() == ["a", "b", "c"]
    assert narrow.cost_["features"] == 4
    assert 20 < narrow.cost_["node_visits"] < 20 * 14
    assert narrow.cost_["total"] == narrow.cost_["features"] + narrow.cost_["node_visits"]
    np.testing.assert_array_equal(
        narrow.predict(table[["c", "a", "b"]]), narrow.booster_.predict(table[["a", "b", "c"]].to_numpy())
    )
    costly = L1Ranker(threads=1, max_features=1, feature_costs={"a": 1e9}).fit(table, teacher, query_ids=queries)
    assert costly.feature_names_in_.tolist() != ["a"]


def test_l1_learns_grades_too_and_refuses_what_is_none() -> None:
    table, actions, queries = shown()
    grades, _ = grades_from_actions(actions, len(actions))
    model = L1Ranker(**SMALL, target="grades").fit(table, grades, query_ids=queries)
    assert np.nanmean(QueryRanks(model.predict(table), queries).ndcg(grades)) > 0.9
    for settings_, message in (
        ({"target": "clicks"}, "'target' of L1Ranker must be one of"),
        ({"keep": 0}, "'keep' setting of L1Ranker"),
        ({"max_features": 0}, "'max_features' setting of L1Ranker"),
        ({"feature_costs": {"good": -1.0}}, "cost of feature 'good'"),
    ):
        with pytest.raises(SettingError, match=message):
            L1Ranker(**settings_).fit(table, table["good"], query_ids=queries)
    with pytest.raises(DataError, match="label of row 3 is nan"):
        L1Ranker().fit(table, table["good"].where(table.index != 2), query_ids=queries)
    with pytest.raises(DataError, match="Every label must be a number"):
        L1Ranker().fit(table, ["a"] * len(table), query_ids=queries)
    with pytest.raises(SettingError, match="features with names"):
        L1Ranker(max_features=1).fit(table.to_numpy(), table["good"], query_ids=queries)


def test_l2_refuses_what_does_not_fit() -> None:
    table, actions, queries = shown()
    with pytest.raises(SettingError, match="'method' of L2Ranker must be one of"):
        L2Ranker(method="pairwise").fit(table, actions, query_ids=queries)
    with pytest.raises(DataError, match="learns from actions such as 'click', not from grades"):
        MODELS["per-action"]().fit(table, np.ones(len(table)), query_ids=queries)
    with pytest.raises(DataError, match="there is nothing to learn"):
        MODELS["per-action"]().fit(table, [None] * len(table), query_ids=queries)
    with pytest.raises(SettingError, match="give all three or none"):
        L2Ranker().fit(table, actions, query_ids=queries, eval_X=table)
    with pytest.raises(DataError, match="different split ids"):
        L2Ranker(validation_fraction=0.5).fit(
            table, actions, query_ids=queries, split_ids=[f"text {row}" for row in range(len(table))]
        )


def test_shap_values_add_up_to_the_score(tmp_path: Path) -> None:
    table, actions, queries = shown()
    table = table[["part", "good", "count"]]
    model = L2Ranker(**SMALL).fit(table, actions, query_ids=queries)
    found = explain(model, table)
    assert found.names == ("part", "good", "count")
    np.testing.assert_allclose(found.base + found.shap.sum(axis=1), model.predict(table), atol=1e-12)
    assert found.mean_absolute.argmax() == 1
    np.testing.assert_array_equal(found.values[:, 2], table["count"])
    first, second = (save_shap(tmp_path / name, found).read_bytes() for name in ("one.png", "two.png"))
    assert first.startswith(b"\x89PNG")
    assert first == second
