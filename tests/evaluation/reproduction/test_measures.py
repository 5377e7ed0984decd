"""Each encoder of a study encodes once, whatever is measured of it, and what it made is let go of."""

import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from evaluation.reproduction import measures as measures_module
from evaluation.reproduction.figures import Bootstrap
from evaluation.reproduction.measures import StudyMeasures
from evaluation.reproduction.questions import QuestionSet, questions_of
from evaluation.reproduction.rank_files import without_training
from evaluation.reproduction.study import StudySettings, study_encoder, study_training
from evaluation.reproduction.systems import SEARCHSAGE
from evaluation.reproduction.trainings import Training, run_training
from evaluation.reproduction.variations import BASE, VARIATIONS
from evaluation.reproduction.vectors import Entities, StudyVectors, TrainedSource
from omnifeat.data.dataset import Dataset
from omnifeat.frozen import FrozenEncoder
from omnifeat.models.query import QueryEncoder
from omnifeat.training.pooled_outputs import PooledOutputs

KINDS = ("encode_queries", "encode_entities", "encode_compatibility")


@pytest.fixture(scope="module")
def log(world: Path) -> Dataset:
    return Dataset.open(world)


@pytest.fixture(scope="module")
def questions(log: Dataset) -> QuestionSet:
    """Of a corpus sample, so that the groups of pins do not rank the same entities."""
    found = questions_of(log, corpus_size=100, seed=0)
    assert not found.groups["pin"].pairs.entity_ids.equals(found.groups["pin judged"].pairs.entity_ids)
    return found


@pytest.fixture(scope="module")
def trained(pairs: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Training]:
    settings = StudySettings(preset="tiny", steps=2, batch_size=32, threads=1)
    folder = tmp_path_factory.mktemp("measures")
    config, base = study_encoder(settings), study_training(settings)
    return [
        run_training(pairs, VARIATIONS[name], config, base, folder, tables=(), threads=1)
        for name in (BASE, "searchsage", "native-text")
    ]


def test_vectors_of_a_group_are_those_that_it_would_encode_alone(
    log: Dataset, questions: QuestionSet, trained: list[Training]
) -> None:
    encoder = FrozenEncoder.from_pretrained(trained[0].path, threads=1)
    entities = Entities(log, questions.groups)
    vectors = StudyVectors(TrainedSource(trained[0].path, 1), questions.groups, entities)
    for group in questions.groups.values():
        found = vectors.of(group)
        assert found is not None
        assert np.allclose(found.queries, encoder.encode_queries(group.pairs.queries), atol=1e-5)
        table = entities.table(group)
        assert table["id"].combine_chunks().equals(group.pairs.entity_ids)
        if group.entity_type == "query":
            assert np.allclose(found.entities, encoder.encode_queries(group.pairs.entity_ids), atol=1e-5)
            continue
        assert np.allclose(found.entities, encoder.encode_entities(table, group.entity_type), atol=1e-5)
        existing = vectors.of(group, existing=True)
        assert existing is not None
        column = {"pin": "pinsage", "product": "itemsage"}[group.entity_type]
        alone, present = encoder.encode_compatibility(table, column, group.entity_type)
        assert np.allclose(existing.entities, alone, atol=1e-5)
        assert np.array_equal(existing.present, present)


