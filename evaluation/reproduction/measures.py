"""Ranks of a study's systems, and what its pictures are made from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.judged import as_qrels
from evaluation.pretrained import PretrainedEncoder
from evaluation.reproduction.figures import Bootstrap
from evaluation.reproduction.pictures import Scorer, corpus_curve, cosine_histogram, gallery, gallery_queries
from evaluation.reproduction.questions import PairGroup, QuestionSet
from evaluation.reproduction.rank_files import Ranks, kept_ranks
from evaluation.reproduction.results import CorpusCurve, Histogram, Query
from evaluation.reproduction.systems import (
    BASELINES,
    EXISTING,
    SEARCHSAGE,
    Entities,
    Vectors,
    baseline_ranks,
    cut,
    lexical_scorer_of,
    model_vectors,
    parse,
    pretrained_vectors,
    ranks_of_vectors,
)
from evaluation.reproduction.tables import LABELS
from evaluation.reproduction.trainings import Training
from evaluation.reproduction.variations import BASE
from omnifeat.data.dataset import Dataset
from omnifeat.frozen import FrozenEncoder

__all__ = ["StudyMeasures"]

_GALLERY = 8  # queries of each kind


class StudyMeasures:
    """Ranks and pictures of the systems; an encoder's vectors are made once for all that needs them in a row."""

    def __init__(
        self, dataset: Dataset, questions: QuestionSet, trainings: Sequence[Training], folder: Path,
        *, pretrained: PretrainedEncoder | None, seed: int, threads: int | None,
    ) -> None:  # fmt: skip
        self._dataset, self._questions, self._folder = dataset, questions, folder
        self._seed, self._threads = seed, threads
        self._trainings = {
            name: [training for training in trainings if training.variation.name == name]
            for name in {training.variation.name for training in trainings}
        }
        self._pretrained = pretrained
        self._entities = Entities(dataset)
        self._digest = questions.digest()
        self.seconds = 0.0

    def ranks(self, system: str) -> list[Ranks]:
        """Of each seed; nothing where the system does not exist on these data."""
        started = time.monotonic()
        name, existing, width = parse(system)
        if system in BASELINES or system == "pretrained":
            found = [kept_ranks(self._folder, system, self._digest, lambda: self._untrained(system))]
        else:
            found = [
                kept_ranks(
                    self._folder, f"{system}-seed{training.seed}", f"{self._digest} {training.trained.fingerprint}",
                    lambda training=training: self._trained(training, existing, width),  # type: ignore[misc]
                )
                for training in self._trainings.get(name, [])
            ]  # fmt: skip
        self.seconds += time.monotonic() - started
        return [ranks for ranks in found if ranks]

    def _trained(self, training: Training, existing: bool, width: int | None) -> dict[str, Any]:
        encoder = self._encoder(training)
        found = {}
        for key, group in self._questions.groups.items():
            vectors = model_vectors(encoder, group, self._entities.table(group), existing=existing)
            if vectors is not None:
                found[key] = ranks_of_vectors(cut(vectors, width), group)
        return found

    def _untrained(self, system: str) -> dict[str, Any]:
        found = {}
        for key, group in self._questions.groups.items():
            entities = self._entities.table(group)
            if system != "pretrained":
                found[key] = baseline_ranks(system, group, entities, self._seed)
            elif self._pretrained is not None:
                found[key] = ranks_of_vectors(pretrained_vectors(self._pretrained, group, entities), group)
        return found

    def _encoder(self, training: Training) -> FrozenEncoder:
        return FrozenEncoder.from_pretrained(training.path, threads=self._threads)

    def _shown_vectors(self, group: PairGroup) -> dict[str, Vectors]:
        """Of the first seed of the base, and of SearchSage."""
        entities, found = self._entities.table(group), {}
        for system in (BASE, SEARCHSAGE):
            name = system.removesuffix(EXISTING)
            if self._trainings.get(name):
                encoder = self._encoder(self._trainings[name][0])
                vectors = model_vectors(encoder, group, entities, existing=system.endswith(EXISTING))
                if vectors is not None:
                    found[system] = vectors
        return found

    def pictures(self, bootstrap: Bootstrap) -> tuple[list[Histogram], list[CorpusCurve]]:
        """Histograms and curves of the base and of SearchSage, for each entity type."""
        histograms, curves = [], []
        for key, group in self._questions.groups.items():
            if key != group.entity_type:
                continue
            for system, vectors in self._shown_vectors(group).items():
                histograms.append(cosine_histogram(LABELS[system], group, vectors, bootstrap.seed))
                curves.append(corpus_curve(LABELS[system], group, vectors, bootstrap))
        return histograms, curves

    def gallery(self) -> list[Query]:
        """Head and tail queries, and the pins (or else products) that each system retrieves first."""
        group = next((self._questions.groups[key] for key in ("pin", "product") if key in self._questions.groups), None)
        if group is None:
            return []
        entities = self._entities.table(group)
        scorers: dict[str, Scorer] = {LABELS["bm25"]: lexical_scorer_of("bm25", group, entities)}
        for system, vectors in self._shown_vectors(group).items():
            scorers[LABELS[system]] = _scorer(vectors)
        chosen = gallery_queries(group, self._countries(), _GALLERY)
        return gallery(group, entities, scorers, chosen, self._grades(group.entity_type))

    def _countries(self) -> Mapping[str, str]:
        if not self._dataset.has_column("queries", "country"):
            return {}
        table = self._dataset.read("queries", ["query", "country"])
        named = zip(table["query"].to_pylist(), table["country"].to_pylist(), strict=True)
        return {query: country for query, country in named if country is not None}

    def _grades(self, entity_type: str) -> Mapping[tuple[str, str], float]:
        if not self._dataset.has("judgments"):
            return {}
        table = self._dataset.read("judgments", ["query", "entity_id", "entity_type", "grade"]).to_pandas()
        agreed = as_qrels(table[table["entity_type"] == entity_type])
        named = zip(agreed["query_id"], agreed["doc_id"], agreed["relevance"], strict=True)
        return {(query, entity_id): float(grade) for query, entity_id, grade in named}


def _scorer(vectors: Vectors) -> Scorer:
    def score(rows: Sequence[int]) -> Any:
        scores = vectors.queries[list(rows)] @ vectors.entities.T
        scores[:, ~vectors.present] = -2  # below any cosine
        return scores

    return score
