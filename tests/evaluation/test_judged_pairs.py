"""Relevant judged pairs as positives: which they are, recall by country, and the mean over countries."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from evaluation.judged_pairs import (
    default_relevant_grade,
    group_mean_figures,
    judged_positives,
    recall_by_group,
)
from evaluation.recall import EvaluationPairs
from evaluation.recall_study import RecallSettings, recall_studies
from omnifeat.cli import app
from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.data.splits import HashSplit
from omnifeat.errors import DataError, SettingError

RATED = [
    # cat: three raters, median 3; dog: two, the lower is 2; sky: judged in two countries, median of all four is 3
    ("pets", "cat", "pin", 4, "US"),
    ("pets", "cat", "pin", 3, "US"),
    ("pets", "cat", "pin", 0, "US"),
    ("pets", "dog", "pin", 2, "US"),
    ("pets", "dog", "pin", 4, "US"),
    ("blue", "sky", "pin", 3, "GB"),
    ("blue", "sky", "pin", 3, "GB"),
    ("blue", "sky", "pin", 2, "FR"),
    ("blue", "sky", "pin", 4, "FR"),
    ("blue", "cat", "product", 4, None),
]


def dataset_of(
    path: Path, rows: list[tuple], *, country: str | None = "judgments", split: HashSplit | None = None
) -> Dataset:
    with DatasetWriter(path, DatasetInfo(name="rated", source="made by hand", licence="none", split=split)) as writer:
        query, entity_id, entity_type, grade, of = (list(column) for column in zip(*rows, strict=True))
        columns = {"query": query, "entity_id": entity_id, "entity_type": entity_type, "grade": map(float, grade)}
        columns["grade"] = list(columns["grade"])
        if country == "judgments":
            columns["country"] = pa.array(of, pa.string())
        writer.write("judgments", pa.table(columns))
        writer.write("pins", pa.table({"id": ["cat", "dog", "sky", "sea"], "title": ["cat", "dog", "sky", "sea"]}))
        writer.write("products", pa.table({"id": ["cat"], "title": ["cat"]}))
        if country == "queries":
            writer.write(
                "queries", pa.table({"query": ["pets", "blue"], "country": pa.array(["US", None], pa.string())})
            )
    return Dataset.open(path)


@pytest.mark.parametrize(("highest", "grade"), [(4, 3), (3, 2), (2, 2), (1, 1), (10, 6)])
def test_relevant_is_above_half_of_the_highest(highest: int, grade: int) -> None:
    assert default_relevant_grade(highest) == grade


def test_which_pairs_are_relevant(tmp_path: Path) -> None:
    found = judged_positives(dataset_of(tmp_path / "data", RATED))
    assert found.relevant_grade == 3
    assert found.judged == {"pin": 3, "product": 1}
    assert found.relevant == {"pin": 2, "product": 1}
    rows = {tuple(row.values()) for row in found.table.to_pylist()}
    assert rows == {
        ("pets", "cat", "pin", "US"),
        ("blue", "sky", "pin", "GB"),
        ("blue", "sky", "pin", "FR"),
        ("blue", "cat", "product", None),
    }
    only = judged_positives(Dataset.open(tmp_path / "data"), entity_types=("pin",), relevant_grade=2)
    assert only.relevant == {"pin": 3}
    pairs = only.pairs(pa.array(["cat", "dog", "sky", "sea"]))
    assert pairs.queries == ["blue", "pets"]
    # pairs are sorted: blue-sky, pets-cat, pets-dog
    members = {name: mask.tolist() for name, mask in only.countries(pairs).items()}
    assert members == {"FR": [True, False, False], "GB": [True, False, False], "US": [False, True, True]}


def test_the_country_of_the_query_where_judgments_have_none(tmp_path: Path) -> None:
    found = judged_positives(dataset_of(tmp_path / "data", RATED, country="queries"), entity_types=("pin",))
    assert [tuple(row.values()) for row in found.table.to_pylist()] == [
        ("blue", "sky", "pin", None),
        ("pets", "cat", "pin", "US"),
    ]
    without = judged_positives(dataset_of(tmp_path / "other", RATED, country=None), entity_types=("pin",))
    assert without.table.column_names == ["query", "entity_id", "entity_type"]
    assert without.countries(without.pairs(pa.array(["cat", "sky"]))) == {}


def by_hand() -> tuple[EvaluationPairs, dict[str, np.ndarray], dict[str, np.ndarray]]:
    pairs = EvaluationPairs.make(["a", "a", "b", "c"], ["1", "2", "3", "4"], pa.array(["1", "2", "3", "4"]))
    ranks = {"new": np.array([1, 12, 3, 4]), "old": np.array([1, 12, 30, 40])}
    groups = {"US": np.array([True, True, True, False]), "FR": np.array([False, False, False, True])}
    return pairs, ranks, groups


def test_recall_by_country_and_on_average_by_hand() -> None:
    pairs, ranks, groups = by_hand()
    found = recall_by_group(ranks, pairs, groups, references=["old"], resamples=500, seed=1)
    us, france, average = found.groups["US"], found.groups["FR"], found.average
    assert (us.pairs, us.queries, france.pairs, average.pairs, average.queries) == (3, 2, 1, 4, 3)
    assert us.recall["new"].value == pytest.approx(2 / 3)
    assert us.recall["old"].value == pytest.approx(1 / 3)
    assert (france.recall["new"].value, france.recall["old"].value) == (1, 0)
    # each country weighs the same: (2/3 + 1) / 2, not 3/4
    assert average.recall["new"].value == pytest.approx(5 / 6)
    assert average.recall["old"].value == pytest.approx(1 / 6)
    assert average.differences["old"]["new"].value == pytest.approx(4 / 6)
    assert average.differences["old"]["old"] == type(us.recall["new"])(0, 0, 0)
    assert us.recall["new"].low <= 2 / 3 <= us.recall["new"].high
    assert recall_by_group(ranks, pairs, groups, k=100, resamples=0).average.recall["old"].value == 1


def test_the_mean_equals_the_plain_mean_of_resampled_countries() -> None:
    pairs, ranks, groups = by_hand()
    hits = (np.column_stack(list(ranks.values())) <= 10).astype(float)
    found = group_mean_figures(hits, pairs, groups, resamples=50, seed=5)
    draws = np.random.default_rng(5).integers(3, size=(50, 3))
    for resample, draw in enumerate(draws):
        countries = []
        for members in groups.values():
            rows = [row for query in draw for row in range(4) if pairs.pair_queries[row] == query and members[row]]
            if rows:
                countries.append(hits[rows].mean(axis=0))
        np.testing.assert_allclose(found.resampled[resample], np.mean(countries, axis=0), atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 40), min_size=4, max_size=4), st.permutations(["US", "FR"]))
def test_one_group_of_all_is_the_plain_recall_and_order_changes_nothing(ranks: list[int], order: list[str]) -> None:
    pairs, _, groups = by_hand()
    given_ranks = {"one": np.array(ranks)}
    whole = recall_by_group(given_ranks, pairs, {"all": np.ones(4, bool)}, resamples=20)
    assert whole.average.recall["one"].value == pytest.approx(np.mean([rank <= 10 for rank in ranks]))
    assert whole.average == whole.groups["all"]
    shuffled = recall_by_group(given_ranks, pairs, {name: groups[name] for name in order}, resamples=20)
    plain = recall_by_group(given_ranks, pairs, groups, resamples=20)
    for name in groups:
        assert shuffled.groups[name] == plain.groups[name]
    assert shuffled.average.recall["one"].value == pytest.approx(plain.average.recall["one"].value)


def test_bad_input_of_the_functions(tmp_path: Path) -> None:
    pairs, ranks, groups = by_hand()
    with pytest.raises(SettingError, match="no system 'bm26' to compare with; choose from new, old"):
        recall_by_group(ranks, pairs, groups, references=["bm26"])
    with pytest.raises(SettingError, match="k must be 1 or more, got 0"):
        recall_by_group(ranks, pairs, groups, k=0)
    with pytest.raises(DataError, match="no country"):
        recall_by_group(ranks, pairs, {})
    with pytest.raises(DataError, match="group 'US' has no pair"):
        recall_by_group(ranks, pairs, {"US": np.zeros(4, bool)})
    data = dataset_of(tmp_path / "data", RATED)
    with pytest.raises(SettingError, match="must be 1 or more, got 0"):
        judged_positives(data, relevant_grade=0)
    with pytest.raises(DataError, match="has a grade of 5 or more, from which a pair is relevant: the highest is 4"):
        judged_positives(data, relevant_grade=5)
    with pytest.raises(DataError, match="no judged pair of type pin .* has a grade of 4 or more by the median"):
        judged_positives(data, entity_types=("pin",), relevant_grade=4)
    with pytest.raises(DataError, match="no judged pair of type query"):
        judged_positives(data, entity_types=("query",))


def test_a_study_of_judged_pairs(tmp_path: Path) -> None:
    data = dataset_of(tmp_path / "data", RATED)
    chosen = RecallSettings(positives="judgments", rows=("random", "bm25-words"), references=("random",), resamples=20)
    pins, products = recall_studies(data, None, None, chosen)
    assert (pins.entity_type, pins.overall.pairs, pins.grouped_by) == ("pin", 2, "judgments.country")
    assert {name: group.pairs for name, group in pins.groups.items()} == {"FR": 1, "GB": 1, "US": 1}
    assert pins.positives is not None
    assert "grade of 3 or more by the median" in pins.positives
    assert "2 of 3" in pins.positives
    # the corpus has four pins, so everything is among the first ten
    assert pins.average is not None
    assert pins.average.rows["bm25-words"].recall[10].value == 1
    assert pins.average.rows["bm25-words"].differences["random"].value == 0
    assert pins.average.rows["random"].differences["random"] is None
    assert products.groups == {}  # its one pair has no country
    assert products.average is None


def test_a_split_by_a_hash_of_the_query_parts_judged_pairs(tmp_path: Path) -> None:
    split = HashSplit(development=0.3, test=0.3)
    data = dataset_of(tmp_path / "data", RATED, split=split)
    parts = {query: split.part_of(query) for query in ("pets", "blue")}
    assert len(set(parts.values())) == 2, "another salt is needed: the two queries are to fall in two parts"
    for query, part in parts.items():
        chosen = RecallSettings(
            positives="judgments", split=part, rows=("random",), entity_types=("pin",), references=(), resamples=0
        )
        (study,) = recall_studies(data, None, None, chosen)
        assert study.pairs.queries == [query]
        assert f"of which those of the part '{part}' count" in (study.positives or "")


def test_the_command(tmp_path: Path) -> None:
    data = dataset_of(tmp_path / "data", RATED)
    out = tmp_path / "out"
    arguments = ["evaluate", "recall", str(data.path), "-o", str(out), "--positives", "judgments"]
    result = CliRunner().invoke(app, [*arguments, "--baselines", "bm25-words", "--bootstrap", "20"])
    assert result.exit_code == 0, result.output
    assert "pins, relevant judged pairs: 2 pairs of 2 queries among 4 entities" in result.stdout
    study = json.loads((out / "recall.json").read_text())["studies"][0]
    assert study["average_of_groups"]["rows"]["bm25-words"]["recall"]["10"]["value"] == 1
    markdown = (out / "recall.md").read_text()
    assert "# Recall@10 on rated, relevant judged pairs" in markdown
    assert "| mean of these | 2 | 100.0 [100.0, 100.0] |" in markdown


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (("--positives", "clicks"), "there is no kind of positives 'clicks'; choose from engagements, judgments"),
        (("--positives", "judgments", "--action", "save"), "judgments have no action; leave out --action"),
        (("--relevant-grade", "2"), "engagements have no grade; leave out --relevant-grade"),
        (("--positives", "judgments", "--relevant-grade", "0"), "must be 1 or more, got 0"),
        (("--positives", "judgments", "--relevant-grade", "9"), "the highest is 4"),
        (("--positives", "judgments", "--entity-type", "query"), "no judged pair of type query"),
        (("--positives", "judgments", "--by", "planet"), "neither judgments nor queries"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(extra: tuple[str, ...], said: str, tmp_path: Path) -> None:
    data = dataset_of(tmp_path / "data", RATED)
    out = tmp_path / "out"
    arguments = ["evaluate", "recall", str(data.path), "-o", str(out), "--baselines", "random", *extra]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("measuring ")]
    assert line.startswith("error: ")
    assert said in line
    assert not out.exists()
