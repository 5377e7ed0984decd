from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from classifiers.examples import (
    InterestExamples,
    at_level,
    commonest_interests,
    interest_examples,
    level_hits,
    with_names,
)
from classifiers.interest import InterestClassifier
from classifiers.taxonomy import Taxonomy
from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.data.splits import HashSplit
from omnifeat.errors import DataError, SettingError

INTERESTS = pa.table(
    {
        "interest_id": ["animals", "birds", "food"],
        "name": ["Animals", "Birds", "Food"],
        "parent_id": pa.array([None, "animals", None], pa.string()),
        "level": pa.array([1, 2, 1], pa.int32()),
    }
)


def dataset(folder: Path, rows: list[tuple[str, str]], split: HashSplit | None = None) -> Dataset:
    info = DatasetInfo(name="tiny", source="made by hand", licence="CC0", created_by="test", split=split)
    queries, interests = zip(*rows, strict=True)
    with DatasetWriter(folder, info) as writer:
        writer.write("interests", INTERESTS)
        writer.write("query_interests", pa.table({"query": queries, "interest_id": interests}))
    return Dataset.open(folder)


def test_deepest_interests_of_each_query(tmp_path: Path) -> None:
    rows = [
        ("owl", "animals"),
        ("owl", "birds"),
        ("duck", "birds"),
        ("duck", "food"),
        ("duck", "birds"),
        ("bun", "food"),
    ]
    examples = interest_examples(dataset(tmp_path / "data", rows), None)
    assert examples.queries == ("bun", "duck", "owl")
    assert examples.paths == ((("food",),), (("animals", "birds"), ("food",)), (("animals", "birds"),))
    places, paths, weights = examples.training_rows()
    assert places.tolist() == [0, 1, 1, 2]
    assert paths == [("food",), ("animals", "birds"), ("food",), ("animals", "birds")]
    assert weights.tolist() == [1, 0.5, 0.5, 1]
    assert at_level(examples.paths, 1) == [set(), {("animals", "birds")}, {("animals", "birds")}]
    # At the root animals and food have two queries each: the first by name.
    assert commonest_interests(examples, 3) == [("animals",), ("animals", "birds"), None]


def test_parts_follow_the_datasets_split(tmp_path: Path) -> None:
    rows = [(f"query {number}", "birds") for number in range(200)]
    split = HashSplit(development=0.2, test=0.3, salt="s")
    data = dataset(tmp_path / "data", rows, split)
    parts = {part: set(interest_examples(data, part).queries) for part in ("train", "development", "test")}
    assert set.union(*parts.values()) == {query for query, _ in rows}
    assert sum(map(len, parts.values())) == 200
    expected = split.assign(pa.table({"query": [query for query, _ in rows]})).to_pylist()
    assert parts["test"] == {query for (query, _), part in zip(rows, expected, strict=True) if part == "test"}
    with pytest.raises(SettingError, match="no part 'tests'"):
        interest_examples(data, "tests")


def test_an_unknown_interest_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'cats' is not in table interests"):
        interest_examples(dataset(tmp_path / "data", [("cat", "cats")]), None)


def test_an_empty_part_is_said(tmp_path: Path) -> None:
    data = dataset(tmp_path / "data", [("owl", "birds")], HashSplit(development=0.0, test=0.0))
    with pytest.raises(DataError, match="part 'test' of table query_interests"):
        interest_examples(data, "test")


def test_names_are_queries_of_the_interests_that_paths_end_in() -> None:
    taxonomy = Taxonomy.from_parents(
        {"f": None, "h": None, "f1": "f", "f2": "f", "h1": "h", "f11": "f1", "h11": "h1"},
        {"f": "food", "h": "home", "f1": "cakes", "f2": "soup", "h1": "lamps", "f11": "small", "h11": "small"},
    )
    given = InterestExamples(
        ("bake", "large cake", "lights", "soup"),
        ((("f", "f1"),), (("f", "f1", "f11"),), (("h", "h1", "h11"), ("f", "f2")), (("h", "h1"),)),
    )
    found = with_names(given, taxonomy)
    told = dict(zip(found.queries, found.paths, strict=True))
    assert list(found.queries) == sorted(found.queries)
    assert {query: told[query] for query in given.queries} == dict(zip(given.queries, given.paths, strict=True))
    # small stands below two; soup is a query of something else already; no path ends in food or home
    assert {query: paths for query, paths in told.items() if query not in given.queries} == {
        "cakes": (("f", "f1"),),
        "cakes small": (("f", "f1", "f11"),),
        "lamps small": (("h", "h1", "h11"),),
        "lamps": (("h", "h1"),),
    }


def test_names_that_nothing_tells_apart_are_left_out() -> None:
    taxonomy = Taxonomy.from_parents(
        {"a": None, "c": None, "r": None, "b": "a", "d": "c"}, {"a": "a", "c": "c", "r": "a x", "b": "x", "d": "x"}
    )
    found = with_names(InterestExamples(("one", "two"), ((("a", "b"), ("c", "d")), (("r",),))), taxonomy)
    assert found.queries == ("c x", "one", "two")  # "a x" would be two


def test_a_dataset_gives_its_names_to_queries_to_learn_from(tmp_path: Path) -> None:
    given = dataset(tmp_path / "data", [("owl", "birds"), ("bun", "food")])
    assert interest_examples(given, None).queries == ("bun", "owl")
    found = interest_examples(given, None, names=True)
    assert found.queries == ("birds", "bun", "food", "owl")
    assert found.paths[0] == (("animals", "birds"),)


def test_a_hit_is_any_interest_of_the_query() -> None:
    embeddings = np.array([[5.0, 0.0], [0.0, 5.0]])
    classifier = InterestClassifier(inverse_regularisation=10.0).fit(embeddings, [("a", "x"), ("b",)])
    truth = [[("a", "x"), ("b",)], [("a", "x"), ("a", "z")]]
    hits, counted = level_hits(classifier, embeddings, truth, 0)
    assert (hits.tolist(), counted.tolist()) == ([True, False], [True, True])
    hits, counted = level_hits(classifier, embeddings, [[("a", "y")], [("b",)]], 1)
    assert (hits.tolist(), counted.tolist()) == ([False, False], [True, False])
