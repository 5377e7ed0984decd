import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from omnifeat.data.files import read_table
from ranking import LambdaRanker
from tests.commands import omnifeat, refused

WORDS = ("red", "blue", "shoes", "hat", "rain", "warm")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Judged pairs with features in `pairs.parquet` and `pairs.csv`, and their entities."""
    rng = np.random.default_rng(0)
    rows = 240
    good = rng.normal(size=rows).astype(np.float32)
    frame = pd.DataFrame(
        {
            "query": [f"{WORDS[n % 6]} {WORDS[n // 6 % 6]}" for n in rng.integers(20, size=rows)],
            "entity_id": [f"e{row}" for row in range(rows)],
            "entity_type": "product",
            "grade": np.clip(good.round(), 0, 3).astype(int),
            "good": good,
            "noise": rng.normal(size=rows),
        }
    )
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table.replace_schema_metadata({"omnifeat.fingerprint": "aaaa"}), tmp_path / "pairs.parquet")
    frame.to_csv(tmp_path / "pairs.csv", index=False)
    titles = [" ".join(WORDS[n] for n in rng.integers(6, size=3)) for _ in range(rows)]
    pq.write_table(pa.table({"id": frame["entity_id"], "title": titles}), tmp_path / "entities.parquet")
    before = {path.name for path in tmp_path.iterdir()}
    yield tmp_path
    left = {path.name for path in tmp_path.iterdir()} - before
    assert not {name for name in left if "partial" in name}


@pytest.fixture
def ranker(folder: Path) -> Path:
    trained = omnifeat(
        "rank", "train", folder / "pairs.parquet", "-o", folder / "ranker", "--trees", 10, "--threads", 1
    )
    assert trained.exit_code == 0, trained.output
    return folder / "ranker"


def test_train_uses_the_numeric_columns_and_reports(folder: Path, ranker: Path) -> None:
    model = LambdaRanker.load(ranker)
    assert model.feature_names_in_.tolist() == ["good", "noise"]
    assert model.encoder_fingerprint_ == "aaaa"
    assert (ranker / "importance.png").read_bytes().startswith(b"\x89PNG")
    frame = pd.read_csv(folder / "pairs.csv")
    frame[:120].to_csv(folder / "half.csv", index=False)
    frame[120:].to_csv(folder / "rest.csv", index=False)
    again = omnifeat(
        "rank", "train", folder / "rest.csv", "-o", folder / "other", "--exclude", "noise", "--trees", 5,
        "--development", folder / "half.csv", "--encoder-fingerprint", "aaaa", "--json",
    )  # fmt: skip
    summary = json.loads(again.stdout)
    assert list(summary["importances"]) == ["good"]
    assert summary["rows"] == 120
    assert "warning: " not in again.stderr
    assert 0.9 < summary["best_score"] <= 1
    assert summary["encoder_fingerprint"] == "aaaa"


@pytest.mark.parametrize("stage", [(), ("--stage", "relevance")])
def test_a_development_table_of_training_rows_is_refused(folder: Path, stage: tuple[str, ...]) -> None:
    frame = pd.read_csv(folder / "pairs.csv")
    train = ("rank", "train", folder / "pairs.parquet", "-o", folder / "new", "--trees", 5, *stage)
    frame.sample(frac=0.5, random_state=0).to_csv(folder / "half.csv", index=False)
    for same in ("pairs.parquet", "pairs.csv", "half.csv"):
        refused(
            omnifeat(*train, "--development", folder / same), f"Every row of {folder / same} stands in the training"
        )
    assert not (folder / "new").exists()
    mixed = pd.concat([frame[:30], frame[30:].assign(query=lambda rows: "new " + rows["query"])])
    mixed.to_csv(folder / "mixed.csv", index=False)
    done = omnifeat(*train, "--development", folder / "mixed.csv")
    assert done.exit_code == 0, done.output
    assert "warning: 30 of 240 rows of" in done.stderr


def test_a_model_measured_on_its_own_tables_says_so(folder: Path) -> None:
    frame = pd.read_csv(folder / "pairs.csv")
    for name, rows in {"one": frame[:100], "two": frame[100:180], "three": frame[180:]}.items():
        rows.to_csv(folder / f"{name}.csv", index=False)
    trained = omnifeat("rank", "train", folder / "one.csv", "--development", folder / "two.csv", "-o", folder / "new")
    assert trained.exit_code == 0, trained.output
    (folder / "one.csv").rename(folder / "copy.csv")
    for table, said in (("copy", "training"), ("two", "development"), ("three", None)):
        done = omnifeat("rank", "evaluate", folder / f"{table}.csv", "-r", folder / "new", "--bootstrap", 0, "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["learned_from_this_table"] == said
        assert (f"is the {said} table of the model" in done.stderr) is (said is not None)


def test_increasing_features_are_held_to_it(folder: Path) -> None:
    trained = omnifeat(
        *("rank", "train", folder / "pairs.parquet", "-o", folder / "rising", "--increasing", "no*,good"),
        *("--trees", 10, "--threads", 1),
    )
    assert trained.exit_code == 0, trained.output
    grid = pd.DataFrame({"good": 0.0, "noise": np.linspace(-3, 3, 50)})
    assert (np.diff(LambdaRanker.load(folder / "rising").predict(grid)) >= 0).all()
    refused(
        omnifeat("rank", "train", folder / "pairs.parquet", "-o", folder / "other", "--increasing", "god"),
        "Column 'god' of --increasing is not in the table",
        "did you mean 'good'?",
    )
    assert not (folder / "other").exists()


def test_predict_keeps_rows_order_and_columns(folder: Path, ranker: Path) -> None:
    done = omnifeat("rank", "predict", folder / "pairs.parquet", "-r", ranker, "-o", folder / "scored.parquet")
    assert done.exit_code == 0, done.output
    before, after = read_table(folder / "pairs.parquet"), read_table(folder / "scored.parquet")
    assert after.drop_columns(["score"]).equals(before)
    expected = LambdaRanker.load(ranker).predict(before.select(["good", "noise"]))
    np.testing.assert_array_equal(after["score"].to_numpy(), expected)


def test_empty_names_and_near_names_are_said(folder: Path, ranker: Path) -> None:
    predict = ("rank", "predict", folder / "pairs.parquet", "-r", ranker, "-o", folder / "scored.parquet")
    refused(omnifeat(*predict, "--score-column", ""), "--score-column is empty; give the new column a name")
    train = ("rank", "train", folder / "pairs.csv", "-o", folder / "new", "--encoder-fingerprint", " ")
    refused(omnifeat(*train), "(--encoder-fingerprint) is empty")
    pd.read_csv(folder / "pairs.csv").rename(columns={"good": "GOOD"}).to_csv(folder / "other.csv", index=False)
    said = omnifeat("rank", "predict", folder / "other.csv", "-r", ranker, "-o", folder / "scored.parquet")
    refused(said, "Feature 'good' is not in the table", "did you mean 'GOOD'?")
    refused(omnifeat("rank", "predict", folder / "pairs.csv", "-r", ranker, "-o", ""), "name a")


def test_predict_reads_and_writes_csv(folder: Path, ranker: Path) -> None:
    done = omnifeat("rank", "predict", folder / "pairs.csv", "-r", ranker, "-o", folder / "scored.csv")
    assert done.exit_code == 0, done.output
    scored = pd.read_csv(folder / "scored.csv")
    expected = LambdaRanker.load(ranker).predict(pq.read_table(folder / "pairs.parquet").select(["noise", "good"]))
    np.testing.assert_allclose(scored["score"], expected, rtol=1e-12)


def test_the_label_is_no_feature_of_a_cross_validation(folder: Path) -> None:
    fold = ("rank", "cross-validate", folder / "pairs.parquet", "-o", folder / "folds")
    for taken in ("grade", "gr*", "noise,grade"):
        refused(omnifeat(*fold, "--feature-set", f"a={taken}"), "'grade'", "cannot be a feature")
    refused(omnifeat(*fold, "--feature-set", "a=noise", "--leaves", 1_000_000), "num_leaves", "131,072")


def test_cross_validate_compares_feature_sets(folder: Path) -> None:
    arguments: list[Any] = [
        "rank", "cross-validate", folder / "pairs.parquet", "-o", folder / "folds", "--feature-set", "noise=noise",
        "--feature-set", "both=noise,go*", "--trees", 10, "--folds", 3, "--resamples", 200, "--threads", 1,
    ]  # fmt: skip
    done = omnifeat(*arguments)
    assert done.exit_code == 0, done.output
    assert "both" in done.stdout
    result = json.loads((folder / "folds" / "results.json").read_text())
    noise, both = result["feature_sets"]["noise"], result["feature_sets"]["both"]
    assert both["features"] == ["noise", "good"]
    assert both["ndcg@10"]["value"] > 0.9 > noise["ndcg@10"]["value"]
    assert both["difference"]["value"] == pytest.approx(both["ndcg@10"]["value"] - noise["ndcg@10"]["value"])
    assert both["difference"]["low"] > 0
    assert noise["difference"] == {"value": 0, "low": 0, "high": 0}
    table = pq.read_table(folder / "folds" / "out_of_fold.parquet")
    assert table.column_names == ["query", "entity_id", "grade", "score_noise", "score_both"]
    assert table["entity_id"].to_pylist() == [f"e{row}" for row in range(240)]
    for name in ("ndcg.png", "importance.png"):
        assert (folder / "folds" / name).read_bytes().startswith(b"\x89PNG")
    refused(omnifeat(*arguments), "folds exists already", "--overwrite")
    again = omnifeat(*arguments, "--overwrite", "--json")
    assert json.loads(again.stdout)["feature_sets"] == result["feature_sets"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["n/a"], "row 3: 'n/a' is not a number"),
        (["12%"] * 238, "row 3: '12%' is not a number"),
        (["1,200.50"], "row 3: '1,200.50' is not a number"),
        (["TRUE", "FALSE"] * 119, "row 3: 'TRUE' is not a number"),
    ],
)
def test_a_word_in_a_column_of_features_is_named_and_the_column_not_dropped(
    folder: Path, words: list[str], said: str
) -> None:
    frame = pd.read_csv(folder / "pairs.csv").assign(bm25=lambda one: [str(value) for value in range(len(one))])
    frame.loc[2 : 1 + len(words), "bm25"] = words
    frame.to_csv(folder / "words.csv", index=False)
    arguments = ("rank", "train", folder / "words.csv", "-o", folder / "out", "--trees", 2, "--threads", 1)
    refused(omnifeat(*arguments), "words.csv", "Column 'bm25'", said, "--exclude bm25")
    refused(omnifeat(*arguments, "--features", "bm25,good"), "words.csv", "Feature 'bm25'", said)
    assert not (folder / "out").exists()
    done = omnifeat(*arguments, "--exclude", "bm25")
    assert done.exit_code == 0, done.output
    fold = ("rank", "cross-validate", folder / "words.csv", "-o", folder / "folds", "--feature-set", "a=bm25")
    refused(omnifeat(*fold), "words.csv", "Feature 'bm25'", said)


def test_columns_that_are_no_features_are_named(folder: Path) -> None:
    frame = pd.read_csv(folder / "pairs.csv").assign(title="a hat", made="2024-03-01", empty=None, session_id="x7")
    frame.to_csv(folder / "more.csv", index=False)
    done = omnifeat("rank", "train", folder / "more.csv", "-o", folder / "out", "--trees", 2, "--threads", 1)
    assert done.exit_code == 0, done.output
    assert "warning: columns that hold no numbers and are no features: title, made, session_id" in done.stderr


def test_a_grade_that_is_no_number_is_named(folder: Path) -> None:
    frame = pd.read_csv(folder / "pairs.csv").rename(columns={"grade": "rating"}).astype({"rating": object})
    frame.loc[4, "rating"] = "good"
    frame.to_csv(folder / "words.csv", index=False)
    arguments = ("rank", "train", folder / "words.csv", "-o", folder / "out", "--trees", 2, "--label", "rating")
    result = omnifeat(*arguments)
    refused(result, "words.csv", "The label of row 5 is 'good'")


def test_numbers_of_any_type_and_queries_that_are_numbers_train_a_ranker(folder: Path) -> None:
    table = pq.read_table(folder / "pairs.parquet").replace_schema_metadata(None)
    numbers = pc.dictionary_encode(table["query"]).combine_chunks().indices
    whole = pd.array([1, None] * 120, dtype="Int64")
    table = table.set_column(0, "query", numbers).append_column("whole", pa.array(whole))
    table = table.append_column("exact", pa.array([Decimal("1.5"), Decimal("2.5")] * 120))
    table = table.append_column("few", pa.array([1.0, 2.0] * 120).dictionary_encode())
    pq.write_table(table, folder / "odd.parquet")
    done = omnifeat("rank", "train", folder / "odd.parquet", "-o", folder / "out", "--trees", 2, "--threads", 1)
    assert done.exit_code == 0, done.output
    assert LambdaRanker.load(folder / "out").feature_names_in_.tolist() == ["good", "noise", "whole", "exact", "few"]


def test_relevance_models_are_cross_validated_too(folder: Path) -> None:
    done = omnifeat(
        "rank", "cross-validate", folder / "pairs.parquet", "-o", folder / "relevance", "--stage", "relevance",
        "--feature-set", "noise=noise", "--feature-set", "both=noise,go*", "--trees", 10, "--folds", 3,
        "--resamples", 200, "--threads", 1, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["stage"] == "relevance"
    assert result["feature_sets"]["both"]["difference"]["low"] > 0
    scores = pq.read_table(folder / "relevance" / "out_of_fold.parquet")
    grades = scores["grade"].to_numpy()
    expected = scores["score_both"].to_numpy()
    assert grades.min() <= expected.min()  # expected grades, not scores of any scale
    assert expected.max() <= grades.max()


def test_features_are_added_in_the_order_of_the_pairs(folder: Path) -> None:
    out = folder / "with.parquet"
    done = omnifeat("rank", "features", folder / "pairs.parquet", "--entities", folder / "entities.parquet", "-o", out)
    assert done.exit_code == 0, done.output
    before, after = read_table(folder / "pairs.parquet"), read_table(out)
    assert after.select(before.column_names).equals(before)
    assert after.schema.metadata[b"omnifeat.fingerprint"] == b"aaaa"
    assert "bm25_title" in after.column_names
    titles = pq.read_table(folder / "entities.parquet")["title"].to_pylist()
    matched = [
        len(set(query.split()) & set(title.split()))
        for query, title in zip(before["query"].to_pylist(), titles, strict=True)
    ]
    assert after["matched_tokens"].to_pylist() == matched


def test_pairs_that_cannot_be_scored_are_kept_or_named(folder: Path) -> None:
    pq.write_table(pq.read_table(folder / "entities.parquet").slice(1), folder / "fewer.parquet")
    arguments = ["rank", "features", folder / "pairs.csv", "--entities", folder / "fewer.parquet", "-o"]
    done = omnifeat(*arguments, folder / "kept.csv", "--json")
    assert json.loads(done.stdout)["unscored"] == 1
    kept = pd.read_csv(folder / "kept.csv")
    assert (len(kept), int(kept["bm25_text"].isna().sum())) == (240, 1)
    refused(omnifeat(*arguments, folder / "strict.csv", "--strict"), "row 1", "e0", "pairs.csv")
    assert not (folder / "strict.csv").exists()


def test_a_dataset_folder_brings_judgments_and_catalogue(folder: Path) -> None:
    from omnifeat.data.dataset import DatasetInfo, DatasetWriter

    info = DatasetInfo(name="tiny", source="made by hand", licence="CC0", created_by="test")
    with DatasetWriter(folder / "data", info) as writer:
        writer.write("pins", pa.table({"id": ["x"], "title": ["red shoes"]}))
        writer.write("products", pa.table({"id": ["x", "y"], "title": ["hat", "rain hat"], "price": [5.0, None]}))
        writer.write(
            "judgments",
            pa.table(
                {
                    "query": ["hat", "hat", "hat"],
                    "entity_id": ["x", "x", "y"],
                    "entity_type": ["pin", "product", "product"],
                    "grade": pa.array([0, 2, 1], pa.int32()),
                }
            ),
        )
    done = omnifeat("rank", "features", folder / "data", "-o", folder / "judged.parquet")
    assert done.exit_code == 0, done.output
    found = pq.read_table(folder / "judged.parquet")
    assert found["title_length"].to_pylist() == [2, 1, 2]
    assert found["price"].to_pylist() == [None, 5, None]


def test_bad_input_is_one_sentence(folder: Path, ranker: Path) -> None:
    pairs = folder / "pairs.parquet"
    new = folder / "new"
    refused(omnifeat("rank", "train", folder / "absent.parquet", "-o", new), "absent.parquet")
    refused(omnifeat("rank", "train", pairs, "-o", new, "--label", "grades"), "pairs.parquet", "'grades'")
    refused(omnifeat("rank", "train", pairs, "-o", new, "--features", "goood"), "'goood'", "did you mean 'good'")
    refused(omnifeat("rank", "train", pairs, "-o", new, "--label", "noise"), "pairs.parquet", "label of row")
    refused(omnifeat("rank", "train", pairs, "-o", ranker), "exists already")
    refused(omnifeat("rank", "predict", pairs, "-r", folder / "none", "-o", new.with_suffix(".csv")), "no model folder")
    cross = ["rank", "cross-validate", pairs, "-o", new]
    refused(omnifeat(*cross, "--feature-set", "good"), "NAME=COLUMN")
    refused(omnifeat(*cross, "--feature-set", "a=good", "--folds", 500), "queries for 500 folds")
    refused(omnifeat("rank", "features", pairs, "-o", new.with_suffix(".csv")), "--entities")
    fewer = folder / "fewer.parquet"
    pq.write_table(pq.read_table(pairs).drop_columns(["good"]), fewer)
    refused(omnifeat("rank", "predict", fewer, "-r", ranker, "-o", folder / "new.csv"), "fewer.parquet", "'good'")
    other = folder / "other.parquet"
    stamped = pq.read_table(pairs).replace_schema_metadata({"omnifeat.fingerprint": "bbbb"})
    pq.write_table(stamped, other)
    refused(omnifeat("rank", "predict", other, "-r", ranker, "-o", folder / "new.csv"), "aaaa", "bbbb")
    assert not list(folder.glob("new*"))
    assert not list(folder.glob(".new*"))


def test_pairs_that_share_no_id_with_the_entities_are_refused(folder: Path) -> None:
    pd.DataFrame({"query": ["hat"], "entity_id": ["11.0"]}).to_csv(folder / "floats.csv", index=False)
    pd.DataFrame({"id": ["11"], "title": ["hat"]}).to_csv(folder / "catalogue.csv", index=False)
    out = folder / "out.csv"
    arguments = ("rank", "features", folder / "floats.csv", "--entities", folder / "catalogue.csv", "-o", out)
    refused(omnifeat(*arguments), "floats.csv", "catalogue.csv", "writes '11.0'", "writes '11'", "whole numbers")
    assert not out.exists()


STRANGE = {
    "timestamp": lambda rows: range(len(rows)),
    "price": lambda rows: ["49.90 USD", *["x"] * (len(rows) - 1)],
    "pinsage": lambda rows: [1.5] * len(rows),
    "engaged_queries": lambda rows: ["[no list"] * len(rows),
    "title": lambda rows: [3] * len(rows),
    "f_new": lambda rows: ["word"] * len(rows),
}


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_columns_that_nobody_asked_for_stop_no_command(folder: Path, ranker: Path, suffix: str) -> None:
    frame = pd.read_csv(folder / "pairs.csv")
    strange = frame.assign(**{name: make(frame) for name, make in STRANGE.items()})
    table = folder / f"strange.{suffix}"
    if suffix == "csv":
        strange.to_csv(table, index=False)
    elif suffix == "parquet":
        strange.to_parquet(table)
    else:
        strange.to_json(table, orient="records", lines=True)
    features = ("--features", "good,noise", "--encoder-fingerprint", "aaaa")
    quick = ("--trees", 5, "--threads", 1)
    for command in (
        ("rank", "train", table, "-o", folder / "new", *features, *quick),
        ("rank", "evaluate", table, "-r", ranker, "--bootstrap", 0),
        ("rank", "predict", table, "-r", ranker, "-o", folder / f"scored.{suffix}"),
        ("rank", "cross-validate", table, "-o", folder / "folds", "--feature-set", "a=good", "--folds", 2, *quick),
    ):
        done = omnifeat(*command)
        assert done.exit_code == 0, done.output
    assert len(read_table(folder / f"scored.{suffix}", ["query", "score"])) == 240


def test_a_time_is_no_feature_unless_it_is_named(folder: Path) -> None:
    frame = pd.read_csv(folder / "pairs.csv").assign(timestamp=range(1_700_000_000, 1_700_000_240))
    frame.to_csv(folder / "timed.csv", index=False)
    for more, expected in (((), ["good", "noise"]), (("--features", "good,timestamp"), ["good", "timestamp"])):
        done = omnifeat("rank", "train", folder / "timed.csv", "-o", folder / "new", "--trees", 5, "--overwrite", *more)
        assert done.exit_code == 0, done.output
        assert LambdaRanker.load(folder / "new").manifest_.names == tuple(expected)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_column_without_a_value_is_a_feature_and_told(folder: Path, suffix: str) -> None:
    frame = pd.read_csv(folder / "pairs.csv").assign(empty=None)
    table = folder / f"hollow.{suffix}"
    frame.to_csv(table, index=False) if suffix == "csv" else frame.to_parquet(table)
    done = omnifeat("rank", "train", table, "-o", folder / "new", "--trees", 5)
    assert done.exit_code == 0, done.output
    assert "warning: features without a value in any row, which teach nothing: empty" in done.stderr
    model = LambdaRanker.load(folder / "new")
    assert model.manifest_.names == ("good", "noise", "empty")
    other = frame.assign(empty=1.5)[["good", "noise", "empty"]]
    np.testing.assert_array_equal(model.predict(other), model.predict(other.assign(empty=np.nan)))
    scored = omnifeat("rank", "predict", table, "-r", folder / "new", "-o", folder / "scored.csv")
    assert scored.exit_code == 0, scored.output
