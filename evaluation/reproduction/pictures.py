"""What a report shows beside its tables: how cosines lie, recall against the size of the corpus, and a gallery.

Shapes: Q queries, N entities, P pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluation.baselines import entity_texts
from evaluation.bootstrap import cluster_intervals
from evaluation.recall import EvaluationPairs, per_query_sums
from evaluation.reproduction.figures import Bootstrap, K, estimate
from evaluation.reproduction.questions import PairGroup
from evaluation.reproduction.results import CorpusCurve, Histogram, Query, Retrieved
from evaluation.reproduction.systems import ranks_of_vectors
from evaluation.reproduction.vectors import Vectors
from omnifeat.ranks import id_order

__all__ = ["Scorer", "corpus_curve", "cosine_histogram", "gallery", "gallery_queries"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Scorer = Callable[[Sequence[int]], FloatArray]
"""Rows of queries -> scores float32 (rows, N) of all entities of the group."""

_BINS = 80
_SAMPLE = 5_000
_SMALLEST = 1_000
_SHOWN_TEXT = 120


def cosine_histogram(system: str, group: PairGroup, vectors: Vectors, seed: int) -> Histogram:
    """Shares of cosines of at most 5,000 pairs, and of their queries with as many random entities of the corpus."""
    generator = np.random.default_rng([seed, 11])
    pairs = group.pairs
    has_vector = vectors.present[pairs.pair_positives]
    rows = np.flatnonzero(has_vector)
    rows = np.sort(generator.choice(rows, min(_SAMPLE, len(rows)), replace=False))
    queries = vectors.queries[pairs.pair_queries[rows]]
    candidates = np.flatnonzero(pairs.in_corpus & vectors.present)
    others = generator.choice(candidates, len(rows))
    edges = np.linspace(-1, 1, _BINS + 1)
    shares = []
    for entities in (pairs.pair_positives[rows], others):
        cosines = np.einsum("pd,pd->p", queries, vectors.entities[entities]).clip(-1, 1)
        shares.append((np.histogram(cosines, edges)[0] / max(len(rows), 1)).tolist())
    return Histogram(
        system=system, entity_type=group.entity_type, edges=edges.tolist(), positive=shares[0], random=shares[1]
    )


def corpus_curve(
    system: str, group: PairGroup, vectors: Vectors, bootstrap: Bootstrap, threads: int | None = None
) -> CorpusCurve:
    """Recall@10 in random corpora, each a part of the next, up to the whole one; of about 5,000 pairs.

    These are all pairs of randomly drawn queries, so that a query's other positives are known and left out.
    """
    generator = np.random.default_rng([bootstrap.seed, 12])
    pairs, asked = _some_queries(group.pairs, vectors, generator)
    order = generator.permutation(np.flatnonzero(pairs.in_corpus))
    sizes = [size for size in (_SMALLEST, 3_000, 10_000, 30_000, 100_000, 300_000) if size < len(order)]
    recall = []
    for size in [*sizes, len(order)]:
        in_corpus = np.zeros(len(pairs.in_corpus), dtype=bool)
        in_corpus[order[:size]] = True
        part = replace(group, pairs=replace(pairs, in_corpus=in_corpus))
        ranks = ranks_of_vectors(asked, part, most=K, threads=threads)[0]
        sums = per_query_sums((ranks <= K).astype(np.float64)[:, None], pairs.pair_queries, len(pairs.queries))
        found = cluster_intervals(*sums, resamples=bootstrap.resamples, level=bootstrap.level, seed=bootstrap.seed)
        recall.append(estimate(found[0]))
    return CorpusCurve(system=system, entity_type=group.entity_type, sizes=[*sizes, len(order)], recall=recall)


def _some_queries(
    pairs: EvaluationPairs, vectors: Vectors, generator: np.random.Generator
) -> tuple[EvaluationPairs, Vectors]:
    """The pairs of random queries, about `_SAMPLE` of them, and the vectors of these queries."""
    counts = np.bincount(pairs.pair_queries, minlength=len(pairs.queries))
    drawn = generator.permutation(len(counts))
    chosen = np.sort(drawn[: int(np.searchsorted(np.cumsum(counts[drawn]), _SAMPLE)) + 1])
    place = np.full(len(counts), -1, np.int64)
    place[chosen] = np.arange(len(chosen))
    kept = place[pairs.pair_queries] >= 0
    some = replace(
        pairs, queries=[pairs.queries[row] for row in chosen], pair_queries=place[pairs.pair_queries[kept]],
        pair_positives=pairs.pair_positives[kept],
    )  # fmt: skip
    return some, replace(vectors, queries=vectors.queries[chosen])


def gallery_queries(group: PairGroup, countries: Mapping[str, str], each: int) -> list[tuple[int, str, str | None]]:
    """Rows of queries to show, with `head` or `tail` and their country: of each country in turn.

    Head are the queries with most test pairs, tail those with one, both in the order of the text where alike.
    """
    counts = np.bincount(group.pairs.pair_queries, minlength=len(group.pairs.queries))
    head = np.argsort(-counts, kind="stable")
    tail = np.flatnonzero(counts == 1)
    tail = np.roll(tail, -(len(tail) // 2))  # the first of the alphabet are often numbers
    chosen: list[tuple[int, str, str | None]] = []
    for kind, rows in (("head", head), ("tail", tail)):
        by_country: dict[str | None, list[int]] = {}
        for row in rows.tolist():
            by_country.setdefault(countries.get(group.pairs.queries[row]), []).append(row)
        names = sorted(by_country, key=lambda name: (name is None, name or ""))
        in_turn = (
            (of_country[place], kind, name)
            for place in range(each)
            for name, of_country in ((name, by_country[name]) for name in names)
            if place < len(of_country)
        )
        chosen += islice(in_turn, each)
    return chosen


def gallery(
    group: PairGroup,
    entities: pa.Table,
    scorers: Mapping[str, Scorer],
    chosen: Sequence[tuple[int, str, str | None]],
    grades: Mapping[tuple[str, str], float],
    top: int = 8,
) -> list[Query]:
    """What each system retrieves first for each of the chosen queries, by score and then by id."""
    rows = [row for row, _, _ in chosen]
    ids = group.pairs.entity_ids.to_pylist()
    texts = entity_texts(entities, ("title", "caption", "description"))
    engaged = set(zip(group.pairs.pair_queries.tolist(), group.pairs.pair_positives.tolist(), strict=True))
    by_id = id_order(group.pairs.entity_ids)
    found: dict[str, list[list[Retrieved]]] = {}
    for name, scorer in scorers.items():
        found[name] = []
        for row, scores in zip(rows, scorer(rows), strict=True):
            query = group.pairs.queries[row]
            first = np.lexsort((by_id, -scores))[:top]
            found[name].append(
                [
                    Retrieved(
                        entity_id=ids[entity], entity_type=group.entity_type, text=_shown(texts[entity]),
                        score=round(float(scores[entity]), 4), grade=grades.get((query, ids[entity])),
                        engaged=(row, int(entity)) in engaged,
                    )
                    for entity in first
                ]
            )  # fmt: skip
    return [
        Query(
            query=group.pairs.queries[row], kind=kind, country=country,
            systems={name: of_queries[place] for name, of_queries in found.items()},
        )
        for place, (row, kind, country) in enumerate(chosen)
    ]  # fmt: skip


def _shown(text: str) -> str:
    line = next((part for part in text.split("\n") if part.strip()), "(no text)")
    return line if len(line) <= _SHOWN_TEXT else line[: _SHOWN_TEXT - 1] + "…"
