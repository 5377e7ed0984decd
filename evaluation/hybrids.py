"""Hybrid rows of a recall study: reciprocal rank fusion of other rows, with weights chosen on development pairs.

`bm25-trigrams+learned` fuses two rows whose weights are chosen; `bm25-trigrams+2*learned` has weights of its own. The
weights are those of a small grid with which most development pairs are found among the first k, their training
positives left out; of equally good ones those that lie nearest to equal weights. Pairs of the part that is evaluated
are never looked at.

Shapes: P pairs, W sets of weights.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pyarrow as pa

from evaluation.baselines import Row
from evaluation.fusion import fused_ranks, score_together
from evaluation.recall import EvaluationPairs
from evaluation.training_positives import training_positives
from omnifeat.data.dataset import Dataset
from omnifeat.errors import SettingError
from omnifeat.keys import KeyIndex
from omnifeat.models.training_record import TrainingRecord

__all__ = ["Hybrid", "HybridRow", "chosen_weights", "development_pairs", "parse_hybrid", "weight_grid"]

_MOST_PARTS = 4
_MOST_QUERIES = 2_000  # development queries that choose weights


@dataclass(frozen=True)
class Hybrid:
    """Rows to fuse, by name, and their weights; None where they are to be chosen."""

    parts: tuple[str, ...]
    weights: tuple[float, ...] | None = None

    @property
    def name(self) -> str:
        """As its row is named."""
        weights = self.weights or (1.0,) * len(self.parts)
        named = [
            name if weight == 1 else f"{weight:g}*{name}" for name, weight in zip(self.parts, weights, strict=True)
        ]
        return f"rrf({'+'.join(named)})"


@dataclass(frozen=True)
class HybridRow:
    """The weights that a hybrid row was measured with, and how they came about, in words."""

    weights: tuple[float, ...]
    told: str

    def sentence(self, parts: Sequence[str], k: float) -> str:
        """What the row is."""
        weights = " and ".join(f"{name} {weight:g}" for name, weight in zip(parts, self.weights, strict=True))
        return f"reciprocal rank fusion, k {k:g}, weights {weights} ({self.told})"


def parse_hybrid(text: str) -> Hybrid:
    """`NAME+NAME` or `WEIGHT*NAME+NAME`, of two to four rows; where one has a weight, the others weigh 1.

    Raises
    ------
    SettingError
        If it is none.
    """
    names, weights = [], []
    for part in text.split("+"):
        weight, star, name = part.rpartition("*")
        names.append(name.strip())
        try:
            weights.append(float(weight) if star else None)
        except ValueError as error:
            raise SettingError(f"--hybrid '{text}': '{weight}' is no weight; write such as 2*{name.strip()}") from error
    if not 2 <= len(names) <= _MOST_PARTS or "" in names or len(set(names)) < len(names):
        raise SettingError(
            f"--hybrid '{text}' does not name two to {_MOST_PARTS} different rows with + between; write such as "
            "bm25-words+learned"
        )
    if all(weight is None for weight in weights):
        return Hybrid(tuple(names))
    given = tuple(1.0 if weight is None else weight for weight in weights)
    if not all(0 < weight < float("inf") for weight in given):
        raise SettingError(f"--hybrid '{text}': weights must be above 0 and finite; leave a row out instead")
    return Hybrid(tuple(names), given)


def weight_grid(parts: int) -> list[tuple[float, ...]]:
    """Weights to choose from, those nearest to equal ones first; the first part weighs 1."""
    steps = range(-4, 5) if parts == 2 else (-2, 0, 2)
    powers = sorted(product(steps, repeat=parts - 1), key=lambda some: (sum(step * step for step in some), some))
    return [(1.0, *(2.0**step for step in some)) for some in powers]


def development_pairs(
    pairs: EvaluationPairs, queries: Sequence[str], ids: Sequence[str], seed: int
) -> EvaluationPairs | None:
    """Development pairs in the corpus of the evaluated ones, of at most 2,000 queries; None where there is none.

    Those whose positive is not among the scored entities (in a sampled or listed corpus) are left out: nothing more is
    encoded for them.

    Parameters
    ----------
    queries, ids
        Of each development pair.
    seed
        Of the draw of queries, where there are more.
    """
    rows = KeyIndex()
    rows.intern(pairs.entity_ids.cast(pa.large_string()))
    positives = rows.find(pa.array(ids, pa.large_string()))
    distinct = sorted({query for query, row in zip(queries, positives, strict=True) if row >= 0})
    if not distinct:
        return None
    if len(distinct) > _MOST_QUERIES:
        drawn = np.random.default_rng(seed).choice(len(distinct), _MOST_QUERIES, replace=False)
        distinct = [distinct[row] for row in np.sort(drawn)]
    place = {query: row for row, query in enumerate(distinct)}
    query_rows = np.array([place.get(query, -1) for query in queries])
    kept = (query_rows >= 0) & (positives >= 0)
    pair_queries, pair_positives = np.unique(np.stack([query_rows[kept], positives[kept]]), axis=1).astype(np.int64)
    return replace(pairs, queries=distinct, pair_queries=pair_queries, pair_positives=pair_positives)


def chosen_weights(
    rows: Sequence[Row],
    pairs: EvaluationPairs,
    dataset: Dataset,
    entity_type: str,
    records: Mapping[str, TrainingRecord | None],
    *,
    first: int,
    k: float,
    leave_out_other_positives: bool,
    on_block: Callable[[int], None] | None = None,
) -> HybridRow:
    """The weights of `weight_grid` with which most development pairs are among the first, and what they found.

    Parameters
    ----------
    rows
        To fuse; they score the queries of `pairs`.
    pairs
        Development pairs.
    first, k
        Places that count, and k of the formula.
    """
    excluded = pairs.excluded(leave_out_other_positives)
    training = training_positives(dataset, entity_type, pairs, records)
    if training is not None:
        excluded = excluded.union(training.entities)
    grid = weight_grid(len(rows))
    blocks = score_together(rows, len(pairs.queries))
    hits_W = (fused_ranks(blocks, pairs, [excluded], grid, k=k, on_block=on_block)[0] <= first).sum(axis=1)
    best = int(hits_W.argmax())  # the first of equally good ones
    count = len(pairs.pair_queries)
    told = (
        f"chosen among {len(grid)} on {count:,} development pairs of {len(pairs.queries):,} queries among the same "
        f"entities: Recall@{first} {hits_W[best] / count:.1%}, with equal weights {hits_W[0] / count:.1%}"
        f"{', training positives left out' if training is not None else ''}"
    )
    return HybridRow(grid[best], told)
