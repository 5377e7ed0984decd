import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from omnifeat.data.seals import SEAL
from omnifeat.errors import DataError, FingerprintError, SettingError
from ranking.groups import group_rows
from ranking.ranker import LambdaRanker

FEW = settings(deadline=None, max_examples=8)


def pairs(seed: int = 0, rows: int = 240, queries: int = 20) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Features of which `good` makes the grade, `part` missing here and there, and a text query per row."""
    rng = np.random.default_rng(seed)
    good = rng.normal(size=rows).astype(np.float32)
    part = np.where(rng.random(rows) < 0.3, np.nan, rng.normal(size=rows))
    table = pd.DataFrame({"good": good, "part": part, "count": rng.integers(0, 5, size=rows)})
    grades = np.clip(np.round(good + 0.2 * rng.normal(size=rows)), 0, 3).astype(int)
    return table, grades, np.array([f"query {number}" for number in rng.integers(queries, size=rows)])


def ranker(**more: object) -> LambdaRanker:
    return LambdaRanker(**{"n_estimators": 12, "threads": 1, "min_child_samples": 5, **more})


@pytest.fixture(scope="module")
def fitted() -> LambdaRanker:
    table, grades, queries = pairs()
    return ranker().fit(table, grades, query_ids=queries)


def mean_ndcg(scores: np.ndarray, grades: np.ndarray, queries: np.ndarray, k: int = 10) -> float:
    """NDCG@k with gain 2^grade - 1, by its definition, over queries with a positive."""
    found = []
    for query in np.unique(queries):
        of_query = grades[queries == query]
        discount = 1 / np.log2(np.arange(2, min(k, len(of_query)) + 2))
        ideal = ((2.0 ** np.sort(of_query)[::-1][:k] - 1) * discount).sum()
        if ideal > 0:
            ranked = of_query[np.argsort(-scores[queries == query], kind="stable")][:k]
            found.append(((2.0**ranked - 1) * discount).sum() / ideal)
    return float(np.mean(found))


def test_it_learns_to_rank_queries_it_never_saw(fitted: LambdaRanker) -> None:
    table, grades, queries = pairs(seed=1)
    random = np.random.default_rng(0).random(len(table))
    assert mean_ndcg(fitted.predict(table), grades, queries) > 0.95
    assert mean_ndcg(random, grades, queries) < 0.8
    assert fitted.feature_importances_.argmax() == 0
    assert fitted.feature_names_in_.tolist() == ["good", "part", "count"]


@FEW
@given(st.integers(0, 1000))
def test_order_of_rows_queries_and_columns_and_names_of_queries_change_nothing(seed: int) -> None:
    table, grades, queries = pairs(seed)
    expected = ranker().fit(table, grades, query_ids=queries).predict(table)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(table))
    names = np.unique(queries)
    renamed = dict(zip(names, rng.permutation(len(names)).tolist(), strict=True))
    shuffled = table.iloc[rows][["part", "count", "good"]]
    other = ranker().fit(shuffled, grades[rows], query_ids=[renamed[query] for query in queries[rows]])
    np.testing.assert_array_equal(other.predict(table), expected)
    np.testing.assert_array_equal(other.predict(shuffled), expected[rows])


@FEW
@given(st.integers(0, 1000), st.sampled_from([0.0, -3.5, math.nan]))
def test_a_constant_feature_changes_nothing(seed: int, value: float) -> None:
    table, grades, queries = pairs(seed)
    expected = ranker().fit(table, grades, query_ids=queries).predict(table)
    wider = table.assign(aa_constant=value)
    more = ranker().fit(wider, grades, query_ids=queries)
    np.testing.assert_array_equal(more.predict(wider), expected)
    assert more.feature_importances_[-1] == 0


@FEW
@given(st.lists(st.integers(0, 239), min_size=1, max_size=30))
def test_duplicated_candidates_have_equal_scores_whatever_stands_beside_them(
    fitted: LambdaRanker, rows: list[int]
) -> None:
    table = pairs()[0]
    alone = fitted.predict(table)
    doubled = fitted.predict(pd.concat([table.iloc[rows], table.iloc[rows]]))
    np.testing.assert_array_equal(doubled, np.r_[alone[rows], alone[rows]])


def test_threads_do_not_change_the_model(fitted: LambdaRanker) -> None:
    table, grades, queries = pairs()
    two = ranker(threads=2).fit(table, grades, query_ids=queries)
    np.testing.assert_array_equal(two.predict(table), fitted.predict(table))


@pytest.mark.parametrize("kind", ["polars", "arrow", "dict", "array"])
def test_tables_of_any_library_give_one_result(fitted: LambdaRanker, kind: str) -> None:
    table = pairs()[0]
    other = {
        "polars": lambda: pl.DataFrame({name: table[name].to_numpy() for name in table}),
        "arrow": lambda: pa.Table.from_pandas(table, preserve_index=False),
        "dict": lambda: {name: table[name].to_numpy() for name in table},
        "array": table.to_numpy,
    }[kind]()
    np.testing.assert_array_equal(fitted.predict(other), fitted.predict(table))


def test_null_is_a_missing_value() -> None:
    table, grades, queries = pairs()
    expected = ranker().fit(table, grades, query_ids=queries).predict(table)
    nulls = pa.table({name: pa.array(table[name], from_pandas=True) for name in table})
    assert nulls["part"].null_count > 0
    np.testing.assert_array_equal(ranker().fit(nulls, grades, query_ids=queries).predict(nulls), expected)


def test_a_float32_feature_that_went_through_text_scores_the_same(fitted: LambdaRanker) -> None:
    table = pairs()[0]
    as_text = table.assign(good=[float(str(value)) for value in table["good"].to_numpy()])
    assert (as_text["good"].to_numpy() != table["good"].to_numpy().astype(np.float64)).any()
    np.testing.assert_array_equal(fitted.predict(as_text), fitted.predict(table))


def test_columns_are_checked_by_name(fitted: LambdaRanker) -> None:
    table = pairs()[0]
    with pytest.raises(DataError, match=r"'part', which the model was trained on, is missing.*did you mean 'parts'"):
        fitted.predict(table.rename(columns={"part": "parts"}))
    with pytest.raises(DataError, match="Column 'more' is not a feature"):
        fitted.predict(table.assign(more=1.0))
    with pytest.raises(DataError, match="2 columns, the model was trained on 3"):
        fitted.predict(table.to_numpy()[:, :2])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.assign(good="text"), "Feature 'good', row 1: 'text' is not a number"),
        (lambda t: t.assign(good=np.where(np.arange(len(t)) == 7, np.inf, 0.0)), "'good' is infinite in row 8"),
        (lambda t: t.iloc[:0], "no rows"),
        (lambda t: pd.concat([t, t], axis=1), "stands more than once"),
        (lambda t: t.to_numpy()[:, 0], "two dimensions"),
    ],
)
def test_features_that_are_none_are_refused(fitted: LambdaRanker, change: object, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        fitted.predict(change(pairs()[0]))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("grade", "shown"), [(-1, "-1"), (1.5, "1.5"), (math.nan, "nan"), (10_001, "10001"), (math.inf, "inf")]
)
def test_a_grade_that_is_none_is_named(grade: float, shown: str) -> None:
    table, grades, queries = pairs()
    wrong = grades.astype(float)
    wrong[5] = grade
    with pytest.raises(DataError, match=rf"label of row 6 is {shown}"):
        ranker().fit(table, wrong, query_ids=queries)


def test_a_null_query_is_named() -> None:
    table, grades, queries = pairs()
    with pytest.raises(DataError, match="query id of row 4 is null"):
        ranker().fit(table, grades, query_ids=[*queries[:3], None, *queries[4:]])


def test_lengths_must_agree() -> None:
    table, grades, queries = pairs()
    with pytest.raises(DataError, match="one query id for each of the 240 rows"):
        ranker().fit(table, grades, query_ids=queries[1:])
    with pytest.raises(DataError, match="one label for each of the 240 rows"):
        ranker().fit(table, grades[1:], query_ids=queries)


def test_grades_above_thirty_train() -> None:
    table, grades, queries = pairs()
    scaled = grades * 15  # 0, 15, 30, 45
    model = ranker().fit(table, scaled, query_ids=queries)
    assert mean_ndcg(model.predict(table), grades, queries) > 0.95


def test_too_few_gains_are_refused() -> None:
    table, grades, queries = pairs()
    with pytest.raises(SettingError, match="gains for grades 0 to 1, but there is a grade 3; give 4 gains"):
        ranker(label_gain=[0, 1]).fit(table, grades, query_ids=queries)


def test_a_query_of_more_than_ten_thousand_rows_is_named() -> None:
    codes = np.zeros(10_001, dtype=np.int64)
    with pytest.raises(DataError, match="Query 'shoes' has 10,001 rows and LightGBM takes 10,000"):
        group_rows(codes, np.array(["shoes"], dtype=object), np.zeros((10_001, 1)), codes)


def test_groups_hold_each_query_once() -> None:
    codes = np.array([2, 0, 2, 1, 0, 2])
    groups = group_rows(codes, np.array(["a", "b", "c"]), np.arange(6.0)[:, None], np.zeros(6, dtype=np.int64))
    gathered = np.split(codes[groups.order], np.cumsum(groups.sizes)[:-1])
    assert sorted(groups.order.tolist()) == [0, 1, 2, 3, 4, 5]
    assert sorted((group[0], len(group)) for group in gathered if len(set(group)) == 1) == [(0, 2), (1, 1), (2, 3)]


def test_no_order_to_learn_is_refused() -> None:
    table, _, queries = pairs()
    with pytest.raises(DataError, match="no order to learn"):
        ranker().fit(table, np.zeros(len(table)), query_ids=queries)


def test_queries_without_positive_are_counted_and_left_out_of_early_stopping() -> None:
    table, grades, queries = pairs()
    none = np.isin(queries, ["query 1", "query 2"])
    without = np.where(none, 0, grades)
    held_out, held_grades, held_queries = pairs(seed=5)
    plain = ranker().fit(
        table, without, query_ids=queries, eval_X=held_out, eval_y=held_grades, eval_query_ids=held_queries
    )
    assert (plain.queries_, plain.queries_without_positive_, plain.eval_queries_without_positive_) == (20, 2, 1)
    # Fifty further queries without a positive: LightGBM itself would count each as 1 and so lift the figure.
    empty = pd.concat([held_out, held_out.iloc[:100]])
    more = ranker().fit(
        table,
        without,
        query_ids=queries,
        eval_X=empty,
        eval_y=np.r_[held_grades, np.zeros(100, dtype=int)],
        eval_query_ids=[*held_queries, *(f"empty {row // 2}" for row in range(100))],
    )
    assert more.eval_queries_without_positive_ == 51
    assert more.best_score_ == plain.best_score_
    assert more.best_score_ == pytest.approx(mean_ndcg(more.predict(held_out), held_grades, held_queries), abs=0.02)


def test_early_stopping_keeps_the_best_trees() -> None:
    table, grades, queries = pairs()
    held_out, held_grades, held_queries = pairs(seed=5)
    noisy = np.random.default_rng(0).permutation(held_grades)
    stopped = ranker(n_estimators=200, early_stopping_rounds=3).fit(
        table, grades, query_ids=queries, eval_X=held_out, eval_y=noisy, eval_query_ids=held_queries
    )
    assert stopped.best_iteration_ < 200
    shorter = ranker(n_estimators=stopped.best_iteration_).fit(table, grades, query_ids=queries)
    np.testing.assert_array_equal(stopped.predict(table), shorter.predict(table))


def test_an_evaluation_set_comes_whole() -> None:
    table, grades, queries = pairs()
    with pytest.raises(SettingError, match="give all three or none"):
        ranker().fit(table, grades, query_ids=queries, eval_X=table)
    with pytest.raises(DataError, match="No query of the evaluation set has a grade above zero"):
        ranker().fit(
            table, grades, query_ids=queries, eval_X=table, eval_y=np.zeros(len(table)), eval_query_ids=queries
        )


def test_settings_are_those_of_scikit_learn() -> None:
    one = ranker(seed=3, label_gain=[0, 1, 2, 3])
    assert clone(one).get_params() == one.get_params()
    assert one.set_params(num_leaves=7).num_leaves == 7
    with pytest.raises(SettingError, match="'num_leaves' setting"):
        one.set_params(num_leaves=1).fit(*pairs()[:2], query_ids=pairs()[2])
    with pytest.raises(NotFittedError):
        clone(one).predict(pairs()[0])


def test_a_saved_ranker_is_the_same(fitted: LambdaRanker, tmp_path: Path) -> None:
    table = pairs()[0]
    fitted.save(tmp_path / "ranker")
    again = LambdaRanker.load(tmp_path / "ranker")
    np.testing.assert_array_equal(again.predict(table), fitted.predict(table))
    np.testing.assert_array_equal(again.feature_importances_, fitted.feature_importances_)
    assert again.get_params() == fitted.get_params()
    assert sorted(file.name for file in (tmp_path / "ranker").iterdir()) == ["manifest.json", "model.txt"]
    with pytest.raises(NotFittedError):
        LambdaRanker().save(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_new_process_gives_the_same_scores(fitted: LambdaRanker, tmp_path: Path) -> None:
    table = pairs()[0].iloc[:9]
    fitted.save(tmp_path / "ranker")
    table.to_parquet(tmp_path / "table.parquet")
    program = (
        "import sys, pandas; from ranking import LambdaRanker; "
        "print(LambdaRanker.load(sys.argv[1]).predict(pandas.read_parquet(sys.argv[2])).tolist())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "ranker"), str(tmp_path / "table.parquet")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(printed.stdout) == fitted.predict(table).tolist()


def test_damaged_folders_are_refused(fitted: LambdaRanker, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no model folder"):
        LambdaRanker.load(tmp_path / "absent")
    folder = tmp_path / "ranker"
    fitted.save(folder)
    model = (folder / "model.txt").read_bytes()
    (folder / "model.txt").write_bytes(model.replace(b"threshold=", b"threshold=9", 1))
    with pytest.raises(DataError, match=r"model\.txt was changed after it was saved"):
        LambdaRanker.load(folder)
    (folder / "model.txt").unlink()
    with pytest.raises(DataError, match=r"has no file 'model\.txt'"):
        LambdaRanker.load(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format_version": 99}))
    with pytest.raises(DataError, match="format version 99"):
        LambdaRanker.load(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        LambdaRanker.load(folder)


@pytest.mark.parametrize("change", ["fingerprint", "setting", "name", "seal"])
def test_an_edited_manifest_is_refused(
    change: str, fitted: LambdaRanker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "ranker"
    fitted.save(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    if change == "fingerprint":
        manifest["encoder_fingerprint"] = "bbbb"
    elif change == "setting":
        manifest["settings"]["learning_rate"] = 0.5
    elif change == "name":
        manifest["features"][0]["name"] = "another"
    else:
        manifest[SEAL] = None
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r"manifest\.json was changed after it was saved; train the model again"):
        LambdaRanker.load(folder)
    assert not caplog.text


def test_a_manifest_without_a_check_sum_is_loaded_with_a_warning(
    fitted: LambdaRanker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fitted.save(tmp_path / "ranker")
    file = tmp_path / "ranker" / "manifest.json"
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in manifest.items() if name not in (SEAL, "tables")}))
    LambdaRanker.load(tmp_path / "ranker").save(tmp_path / "again")
    assert "manifest.json has no check sum of itself" in caplog.text
    caplog.clear()
    LambdaRanker.load(tmp_path / "again")
    assert not caplog.text


def test_features_of_another_encoder_are_refused(tmp_path: Path) -> None:
    table, grades, queries = pairs()
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    stamped = arrow.replace_schema_metadata({"omnifeat.fingerprint": "aaaa"})
    other = arrow.replace_schema_metadata({"omnifeat.fingerprint": "bbbb"})
    model = ranker().fit(stamped, grades, query_ids=queries)
    model.save(tmp_path / "ranker")
    again = LambdaRanker.load(tmp_path / "ranker")
    assert again.encoder_fingerprint_ == "aaaa"
    np.testing.assert_array_equal(again.predict(stamped), again.predict(arrow))
    for refused in (
        lambda: again.predict(other),
        lambda: again.predict(arrow, encoder_fingerprint="bbbb"),
        lambda: ranker(encoder_fingerprint="bbbb").fit(stamped, grades, query_ids=queries),
    ):
        with pytest.raises(FingerprintError, match=r"aaaa|bbbb"):
            refused()


def test_names_that_lightgbm_does_not_take_are_kept() -> None:
    table, grades, queries = pairs()
    odd = table.rename(columns={"good": "good, {better}", "part": "part:1", "count": "part 1"})
    model = ranker().fit(odd, grades, query_ids=queries)
    np.testing.assert_array_equal(
        model.predict(odd[["part 1", "good, {better}", "part:1"]]),
        ranker().fit(odd, grades, query_ids=queries).predict(odd),
    )
    assert model.feature_importances_.argmax() == 0


def test_lightgbm_is_imported_when_needed_and_prints_nothing() -> None:
    program = (
        "import sys, numpy as np; import ranking; assert 'lightgbm' not in sys.modules; "
        "ranking.LambdaRanker(n_estimators=2, threads=1).fit(np.arange(6.0)[:, None], [0, 1, 2, 0, 1, 2], "
        "query_ids=[0, 0, 0, 1, 1, 1]); assert 'lightgbm' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@FEW
@given(st.integers(0, 1000))
def test_a_monotonic_feature_never_lowers_the_score(seed: int) -> None:
    table, grades, queries = pairs(seed)
    free, rising = ranker(), ranker(monotonic_cst={"part": 1, "good": -1})
    grid = pd.DataFrame({"good": 0.3, "part": np.linspace(-3, 3, 50), "count": 2})
    scores = rising.fit(table, grades, query_ids=queries).predict(grid)
    assert (np.diff(scores) >= 0).all()
    falling = grid.assign(good=np.linspace(-3, 3, 50), part=0.0)
    assert (np.diff(rising.predict(falling)) <= 0).all()
    assert (np.diff(free.fit(table, grades, query_ids=queries).predict(falling)) > 0).any()  # `good` makes the grade


@pytest.mark.parametrize(
    ("constraints", "message"),
    [({"god": 1}, "names 'god', which is no feature"), ({"good": 2}, "must be 1 .* got 2")],
)
def test_impossible_monotonic_constraints(constraints: dict[str, int], message: str) -> None:
    table, grades, queries = pairs()
    with pytest.raises(SettingError, match=message):
        ranker(monotonic_cst=constraints).fit(table, grades, query_ids=queries)
