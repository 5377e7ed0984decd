"""Runs that would give figures without meaning: refused, or told."""

import json
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.runs import checked_run, score_columns
from omnifeat.data.dataset import Dataset
from omnifeat.errors import DataError
from tests.commands import omnifeat, refused

RUN = pa.table({"query": ["cats", "cats", "sky"], "entity_id": ["p1", "p5", "p4"], "score": [2.0, 1.0, 1.0]})


def relevance(dataset: Dataset, run: pd.DataFrame | pa.Table | str, folder: Path, *more: object) -> Any:
    path = folder / "run.csv"
    if isinstance(run, str):
        path = folder / "run.trec"
        path.write_text(run)
    elif isinstance(run, pa.Table):
        path = folder / "run.parquet"
        run.to_pandas().to_parquet(path)
    else:
        run.to_csv(path, index=False)
    out = folder / "out"
    result = omnifeat("evaluate", "relevance", dataset.path, "--run", path, "-o", out, "--bootstrap", 0, *more)
    return result, json.loads((out / "relevance.json").read_text()) if out.exists() else None


def changed(dataset: Dataset, folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Dataset:
    """A copy of the dataset with other judgments."""
    shutil.copytree(dataset.path, folder / "changed")
    place = folder / "changed" / "judgments.parquet"
    change(pd.read_parquet(place)).to_parquet(place)
    return Dataset.open(folder / "changed")


# ---- what is a score


def test_a_rank_beside_a_score_is_not_measured() -> None:
    run = RUN.append_column("rank", pa.array([1, 2, 1])).append_column("position", pa.array([1, 2, 1]))
    assert score_columns(run, None) == ["score"]
    checked = checked_run(run)
    assert list(checked.scores) == ["score"]
    assert checked.notes == ("columns of the run that are no scores: rank, position",)


def test_a_rank_alone_is_measured_only_when_it_is_named_and_the_right_way_round() -> None:
    run = RUN.drop_columns(["score"]).append_column("rank", pa.array([1, 2, 1]))
    with pytest.raises(DataError, match=r"no score column but 'rank', of which 1 is the best; name it with --columns"):
        checked_run(run)
    checked = checked_run(run, ["rank"])
    assert checked.scores["rank"].tolist() == [-1, -2, -1]
    assert checked.notes == ("'rank' of the run is an order, of which 1 is the best",)


@pytest.mark.parametrize(
    "words", [["2.0", "n/a", "1"], ["12%", "3%", "4%"], ["1,200.50", "2", "3"], ["TRUE", "1", "0"]]
)
@pytest.mark.parametrize("beside", [True, False])
def test_a_word_in_a_score_column_is_named_and_the_column_not_dropped(words: list[str], beside: bool) -> None:
    run = RUN.append_column("new", pa.array(words))
    run = run if beside else run.drop_columns(["score"])
    wrong = next(row for row, word in enumerate(words) if not word.replace(".", "").isdigit())
    said = rf"run.csv, column 'new', row {wrong + 1}: '{words[wrong]}' is not a number; .*--columns"
    with pytest.raises(DataError, match=said):
        checked_run(run, name="run.csv")
    if beside:
        assert list(checked_run(run, ["score"]).scores) == ["score"]


def test_text_that_is_no_number_is_told_and_not_measured() -> None:
    run = RUN.append_column("title", pa.array(["a cat", "a dog", "blue"])).append_column("seen", pa.array([True] * 3))
    assert checked_run(run).notes == ("columns of the run that are no scores: title, seen",)


def test_scores_of_any_number_type_are_scores() -> None:
    run = RUN.select(["query", "entity_id"])
    run = run.append_column("whole", pa.array([3, 2, 1])).append_column("decimal", pa.array([Decimal("1.5")] * 3))
    run = run.append_column("half", pa.array(np.array([1, 2, 3], np.float16)))
    assert list(checked_run(run).scores) == ["whole", "decimal", "half"]


def test_scores_that_are_not_finite_are_counted_as_missing() -> None:
    run = RUN.set_column(2, "score", pa.array([float("inf"), float("-inf"), None], pa.float64()))
    checked = checked_run(run)
    assert checked.unscored == {"score": 3}
    assert np.isnan(checked.scores["score"]).all()


# ---- whose rows they are


def test_ids_that_are_numbers_meet_their_text(dataset: Dataset) -> None:
    run = pa.table({"query": [7, 8], "entity_id": [1.0, 2.0], "score": [1.0, 2.0]})
    checked = checked_run(run)
    assert checked.queries.to_pylist() == ["7", "8"]
    assert checked.entity_ids.to_pylist() == ["1", "2"]
    with pytest.raises(DataError, match="column 'entity_id', row 2: 1.5 is not a whole number"):
        checked_run(run.set_column(1, "entity_id", pa.array([1.0, 1.5])))


def test_a_pair_that_stands_twice_is_refused_with_both_rows() -> None:
    twice = pa.concat_tables([RUN, RUN.slice(1, 1)])
    with pytest.raises(DataError, match="row 4 of run.csv repeats the pair of query 'cats' and entity 'p5' in row 2"):
        checked_run(twice, name="run.csv")


def test_rows_without_a_query_or_id_are_left_out_and_counted() -> None:
    run = RUN.set_column(0, "query", pa.array(["cats", None, "sky"]))
    checked = checked_run(run)
    assert checked.queries.to_pylist() == ["cats", "sky"]
    assert checked.notes == ("1 rows of the run without a query or entity_id are left out",)


def test_rows_of_another_type_are_left_out_and_counted() -> None:
    run = RUN.append_column("entity_type", pa.array(["pin", "product", None], pa.string()))
    checked = checked_run(run, entity_type="pin")
    assert checked.entity_ids.to_pylist() == ["p1", "p4"]
    assert checked.notes == ("1 rows of the run of other entity types are left out",)


@pytest.mark.parametrize(
    ("queries", "ids", "said"),
    [
        (["Cats", "SKY"], ["p1", "p4"], ["no query of", "differ in letter case or white space"]),
        (["chats", "ciel"], ["p1", "p4"], ["no query of", "writes 'chats'", "writes 'cats'"]),
        (["cats", "sky"], ["P1", "P4"], ["no entity_id of", "writes 'P1'", "differ in letter case"]),
        (["cats", "sky"], ["x", "y"], ["no entity_id of", "check that both are of the same catalogue"]),
        (["cats", "sky"], ["product/p1", "product/p4"], ["'product/p1'", "before or behind the id"]),
    ],
)
def test_a_run_that_shares_nothing_with_the_judgments_is_refused(
    queries: list[str], ids: list[str], said: list[str], dataset: Dataset, tmp_path: Path
) -> None:
    run = pd.DataFrame({"query": queries, "entity_id": ids, "score": 1.0})
    result, _ = relevance(dataset, run, tmp_path)
    refused(result, *said)
    assert not (tmp_path / "out").exists()


def test_a_run_of_entities_that_are_judged_for_other_queries_alone_is_told(dataset: Dataset, tmp_path: Path) -> None:
    result, written = relevance(dataset, pd.DataFrame({"query": ["sky"], "entity_id": ["p1"], "score": 1.0}), tmp_path)
    assert result.exit_code == 0, result.output
    assert "is a judged pair, so that all figures are 0" in result.stderr
    assert written["unjudged_rows"] == 1


def test_judged_queries_in_another_letter_case_are_counted_and_shown(dataset: Dataset, tmp_path: Path) -> None:
    run = pd.DataFrame({"query": ["cats", "Sky "], "entity_id": ["p1", "p4"], "score": 1.0})
    result, written = relevance(dataset, run, tmp_path)
    assert result.exit_code == 0, result.output
    (note, _) = written["notes"]
    assert "1 judged queries stand in" in note
    assert "such as 'Sky ' for 'sky' in" in note
    assert f"warning: {note}" in result.stderr
    assert "another letter case or spacing" in (tmp_path / "out" / "relevance.md").read_text()
    assert written["queries_without_run"] == 1


def test_a_measured_rank_is_said_to_be_one(dataset: Dataset, tmp_path: Path) -> None:
    # "cats": p1 (3) is the better, and the first by rank
    run = pd.DataFrame({"query": ["cats", "cats", "sky"], "entity_id": ["p1", "p5", "p4"], "rank": [1, 2, 1]})
    result, written = relevance(dataset, run, tmp_path, "--columns", "rank")
    assert result.exit_code == 0, result.output
    assert written["columns"]["rank"]["measures"]["nDCG@10"]["value"] == pytest.approx(1)
    assert "'rank' of" in written["notes"][0]


# ---- TREC runs and ids of queries


TREC_RUN = "q1 Q0 p1 1 9.5 me\nq1 Q0 p5 2 8.5 me\nq2 Q0 p4 1 1.5 me\n"


def test_a_trec_run_is_read_with_the_texts_of_its_queries(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "topics.txt").write_text("q1\tcats\nq2\tsky\n")
    pd.DataFrame({"query_id": ["q1", "q2"], "query": ["cats", "sky"]}).to_csv(tmp_path / "queries.csv", index=False)
    for name in ("topics.txt", "queries.csv"):
        result, written = relevance(dataset, TREC_RUN, tmp_path, "--queries", tmp_path / name, "--overwrite")
        assert result.exit_code == 0, result.output
        assert written["columns"]["score"]["measures"]["nDCG@10"]["value"] == pytest.approx(1)
    (tmp_path / "topics.txt").write_text("q1\tcats\n")
    result, written = relevance(dataset, TREC_RUN, tmp_path, "--queries", tmp_path / "topics.txt", "--overwrite")
    assert "1 rows of" in written["notes"][0]


def test_ids_of_queries_without_texts_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    refused(relevance(dataset, TREC_RUN, tmp_path)[0], "names queries by 'query_id'", "give --queries with a table of")
    (tmp_path / "topics.txt").write_text("1\tcats\n2\tsky\n")
    result, _ = relevance(dataset, TREC_RUN, tmp_path, "--queries", tmp_path / "topics.txt")
    refused(result, "no query_id of", "writes 'q1'", "writes '1'")
    (tmp_path / "two.csv").write_text("query_id,query\nq1,cats\nq1,dogs\n")
    result, _ = relevance(dataset, TREC_RUN, tmp_path, "--queries", tmp_path / "two.csv")
    refused(result, "the query_id 'q1' has two texts, 'cats' and 'dogs'")
    result, _ = relevance(dataset, pd.DataFrame({"qid": ["q1"], "docno": ["p1"], "score": [1]}), tmp_path)
    refused(result)
    result, _ = relevance(dataset, pd.DataFrame({"qid": ["cats"], "docno": ["p1"], "score": [1]}), tmp_path)
    refused(result, "has no column 'entity_id'; its columns are qid, docno, score")


def test_ids_of_queries_that_are_judged_texts_are_taken_as_such(dataset: Dataset, tmp_path: Path) -> None:
    run = pd.DataFrame({"query_id": ["cats", "sky"], "entity_id": ["p1", "p4"], "score": 1.0})
    result, written = relevance(dataset, run, tmp_path)
    assert result.exit_code == 0, result.output
    assert written["queries_without_run"] == 0


# ---- the judgments


def test_judgments_without_a_positive_grade_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    zeros = changed(dataset, tmp_path, lambda judgments: judgments.assign(grade=0))
    result, _ = relevance(zeros, RUN, tmp_path)
    refused(result, "judgments.parquet has no grade above 0, so there is nothing to find")


def test_one_id_judged_as_a_pin_and_as_a_product_needs_the_type(dataset: Dataset, tmp_path: Path) -> None:
    both = changed(dataset, tmp_path, lambda one: pd.concat([one, one.head(1).assign(entity_type="product", grade=0)]))
    refused(relevance(both, RUN, tmp_path)[0], "judges the id 'p1' as entities of several types", "--entity-type")
    result, _ = relevance(both, RUN, tmp_path, "--entity-type", "pin")
    assert result.exit_code == 0, result.output


def test_pairs_with_several_grades_are_said_to_have_their_lower_median(dataset: Dataset, tmp_path: Path) -> None:
    twice = changed(dataset, tmp_path, lambda one: pd.concat([one, one.head(1).assign(grade=0)]))
    _, written = relevance(twice, RUN, tmp_path)
    assert written["pairs_with_several_grades"] == 1
    assert (
        "1 pairs have several grades; the lower median of each counts."
        in (tmp_path / "out" / "relevance.md").read_text()
    )


# ---- recall


def test_recall_of_a_run_that_shares_nothing_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    run = pd.DataFrame({"query": ["cats"] * 2, "entity_id": ["1.0", "2.0"], "score": 1.0})
    run.to_csv(tmp_path / "run.csv", index=False)
    arguments = ("--split", "all", "--baselines", "random", "--bootstrap", 0, "-o", tmp_path / "out")
    result = omnifeat("evaluate", "recall", dataset.path, "--run", tmp_path / "run.csv", *arguments)
    assert result.exit_code == 2
    assert "no entity_id of" in result.stderr
    assert "stands in the evaluated pairs" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("order", ["Rank", "pos", "bm25_rank", "ORDER"])
def test_an_order_by_another_name_is_no_score(order: str) -> None:
    run = RUN.append_column(order, pa.array([1, 2, 1])).append_column("Unnamed: 0", pa.array([0, 1, 2]))
    assert score_columns(run, None, "run.csv") == ["score"]
    with pytest.raises(DataError, match=f"no score column but '{order}', of which 1 is the best"):
        score_columns(run.drop_columns("score"), None, "run.csv")


@pytest.mark.parametrize("measure", ["nDCG@0", "P@0", "P(rel=0)@10"])
def test_a_measure_that_would_end_the_process_is_refused(dataset: Dataset, tmp_path: Path, measure: str) -> None:
    result, _ = relevance(dataset, RUN, tmp_path, "--measures", measure)
    refused(result, measure)


def test_no_columns_at_all_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    result, _ = relevance(dataset, RUN, tmp_path, "--columns", "")
    refused(result, "names nothing")


# ---- one id of two types, and types that are none


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (["pin", "product"], r"as a pin in row 1 and as a product in row 2, .*with --entity-type pin$"),
        ([None, "product"], "as an entity without a type in row 1 .*--entity-type product, and give each row"),
        (["pin", "pin"], "row 2 of run.csv repeats the pair"),
    ],
)
def test_an_id_of_two_types_in_a_run_names_the_types(kinds: list[str | None], said: str) -> None:
    run = pa.table({"query": ["a", "a"], "entity_id": ["1", "1"], "score": [2.0, 1.0], "entity_type": kinds})
    with pytest.raises(DataError, match=said):
        checked_run(run, name="run.csv")
    if kinds[0] != kinds[1] and all(kinds):
        assert checked_run(run, entity_type="product").scores["score"].tolist() == [1.0]