def test_queries_of_a_frozen_transformer_come_from_its_kept_outputs(
    pairs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = StudySettings(preset="tiny", steps=2, batch_size=32, threads=1, model=("query.trainable_layers=0",))
    training = run_training(
        pairs, VARIATIONS[BASE], study_encoder(settings), study_training(settings), tmp_path, tables=(), threads=1
    )
    texts = pa.array(["red shoes", "a", "green lamp for the garden"])
    alone = TrainedSource(training.path, 1).queries(texts)
    kept = PooledOutputs(tmp_path / "kept")
    assert np.allclose(TrainedSource(training.path, 1, kept).queries(texts), alone, atol=1e-5)
    monkeypatch.setattr(QueryEncoder, "pool", None)  # not to be called again
    assert np.allclose(TrainedSource(training.path, 1, kept).queries(texts), alone, atol=1e-5)


def test_each_encoder_encodes_once_and_two_are_held_at_most(
    log: Dataset, questions: QuestionSet, trained: list[Training], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: weakref.WeakSet[StudyVectors] = weakref.WeakSet()
    calls: Counter[tuple[str, str, object]] = Counter()

    class Noted(StudyVectors):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            held.add(self)

    def counted(kind: str) -> Any:
        real = getattr(FrozenEncoder, kind)

        def encode(self: FrozenEncoder, *arguments: Any) -> Any:
            calls[self.fingerprint, kind, None if kind == "encode_queries" else arguments[-1]] += 1
            assert len(held) <= 2
            return real(self, *arguments)

        return encode

    monkeypatch.setattr(measures_module, "StudyVectors", Noted)
    for kind in KINDS:
        monkeypatch.setattr(FrozenEncoder, kind, counted(kind))

    def study() -> StudyMeasures:
        return StudyMeasures(log, questions, trained, tmp_path, pretrained=None, seed=0, threads=1)

    systems = [
        BASE,
        SEARCHSAGE,
        "native-text",
        f"{BASE}/existing",
        f"{BASE}@16",
        "native-text@16",
        "bm25",
        f"bm25+{BASE}",
    ]
    measures = study()
    ranks = measures.ranks([*systems, "no-compatibility"])
    assert list(ranks) == systems
    kept = {key for group in questions.groups for key in (group, without_training(group))}
    assert all(set(of_seed) == kept for (of_seed,) in ranks.values())
    for key, group in questions.groups.items():
        for (of_seed,) in (ranks[system] for system in systems if "+" not in system):
            assert (of_seed[without_training(key)] <= of_seed[key]).all()
        fused = ranks[f"bm25+{BASE}"][0][key]
        assert not np.array_equal(fused, ranks[BASE][0][key])
        assert (fused <= ranks[BASE][0][key] + ranks["bm25"][0][key]).all()  # who is behind is behind by one of them
        assert group.training is not None
    pictures = measures.pictures(Bootstrap(20, 0.95, 0))
    base, sage, native = (training.trained.fingerprint for training in trained)
    existing = {(name, "encode_compatibility", kind): 1 for name in (base, sage) for kind in ("pin", "product")}
    own = {(name, "encode_entities", kind): 1 for name in (base, native) for kind in ("pin", "product")}
    texts = {(name, "encode_queries", None): 1 for name in (base, sage, native)}
    assert calls == existing | own | texts
    assert not held

    # gone on with: the ranks are read, and the pictures alone need vectors
    calls.clear()
    again = study()
    assert all(
        np.array_equal(of_seed[key], ranks[system][0][key])
        for system, (of_seed,) in again.ranks(systems).items()
        for key in questions.groups
    )
    assert not calls
    assert again.pictures(Bootstrap(20, 0.95, 0)) == pictures
    assert set(calls.values()) == {1}
    assert native not in {fingerprint for fingerprint, _, _ in calls}


def test_entities_of_a_type_are_read_once(
    log: Dataset, questions: QuestionSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = Dataset.batches

    def noted(self: Dataset, table: str, *arguments: Any, **named: Any) -> Any:
        read.append(table)
        return real(self, table, *arguments, **named)

    monkeypatch.setattr(Dataset, "batches", noted)
    entities = Entities(log, questions.groups)
    for _ in range(2):
        tables = {key: entities.table(group) for key, group in questions.groups.items()}
    assert sorted(read) == ["pins", "products"]
    assert (
        tables["query"]["title"].combine_chunks().cast(pa.string()).equals(questions.groups["query"].pairs.entity_ids)
    )
