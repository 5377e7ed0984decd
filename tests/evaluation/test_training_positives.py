"""Training positives left out of the corpus: by hand, by each way of knowing them, and against a double loop."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.groups import SEEN
from evaluation.recall import EvaluationPairs, ranks_by_corpus, ranks_from_embeddings
from evaluation.recall_settings import RecallSettings
from evaluation.recall_study import RecallStudy, recall_studies
from evaluation.runs import checked_run
from evaluation.seen_pairs import NEW_PAIRS, NEW_QUERIES, SEEN_PAIRS
from evaluation.streamed import positive_ranks_from_vectors
from evaluation.training_positives import logged_positives, recorded_positives, training_positives
from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.data.splits import TimeSplit
from omnifeat.frozen import FrozenEncoder
from omnifeat.models.training_record import TrainingRecord, id_hashes, pair_hashes, query_hashes
from omnifeat.ranks import Excluded
from tests.commands import omnifeat
from tests.evaluation.conftest import LetterEncoder

SPLIT = TimeSplit(development_from=datetime(2024, 1, 10, tzinfo=UTC), test_from=datetime(2024, 1, 20, tzinfo=UTC))
PINS = ["p1", "p2", "p3", "p4", "p5"]
# query, entity, type, day
LOG = [
    ("Cats", "p1", "pin", 1),  # in another writing of the query
    ("cats", "p2", "pin", 2),
    ("cats", "p4", "product", 2),  # another type
    ("cats", "p5", "pin", 12),  # of the development part
    ("dogs", "p3", "pin", 1),
    ("cats", "p3", "pin", 20),
    ("dogs", "p3", "pin", 20),
    ("dogs", "p4", "pin", 20),
    ("birds", "p1", "pin", 20),
]
SCORES = {"p1": 0.9, "p2": 0.8, "p3": 0.6, "p4": 0.7, "p5": 0.5}


def engagements(rows: list[tuple[str, str, str, int]]) -> pa.Table:
    queries, ids, types, days = (list(column) for column in zip(*rows, strict=True))
    times = [datetime(2024, 1, day, tzinfo=UTC) for day in days]
    return pa.table(
        {
            "query": queries,
            "entity_id": ids,
            "entity_type": types,
            "action": ["save"] * len(rows),
            "timestamp": pa.array(times, pa.timestamp("us", "UTC")),
        }
    )


def write(folder: Path, rows: list[tuple[str, str, str, int]] = LOG, split: Any = SPLIT) -> Dataset:
    with DatasetWriter(folder, DatasetInfo(name="days", source="", licence="none", split=split)) as writer:
        writer.write("pins", pa.table({"id": PINS, "title": ["a", "b", "c", "d", "e"]}))
        writer.write("engagements", engagements(rows))
    return Dataset.open(folder)


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write(tmp_path_factory.mktemp("days") / "days")


def record_of(*pairs: tuple[str, str], entity_type: str = "pin") -> TrainingRecord:
    queries, ids = (pa.array(column, pa.large_string()) for column in zip(*pairs, strict=True))
    of_queries = query_hashes(queries)
    of_ids = query_hashes(ids) if entity_type == "query" else id_hashes(ids)
    as_queries = [of_queries, of_ids] if entity_type == "query" else [of_queries]
    return TrainingRecord.of(as_queries, [pair_hashes(of_queries, entity_type, of_ids)])


def named(entities: Excluded, pairs: EvaluationPairs) -> set[tuple[str, str]]:
    ids = pairs.entity_ids.to_pylist()
    found = zip(entities.queries, entities.candidates, strict=True)
    return {(pairs.queries[query], ids[entity]) for query, entity in found}


def study_of(dataset: Dataset, encoder: Any = None, **changes: Any) -> RecallStudy:
    queries = ["cats", "dogs", "birds"]
    rows = [(query, entity, score) for query in queries for entity, score in SCORES.items()]
    texts, ids, scores = (list(column) for column in zip(*rows, strict=True))
    run = checked_run(pa.table({"query": texts, "entity_id": ids, "by hand": scores}), None, "run")
    shared: dict[str, Any] = {"entity_types": ("pin",), "ks": (2,), "resamples": 20, "rows": ("random",)}
    (study,) = recall_studies(dataset, encoder, None, RecallSettings(**(shared | changes)), run=run)
    return study


def test_by_hand(days: Dataset) -> None:
    study = study_of(days, by=SEEN)
    assert study.left_out is not None
    assert study.left_out.told == (
        "Training positives: 2 of 3 queries led to entities of the corpus in training, 3 times in all (by the training "
        "part of engagements)."
    )
    assert named(study.left_out.positives.entities, study.pairs) == {("cats", "p1"), ("cats", "p2"), ("dogs", "p3")}
    # birds p1; cats p3; dogs p3 and p4, each without the other
    assert study.ranks["by hand"].tolist() == [1, 4, 3, 3]
    # cats p3 without p1 and p2 is behind p4; dogs p3, which stood in training, still has a rank of its own
    assert study.left_out.figures.ranks["by hand"].tolist() == [1, 2, 3, 3]
    new, left = study.groups[NEW_PAIRS], study.left_out.figures.groups[NEW_PAIRS]
    assert (new.pairs, left.pairs) == (3, 3)
    assert new.rows["by hand"].recall[2].value == pytest.approx(1 / 3)
    assert left.rows["by hand"].recall[2].value == pytest.approx(2 / 3)
    assert study.left_out.figures.groups[SEEN_PAIRS].rows["by hand"].recall[2].value == 0
    # every row is ranked in the same corpus
    assert set(study.left_out.figures.ranks) == set(study.ranks) == {"random", "by hand"}


def test_the_record_of_an_encoder_tells_what_the_log_does_not(days: Dataset) -> None:
    class Trained(LetterEncoder):
        record = record_of(("CATS ", "p4"), ("cats", "nowhere"), ("birds", "p5"))

    study = study_of(days, Trained())
    assert study.left_out is not None
    found = named(study.left_out.positives.entities, study.pairs)
    assert found == {("cats", "p1"), ("cats", "p2"), ("cats", "p4"), ("dogs", "p3"), ("birds", "p5")}
    assert study.left_out.positives.told_by == ("the training part of engagements", "the encoder's training record")
    assert study.left_out.figures.ranks["by hand"].tolist() == [1, 1, 3, 3]
    new = study.left_out.figures.new
    assert {name: group.pairs for name, group in new.items()} == {NEW_PAIRS: 4, NEW_QUERIES: 2}
    assert new[NEW_PAIRS].rows["by hand"].recall[2].value == pytest.approx(2 / 4)


def test_the_record_alone_where_no_split_is_recorded(tmp_path: Path) -> None:
    class Trained(LetterEncoder):
        record = record_of(("cats", "p1"))

    whole = write(tmp_path / "whole", [row for row in LOG if row[3] == 20], split=None)
    assert study_of(whole, split="all").left_out is None
    study = study_of(whole, Trained(), split="all")
    assert study.left_out is not None
    assert study.left_out.positives.told_by == ("the encoder's training record",)
    assert study.left_out.figures.ranks["by hand"].tolist() == [1, 3, 3, 3]


def test_two_queries_are_a_pair_whichever_comes_first(tmp_path: Path) -> None:
    rows = [
        ("Red Shoes", "boots", "query", 1),
        ("hat", "red  shoes", "query", 1),
        ("hat", "boots", "pin", 1),
        ("red shoes", "hat", "query", 20),
        ("red shoes", "socks", "query", 20),
        ("boots", "socks", "query", 20),
    ]
    dataset = write(tmp_path / "queries", rows)
    catalogue = pa.array(["Boots", "boots", "hat", "red shoes", "socks"])
    pairs = EvaluationPairs.make(["red shoes", "boots"], ["socks", "hat"], catalogue)
    expected = {("red shoes", "Boots"), ("red shoes", "boots"), ("red shoes", "hat"), ("boots", "red shoes")}
    assert named(logged_positives(dataset, "query", pairs), pairs) == expected
    record = record_of(("Red Shoes", "boots"), ("hat", "red  shoes"), entity_type="query")
    assert named(recorded_positives(record, "query", pairs), pairs) == expected


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_ranks_without_them_are_those_of_a_corpus_that_never_held_them(data) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    queries, entities = data.draw(st.integers(1, 5)), data.draw(st.integers(2, 20))
    ids = [f"{number:02d}" for number in rng.permutation(entities)]
    count = data.draw(st.integers(1, 12))
    pairs = EvaluationPairs.make(
        [f"q{number}" for number in rng.integers(0, queries, count)],
        [ids[row] for row in rng.integers(0, entities, count)],
        pa.array(ids),
        corpus_size=data.draw(st.integers(1, entities)),
    )
    trained = [(f"q{q}", ids[e]) for q, e in zip(rng.integers(0, 6, 15), rng.integers(0, entities, 15), strict=True)]
    found = recorded_positives(record_of(*trained), "pin", pairs)
    assert named(found, pairs) == {
        pair for pair in trained if pair[0] in pairs.queries and pair[1] in pairs.entity_ids.to_pylist()
    }
    leave_out = data.draw(st.booleans())
    others = pairs.excluded(leave_out)
    vectors_QD = rng.integers(-2, 3, (len(pairs.queries), 3)).astype(np.float32)
    vectors_ND = rng.integers(-2, 3, (len(pairs.entity_ids), 3)).astype(np.float32)
    scores = vectors_QD @ vectors_ND.T
    among_all, without = ranks_by_corpus([(0, scores.copy())], pairs, [others, others.union(found)])
    assert (
        among_all.tolist()
        == ranks_from_embeddings(vectors_QD, vectors_ND, pairs, leave_out_other_positives=leave_out).tolist()
    )
    most = data.draw(st.sampled_from([None, 2]))
    streamed = positive_ranks_from_vectors(
        vectors_QD, vectors_ND, pairs, leave_out_other_positives=leave_out, left_out=found, most=most, threads=1
    )
    cut = len(ids) + 1 if most is None else most + 1
    assert streamed.ranks.tolist() == np.minimum(without, cut).tolist()
    assert streamed.with_competing.tolist() == np.minimum(among_all, cut).tolist()
    names = pairs.entity_ids.to_pylist()
    gone = named(found, pairs) | named(others, pairs)
    for row, (query, positive) in enumerate(zip(pairs.pair_queries, pairs.pair_positives, strict=True)):
        among = [
            entity
            for entity in range(len(names))
            if entity == positive or (pairs.in_corpus[entity] and (pairs.queries[query], names[entity]) not in gone)
        ]
        order = sorted(among, key=lambda entity: (-scores[query, entity], names[entity]))
        assert without[row] == 1 + order.index(positive)
    assert (without <= among_all).all()


def test_nothing_is_known_without_a_split_or_a_record(tmp_path: Path) -> None:
    dataset = write(tmp_path / "whole", split=None)
    pairs = EvaluationPairs.make(["cats"], ["p1"], pa.array(PINS))
    assert training_positives(dataset, "pin", pairs, {"the encoder's training record": None}) is None


def test_the_command_tells_both_and_which_to_read(
    days: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Trained(LetterEncoder):
        record = record_of(("cats", "p1"), ("cats", "p2"), ("dogs", "p3"))

    monkeypatch.setattr(FrozenEncoder, "from_pretrained", staticmethod(lambda path, **options: Trained()))
    out = tmp_path / "out"
    done = omnifeat(
        "evaluate", "recall", days.path, "--encoder", "e", "--entity-type", "pin", "--by", "seen", "--baselines",
        "bm25-words", "--bootstrap", 20, "-o", out,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "New pairs, without the query's training positives in the corpus: 3 pairs of 3 queries" in done.stdout
    lines = [line.split("  ") for line in done.stdout.splitlines()]
    shown = [line[0] for line in lines]
    assert shown.count("new pairs") == shown.count("new pairs, by the log") == shown.count("all pairs") == 2
    page = (out / "recall.md").read_text()
    assert "### New pairs, without the query's training positives in the corpus" in page
    assert "Compare systems on new pairs in the corpus without the query's training positives" in page
    told = json.loads((out / "recall.json").read_text())["studies"][0]
    left = told["without_training_positives"]
    assert left["told_by"] == ["the training part of engagements", "the encoder's training record"]
    assert left["left_out"] == 3
    for kind in ("new", "groups"):
        assert left[kind][NEW_PAIRS]["pairs"] == told[kind][NEW_PAIRS]["pairs"] == 3
        assert set(left[kind][NEW_PAIRS]["rows"]) == {"bm25-words", "learned"}
    assert left["overall"]["pairs"] == 4