@pytest.mark.parametrize("kind", ["Pin", "prod", " product", ""])
def test_a_type_that_is_none_is_refused_by_its_row(kind: str, dataset: Dataset, tmp_path: Path) -> None:
    run = RUN.append_column("entity_type", pa.array(["pin", kind, None])).to_pandas()
    run.to_parquet(tmp_path / "run.parquet")
    for command in ("relevance", "recall"):
        result = omnifeat("evaluate", command, dataset.path, "--run", tmp_path / "run.parquet", "-o", tmp_path / "out")
        refused(
            result, f"column 'entity_type', row 2: the entity_type is {kind!r}, but must be one of pin, product, query"
        )
        result = omnifeat(
            *("evaluate", command, dataset.path, "--run", tmp_path / "run.parquet", "-o", tmp_path / "out"),
            *("--entity-type", kind or "x"),
        )
        refused(result, "pin, product, query" if command == "recall" else "pin, product")


# ---- runs of few judged pairs


def test_a_run_of_few_judged_pairs_says_how_many(dataset: Dataset, tmp_path: Path) -> None:
    judged = pd.read_parquet(Path(dataset.path) / "judgments.parquet")[["query", "entity_id"]].drop_duplicates()
    for rows, told in ((len(judged), False), (1, True)):
        result, found = relevance(dataset, judged.head(rows).assign(score=1.0), tmp_path, "--overwrite")
        assert result.exit_code == 0, result.output
        assert (found["judged_pairs"], found["judged_pairs_in_run"]) == (len(judged), rows)
        assert f"the run holds {rows} of {len(judged)} judged pairs" in result.stdout
        assert (f"holds {rows} of the {len(judged)} judged pairs" in result.stderr) is told


