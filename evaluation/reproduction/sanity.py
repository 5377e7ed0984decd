"""A self-check of training and evaluation: what must be found if nothing is wrong (`omnifeat reproduce --sanity`).

Four models are compared: the base, one on shuffled pairs, one without the correction by frequency, and one that is as
it started.

- **Shuffled pairs teach nothing.** What a model finds by chance is what it finds when the queries are dealt out anew
  over the held-out pairs: popular entities may be found often, but not by their own queries. What the right queries add
  to that is little before training, or much where both sides read the same words. The second model's must be no more
  than that of the model as it started: the interval of the difference must reach down to zero. If it does not,
  something of the answer is in the input.
- **True pairs teach something.** The same difference of the base must lie above zero, and its recall above the
  second's.
- **logQ has the right sign.** In-batch negatives are drawn by popularity. Without the correction (section 3.5) popular
  entities are pushed away from all queries; with it they are not, and with a swapped sign they are pushed away twice.
  So the rank correlation of an entity's number of training pairs with its mean cosine to random queries must be
  greater with the correction than without.

Shapes: Q queries, N entities, P pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import spearmanr

from evaluation.bootstrap import Interval, cluster_intervals
from evaluation.recall import per_query_sums
from evaluation.reproduction.figures import Bootstrap, K
from evaluation.reproduction.progress import Progress, Steps
from evaluation.reproduction.questions import PairGroup, questions_of
from evaluation.reproduction.study import StudySettings, refuse_leaks, study_encoder, study_training
from evaluation.reproduction.systems import ranks_of_vectors
from evaluation.reproduction.trainings import run_training
from evaluation.reproduction.variations import BASE, VARIATIONS, Variation
from evaluation.reproduction.vectors import Entities, StudyVectors, TrainedSource
from omnifeat.data.dataset import Dataset
from omnifeat.data.splits import split_rows

__all__ = ["Check", "run_sanity"]

FloatArray = npt.NDArray[np.float64]

_SHUFFLED = Variation(
    name="shuffled", label="Shuffled pairs", what="Trained on pairs whose entities were dealt out anew.",
    training={"shuffled_pairs": True},
)  # fmt: skip
# one step at a rate that moves nothing
_UNTRAINED = Variation(
    name="untrained", label="As it started", what="Not trained.", training={"steps": 1, "learning_rate": 1e-12},
)  # fmt: skip
_QUERIES = 2_000
_DEALS = 5


@dataclass(frozen=True)
class Check:
    """One thing that must hold: what, whether it does, and the figures."""

    name: str
    holds: bool
    evidence: str


def run_sanity(dataset: Dataset, out: Path, settings: StudySettings, progress: Progress) -> list[Check]:
    """Train and measure what the checks need.

    Parameters
    ----------
    out
        Folder for the trainings; a check that was cut short goes on.
    progress
        As in `run_study`.

    Raises
    ------
    DataError, SettingError
        As `run_study`.
    """
    refuse_leaks(dataset, progress)
    questions = questions_of(dataset, corpus_size=settings.corpus_size, seed=settings.bootstrap_seed)
    config, base = study_encoder(settings), replace(study_training(settings), seed=settings.seeds[0])
    trainings = {}
    for variation in (VARIATIONS[BASE], _SHUFFLED, VARIATIONS["no-logq"], _UNTRAINED):
        with progress(f"training {variation.name}", base.steps) as advance:
            trainings[variation.name] = run_training(
                dataset, variation, config, base, out / "trainings", tables=(), threads=settings.threads,
                on_step=Steps(advance),
            )  # fmt: skip
    bootstrap = Bootstrap(settings.resamples, settings.level, settings.bootstrap_seed)
    groups = {key: group for key, group in questions.groups.items() if key == group.entity_type}
    entities = Entities(dataset, groups)
    recall: dict[str, dict[str, _Found]] = {}
    preference: dict[str, dict[str, float]] = {}
    with progress("measuring", None):
        for name, training in trainings.items():
            vectors = StudyVectors(TrainedSource(training.path, settings.threads), groups, entities)
            if name != "no-logq":
                recall[name] = _recall(vectors, groups, bootstrap.seed, settings.threads)
            if name in (BASE, "no-logq"):
                preference[name] = _popularity_preference(vectors, dataset, groups, settings.bootstrap_seed)
    checks = []
    for key, group in groups.items():
        start = recall["untrained"][key]
        true, shuffled = (_pairing(recall[name][key], start, group, bootstrap) for name in (BASE, "shuffled"))
        checks.append(Check(f"{key}: shuffled pairs teach nothing", shuffled.gain.low <= 0, str(shuffled)))
        holds = true.gain.low > 0 and true.recall > shuffled.recall
        checks.append(Check(f"{key}: true pairs teach something", holds, str(true)))
    for key, with_logq in preference[BASE].items():
        without = preference["no-logq"][key]
        checks.append(
            Check(
                f"{key}: logQ has the right sign", with_logq > without,
                f"rank correlation of popularity and mean cosine {with_logq:+.3f} with the correction, {without:+.3f} "
                "without",
            )
        )  # fmt: skip
    return checks


@dataclass(frozen=True)
class _Pairing:
    """Recall@10 with the right queries and with queries dealt out anew; what the right ones add beyond what they add to
    the model as it started, with its interval."""

    recall: float
    by_chance: float
    gain: Interval

    def __str__(self) -> str:
        return (
            f"Recall@10 {self.recall:.4f}, by chance {self.by_chance:.4f}; beyond the model as it started "
            f"{self.gain.value:+.4f} [{self.gain.low:+.4f}, {self.gain.high:+.4f}]"
        )


@dataclass(frozen=True, eq=False)
class _Found:
    """For each pair whether it was found, bool (P,), and how often with queries dealt out anew, float (P,)."""

    right: npt.NDArray[np.bool_]
    by_chance: FloatArray


def _recall(
    vectors_of: StudyVectors, groups: Mapping[str, PairGroup], seed: int, threads: int | None
) -> dict[str, _Found]:
    generator = np.random.default_rng([seed, 14])
    found = {}
    for key, group in groups.items():
        vectors = vectors_of.of(group)
        if vectors is None:
            continue
        dealt = [
            replace(vectors, queries=vectors.queries[generator.permutation(len(vectors.queries))])
            for _ in range(_DEALS)
        ]
        right, *by_deal = (ranks_of_vectors(some, group, most=K, threads=threads)[0] <= K for some in (vectors, *dealt))
        found[key] = _Found(right, np.mean(by_deal, axis=0))
    return found


def _pairing(found: _Found, start: _Found, group: PairGroup, bootstrap: Bootstrap) -> _Pairing:
    beyond = (found.right - found.by_chance) - (start.right - start.by_chance)
    sums = per_query_sums(beyond[:, None], group.pairs.pair_queries, len(group.pairs.queries))
    (gain,) = cluster_intervals(*sums, resamples=bootstrap.resamples, level=bootstrap.level, seed=bootstrap.seed)
    return _Pairing(float(found.right.mean()), float(found.by_chance.mean()), gain)


def _popularity_preference(
    vectors_of: StudyVectors, dataset: Dataset, groups: Mapping[str, PairGroup], seed: int
) -> dict[str, float]:
    """Spearman's correlation of the number of training pairs of an entity with its mean cosine to random queries."""
    generator = np.random.default_rng([seed, 13])
    found = {}
    for key, group in groups.items():
        vectors = None if group.entity_type == "query" else vectors_of.of(group)
        if vectors is None:
            continue
        drawn = generator.choice(len(vectors.queries), min(_QUERIES, len(vectors.queries)), replace=False)
        mean_cosine = vectors.entities @ vectors.queries[drawn].mean(axis=0)
        counts = _training_counts(dataset, group)
        kept = counts > 0
        found[key] = float(spearmanr(counts[kept], mean_cosine[kept]).statistic)
    return found


def _training_counts(dataset: Dataset, group: PairGroup) -> FloatArray:
    """Training pairs of each of the group's entities, float64 (N,)."""
    split = dataset.info.split
    columns = ["query", "entity_id", "entity_type", *([] if split is None else [split.column])]
    engagements = dataset.read("engagements", list(dict.fromkeys(columns)))
    train = engagements if split is None else split_rows(engagements, split, "train")
    train = train.filter(pc.equal(train["entity_type"], group.entity_type))
    pairs = train.select(["query", "entity_id"]).group_by(["query", "entity_id"]).aggregate([])
    rows = pc.drop_null(pc.index_in(pairs["entity_id"].cast(pa.string()), group.pairs.entity_ids))
    return np.bincount(rows.to_numpy(), minlength=len(group.pairs.entity_ids)).astype(np.float64)
