"""Ranks of a study's systems, and what its pictures are made from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluation.judged import as_qrels
from evaluation.reproduction.figures import Bootstrap
from evaluation.reproduction.pictures import Scorer, corpus_curve, cosine_histogram, gallery, gallery_queries
from evaluation.reproduction.progress import Progress, silent
from evaluation.reproduction.questions import PairGroup, QuestionSet
from evaluation.reproduction.rank_files import Ranks, kept_ranks, without_training
from evaluation.reproduction.results import CorpusCurve, Histogram, Query
from evaluation.reproduction.systems import (
    BASELINES,
    FUSED,
    SEARCHSAGE,
    baseline_ranks,
    cut,
    fused_with,
    lexical_scorer_of,
    parse,
    ranks_of_vectors,
    token_scorer,
)
from evaluation.reproduction.tables import LABELS
from evaluation.reproduction.trainings import Training
from evaluation.reproduction.variations import BASE
from evaluation.reproduction.vectors import Entities, PretrainedSource, StudyVectors, TrainedSource, Vectors
from omnifeat.data.dataset import Dataset
from omnifeat.pretrained import PretrainedEncoder
from omnifeat.retrieval.lexical import LexicalScorer
from omnifeat.training.pooled_outputs import PooledOutputs

__all__ = ["StudyMeasures"]

IntArray = npt.NDArray[np.int64]

# model -> its system in the pictures
_SHOWN = {parse(system)[0]: system for system in (BASE, SEARCHSAGE)}
_GALLERY = 8  # queries of each kind


class StudyMeasures:
    """Ranks and pictures of the systems; what an encoder makes is made once for all that is measured of it."""

    def __init__(
        self, dataset: Dataset, questions: QuestionSet, trainings: Sequence[Training], folder: Path,
        *, pretrained: PretrainedEncoder | None, seed: int, threads: int | None, pooled: PooledOutputs | None = None,
    ) -> None:  # fmt: skip
        self._dataset, self._groups, self._folder = dataset, questions.groups, folder
        self._seed, self._threads = seed, threads
        self._trainings = {
            name: [training for training in trainings if training.variation.name == name]
            for name in {training.variation.name for training in trainings}
        }
        self._pretrained, self._pooled = pretrained, pooled
        self._entities = Entities(dataset, questions.groups)
        self._digest = questions.digest()
        self._kept: dict[str, StudyVectors] = {}
        self._pretrained_vectors: StudyVectors | None = None
        self._fitted: tuple[pa.StringArray, LexicalScorer] | None = None
        self.seconds = 0.0

    def ranks(self, systems: Sequence[str], progress: Progress = silent) -> dict[str, list[Ranks]]:
        """System -> its ranks of each seed, in the order that is given, without those that these data do not allow.

        All systems of a training are measured in a row, so that it encodes once. Its vectors are then let go of, but
        for those of the two that the pictures show (of the first seed). Those come last, so that never more than two
        trainings' vectors are held.
        """
        started = time.monotonic()
        of_model: dict[str, list[str]] = {}
        for system in systems:
            of_model.setdefault(parse(system)[0], []).append(system)
        found: dict[str, list[Ranks]] = {system: [] for system in systems}
        for name in sorted(of_model, key=lambda name: name in _SHOWN):
            with progress(f"measuring {', '.join(of_model[name])}", None):
                if name in self._trainings:
                    first = self._trainings[name][0]
                    for training in reversed(self._trainings[name]):
                        shown = training is first and name in _SHOWN
                        vectors = self._shown(name) if shown else self._vectors(training)
                        for system in of_model[name]:
                            found[system].insert(0, self._trained(system, training, vectors))
                elif name in BASELINES:
                    found[name].append(kept_ranks(self._folder, name, self._digest, partial(self._baseline, name)))
                elif name == "pretrained":
                    for system in of_model[name]:
                        measure = partial(self._untrained, system)
                        found[system].append(kept_ranks(self._folder, system, self._digest, measure))
        self._pretrained_vectors = self._fitted = None
        self.seconds += time.monotonic() - started
        measured = {system: [ranks for ranks in of_seeds if ranks] for system, of_seeds in found.items()}
        return {system: of_seeds for system, of_seeds in measured.items() if of_seeds}

    def _trained(self, system: str, training: Training, vectors: StudyVectors) -> Ranks:
        return kept_ranks(
            self._folder, f"{system}-seed{training.seed}", f"{self._digest} {training.trained.fingerprint}",
            lambda: self._by_vectors(system, vectors),
        )  # fmt: skip

    def _baseline(self, name: str) -> dict[str, IntArray]:
        return _by_name(
            {
                key: baseline_ranks(name, group, self._entities.table(group), self._seed)
                for key, group in self._groups.items()
            }
        )

    def _untrained(self, system: str) -> dict[str, IntArray]:
        if self._pretrained is None:
            return {}
        if self._pretrained_vectors is None:
            source = PretrainedSource(self._pretrained)
            self._pretrained_vectors = StudyVectors(source, self._groups, self._entities)
        return self._by_vectors(system, self._pretrained_vectors)

    def _by_vectors(self, system: str, vectors: StudyVectors) -> dict[str, IntArray]:
        _, existing, width = parse(system)
        found = {}
        for key, group in self._groups.items():
            of_group = vectors.of(group, existing=existing)
            if of_group is None:
                continue
            if system.startswith(FUSED):
                found[key] = fused_with(self._words(group), cut(of_group, width), group)
            else:
                found[key] = ranks_of_vectors(cut(of_group, width), group, threads=self._threads)
        return _by_name(found)

    def _words(self, group: PairGroup) -> LexicalScorer:
        """Fitted on the group's entities; the last one is kept, for groups of one type mostly rank the same."""
        if self._fitted is None or not self._fitted[0].equals(group.pairs.entity_ids):
            self._fitted = (group.pairs.entity_ids, token_scorer("bm25", self._entities.table(group)))
        return self._fitted[1]

    def _vectors(self, training: Training) -> StudyVectors:
        return StudyVectors(TrainedSource(training.path, self._threads, self._pooled), self._groups, self._entities)

    def _shown(self, name: str) -> StudyVectors:
        """Of the first seed; kept until the pictures are made."""
        if name not in self._kept:
            self._kept[name] = self._vectors(self._trainings[name][0])
        return self._kept[name]

    def _shown_vectors(self, group: PairGroup) -> dict[str, Vectors]:
        """Of the first seed of the base, and of SearchSage."""
        found = {}
        for name, system in _SHOWN.items():
            if name in self._trainings:
                vectors = self._shown(name).of(group, existing=parse(system)[1])
                if vectors is not None:
                    found[system] = vectors
        return found

    def pictures(self, bootstrap: Bootstrap) -> tuple[list[Histogram], list[CorpusCurve], list[Query]]:
        """Histograms and curves of the base and of SearchSage, for each entity type, and the gallery."""
        histograms, curves = [], []
        for key, group in self._groups.items():
            if key != group.entity_type:
                continue
            for system, vectors in self._shown_vectors(group).items():
                histograms.append(cosine_histogram(LABELS[system], group, vectors, bootstrap.seed))
                curves.append(corpus_curve(LABELS[system], group, vectors, bootstrap, self._threads))
        queries = self._gallery()
        self._kept.clear()
        return histograms, curves, queries

    def _gallery(self) -> list[Query]:
        """Head and tail queries, and the pins (or else products) that each system retrieves first."""
        group = next((self._groups[key] for key in ("pin", "product") if key in self._groups), None)
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


def _by_name(ranks: Mapping[str, IntArray]) -> dict[str, IntArray]:
    """Ranks (2, P) of each group by what they are kept under."""
    named: dict[str, IntArray] = {}
    for key, (among_all, without) in ranks.items():
        named |= {key: among_all, without_training(key): without}
    return named


def _scorer(vectors: Vectors) -> Scorer:
    def score(rows: Sequence[int]) -> Any:
        scores = vectors.queries[list(rows)] @ vectors.entities.T
        scores[:, ~vectors.present] = -2  # below any cosine
        return scores

    return score