def test_relevance_says_which_encoder_has_no_record(dataset: Dataset, tmp_path: Path) -> None:
    result, _ = relevance(dataset, RUN, tmp_path)
    assert "no column trained_on tells it, and nothing names an encoder" in result.stdout
    stamped = RUN.replace_schema_metadata({"omnifeat.fingerprint": "aaaa"})
    pq.write_table(stamped, tmp_path / "stamped.parquet")
    out = ("-o", tmp_path / "other", "--bootstrap", 0)
    result = omnifeat("evaluate", "relevance", dataset.path, "--run", tmp_path / "stamped.parquet", *out)
    assert "the encoder aaaa made the features, but its training record or the column" in result.stdout


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("topics.tsv", "q1\tcats\nq2\tsky\n"),
        ("queries.tsv", "query_id\tquery\nq1\tcats\nq2\tsky\n"),
        ("queries.csv", "query_id,query\nq1,cats\nq2,sky\n"),
        ("topics.txt", "q1\tcats\nq2\tsky\n"),
        ("queries.jsonl", '{"_id": "q1", "text": "cats"}\n{"_id": "q2", "text": "sky"}\n'),
        ("named.jsonl", '{"query_id": "q1", "query": "cats"}\n{"query_id": "q2", "query": "sky"}\n'),
    ],
)
def test_texts_of_query_ids_come_as_topics_or_as_a_table(
    name: str, text: str, dataset: Dataset, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    expected = relevance(dataset, RUN.to_pandas(), tmp_path)[1]["columns"]
    run = RUN.set_column(0, "query_id", pa.array(["q1", "q1", "q2"])).to_pandas()
    result, found = relevance(dataset, run, tmp_path, "--queries", tmp_path / name, "--overwrite")
    assert result.exit_code == 0, result.output
    assert found["columns"] == expected
