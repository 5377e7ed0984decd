"""Where the engine finds candidates: by words, nearest by earlier behaviour, popular in the interest; as one list.

`words` is the engine of `omnifeat.simulator.search` alone. `mixed` has the three sources side by side, as a production
stack has them (sections 1 and 5 of the paper: token-based retrieval, retrieval by embeddings of an earlier model).

Shape suffixes: Q queries, N entities, K candidates of a query.
"""

import numpy as np

from omnifeat.retrieval.hnsw import HnswIndex, HnswSettings
from omnifeat.simulator import rates
from omnifeat.simulator.concepts import ABSENT, FloatArray
from omnifeat.simulator.earlier import Earlier, EngagedPairs
from omnifeat.simulator.entities import Entities, entity_ids
from omnifeat.simulator.graph import Vectors
from omnifeat.simulator.places import Places
from omnifeat.simulator.queries import Queries
from omnifeat.simulator.search import Candidates, browse, in_blocks, popularity_prior

__all__ = ["DEFAULT_SOURCES", "SOURCES", "blend", "mixed_candidates", "nearest_candidates", "popular_candidates"]

SOURCES = ("words", "mixed")
DEFAULT_SOURCES = "words"

_BLOCK = 4096  # queries a thread takes at once
_INDEX = HnswSettings(neighbours=16, breadth=100)


def mixed_candidates(
    rng: np.random.Generator,
    queries: Queries,
    entities: Entities,
    by_words: Candidates,
    earlier: Earlier,
    kind: int,
    *,
    threads: int,
) -> Candidates:
    """Candidates of pins (`kind` 0) or products (1) by the three sources, in the numbers of the rates' page.

    Parameters
    ----------
    by_words
        What the engine of words finds, the best first in its first places.
    """
    words, near, popular = (rates.MIXED_PINS, rates.MIXED_PRODUCTS)[kind]
    return blend(
        (
            Candidates(by_words.rows[:, :words], by_words.scores[:, :words]),
            nearest_candidates(earlier.queries, earlier.entities[kind], entities, near, threads=threads),
            popular_candidates(rng, queries, earlier.pairs[kind], entities, popular),
        ),
        threads=threads,
    )


def nearest_candidates(
    queries_QD: FloatArray, vectors: Vectors, entities: Entities, number: int, *, threads: int
) -> Candidates:
    """The `number` entities nearest to each query by earlier behaviour; none for a query or an entity without a vector.

    The score is that of words with the cosine, at least 0, in the place of the share of matched words.
    """
    vectors_ND, present_N = vectors
    rows = np.full((len(queries_QD), number), ABSENT, np.int32)
    scores = np.zeros(rows.shape, np.float32)
    # ids of one width are in the order of rows
    there = np.flatnonzero(present_N)
    index = HnswIndex.build(
        entity_ids(entities.entity_type, len(entities)).take(there), vectors_ND[there], settings=_INDEX
    )
    hits = index.search(queries_QD, number, threads=threads)
    found = there[hits.rows]
    rows[hits.query_rows, hits.ranks - 1] = found
    scores[hits.query_rows, hits.ranks - 1] = (1 - np.float32(rates.ENGINE_POPULARITY)) * np.maximum(
        hits.scores, 0
    ) + np.float32(rates.ENGINE_POPULARITY) * popularity_prior(entities)[found]
    return Candidates(rows, scores)


def popular_candidates(
    rng: np.random.Generator, queries: Queries, pairs: EngagedPairs, entities: Entities, number: int
) -> Candidates:
    """`number` draws from what was engaged with before the log by queries of the same thing or topic, each once."""
    rows = np.full((len(queries), number), ABSENT, np.int32)
    scores = np.zeros(rows.shape, np.float32)
    places = Places(queries.concepts.take(pairs.query), pairs.count.astype(np.float64))
    browse(rng, queries, places, popularity_prior(entities), 0, rows, scores, pairs.entity.astype(np.int32))
    return Candidates(rows, scores)


def blend(sources: tuple[Candidates, ...], *, threads: int = 1) -> Candidates:
    """The candidates of all sources side by side, each once: at its first place, with the best of its scores."""
    rows = np.concatenate([source.rows for source in sources], axis=1)
    scores = np.concatenate([source.scores for source in sources], axis=1)

    def work(start: int, stop: int) -> None:
        block, given = rows[start:stop], scores[start:stop]
        query, place = np.nonzero(block != ABSENT)
        found = block[query, place].astype(np.int64)
        keys = query * (int(found.max(initial=0)) + 1) + found
        _, first, same = np.unique(keys, return_index=True, return_inverse=True)
        best = np.zeros(len(first), np.float32)
        np.maximum.at(best, same, given[query, place])
        block[:], given[:] = ABSENT, 0
        block[query[first], place[first]] = found[first]
        given[query[first], place[first]] = best

    in_blocks(work, len(rows), _BLOCK, threads)
    return Candidates(rows, scores)
