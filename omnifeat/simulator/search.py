"""The search engine of the world: candidates of each query by token match on titles and descriptions, and by interest.

It reads words alone, never a latent vector: what it finds and misses is what token matching finds and misses.

Shape suffixes: Q queries, N entities, K candidates of a query.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omnifeat.compiled import compiled
from omnifeat.simulator import rates
from omnifeat.simulator.concepts import ABSENT, FloatArray, IntArray
from omnifeat.simulator.entities import Entities
from omnifeat.simulator.phrasebook import phrasebook
from omnifeat.simulator.places import Places, up
from omnifeat.simulator.queries import Queries

__all__ = ["Candidates", "browse", "find_candidates", "in_blocks", "popularity_prior", "related_queries"]

_BLOCK = 4096  # queries a thread takes at once


@dataclass(frozen=True)
class Candidates:
    """For each query K rows of entities (-1 for none) with the engine's scores, 0 to about 1."""

    rows: IntArray  # (Q, K)
    scores: FloatArray  # (Q, K)


def find_candidates(
    rng: np.random.Generator,
    queries: Queries,
    looked_up: tuple[npt.NDArray[np.int64], IntArray, FloatArray],
    entities: Entities,
    pairs: npt.NDArray[np.int64],
    *,
    matched: int,
    browsed: int,
    threads: int,
) -> Candidates:
    """Candidates of every query.

    Parameters
    ----------
    looked_up
        Offsets (Q + 1,), words and weights: what the engine looks up for each query.
    pairs
        The distinct `entity * number_of_words + word` of what is indexed.
    matched, browsed
        Candidates by words, and by popularity in the query's thing or topic.
    """
    order = np.argsort(-entities.popularity, kind="stable")
    rank_N = np.empty(len(entities), np.int32)
    rank_N[order] = np.arange(len(entities))
    # within the engine an entity is its rank by popularity: postings in that order are read in the order of memory
    offsets, documents, idf = _index(pairs, rank_N)
    prior_N = popularity_prior(entities)
    rows = np.full((len(queries), matched + browsed), ABSENT, np.int32)
    scores = np.zeros((len(queries), matched + browsed), np.float32)
    seed = np.uint64(rng.integers(2**63))

    ranked = prior_N[order]
    # handed over, because the cache of compiled code does not watch another file
    engine = (rates.ENGINE_POPULARITY, rates.ENGINE_CHANCE)

    def work(start: int, stop: int) -> None:
        _match(start, stop, *looked_up, offsets, documents, idf, ranked, seed, *engine, matched, rows, scores)

    in_blocks(work, len(queries), _BLOCK, threads)
    rows = np.where(rows >= 0, order[rows], ABSENT).astype(np.int32)
    browse(rng, queries, Places(entities.concepts, entities.popularity), prior_N, matched, rows, scores)
    return Candidates(rows, scores)


def popularity_prior(entities: Entities) -> FloatArray:
    """Log of popularity, float32 (N,): 0 for the least popular and 1 for the most."""
    log_N = np.log(entities.popularity)
    return np.asarray((log_N - log_N.min()) / max(float(np.ptp(log_N)), 1e-9), np.float32)


def browse(
    rng: np.random.Generator,
    queries: Queries,
    places: Places,
    prior_N: FloatArray,
    first: int,
    rows: IntArray,
    scores: FloatArray,
    owners: IntArray | None = None,
) -> None:
    """Fill the places from `first` on with what is popular in each query's thing or topic, none twice in a row.

    Parameters
    ----------
    places
        What is drawn by popularity: entities, or rows that say by `owners` which entity they are of.
    prior_N
        The entities' `popularity_prior`.
    """
    # a query of a thing looks around in the thing, every third time in the topic
    for place in range(first, rows.shape[1]):
        level = np.where(rng.random(len(queries)) < 1 / 3, 2, 3)
        drawn = places.draw(rng, up(queries.concepts, level))
        found = (drawn if owners is None else owners[drawn]).astype(np.int32)
        twice = (rows[:, :place] == found[:, None]).any(axis=1)
        rows[:, place] = np.where(twice, ABSENT, found)
        scores[:, place] = (
            rates.BROWSED_SCORE * rng.random(len(queries), dtype=np.float32)
            + np.float32(rates.ENGINE_POPULARITY) * prior_N[found]
        )


def related_queries(rng: np.random.Generator, queries: Queries, number: int) -> Candidates:
    """Queries offered beside each query: by popularity in its leaf, thing or topic, of its own language mostly."""
    places = Places(queries.concepts, queries.popularity)
    rows = np.full((len(queries), number), ABSENT, np.int32)
    own = np.arange(len(queries))
    for place in range(number):
        level = np.where(place % 3 == 0, 4, np.where(place % 3 == 1, 3, 2))
        found = places.draw(rng, up(queries.concepts, level))
        for _ in range(3):
            foreign = np.flatnonzero(_language(queries)[found] != _language(queries))
            found[foreign] = places.draw(rng, up(queries.concepts.take(foreign), level))
        twice = (rows[:, :place] == found[:, None]).any(axis=1) | (found == own)
        rows[:, place] = np.where(twice, ABSENT, found)
    return Candidates(rows, rng.random(rows.shape, dtype=np.float32))


def in_blocks(work: Callable[[int, int], None], number: int, block: int, threads: int) -> None:
    """Call `work(start, stop)` for blocks of `number` rows; each block writes its own rows, whoever does it."""
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        for done in [pool.submit(work, start, min(start + block, number)) for start in range(0, number, block)]:
            done.result()


def _language(queries: Queries) -> IntArray:
    """0 for English, 1 for French, 2 for German."""
    return np.array([0, 0, 1, 2], np.int32)[queries.locales]


def _index(pairs: npt.NDArray[np.int64], rank_N: IntArray) -> tuple[npt.NDArray[np.int64], IntArray, FloatArray]:
    """Offsets of words, their entities by popularity (`POSTINGS` at most), inverse document frequencies."""
    words = phrasebook().number_of_words
    entity, word = pairs // words, pairs % words
    order = np.argsort(word * np.int64(len(rank_N)) + rank_N[entity], kind="stable")
    document, word = rank_N[entity[order]], word[order]
    starts = np.searchsorted(word, np.arange(words + 1))
    counts = np.diff(starts)
    kept = np.arange(len(word)) - starts[word] < rates.POSTINGS
    offsets = np.concatenate([[0], np.cumsum(np.minimum(counts, rates.POSTINGS))])
    idf = np.log(1 + len(rank_N) / np.maximum(counts, 1)).astype(np.float32)
    return offsets.astype(np.int64), document[kept].astype(np.int32), idf


@compiled
def _match(
    start: int,
    stop: int,
    query_offsets: npt.NDArray[np.int64],
    query_words: IntArray,
    query_weights: FloatArray,
    offsets: npt.NDArray[np.int64],
    documents: IntArray,
    idf: FloatArray,
    prior_N: FloatArray,
    seed: np.uint64,
    popularity: float,
    jitter: float,
    matched: int,
    rows: IntArray,
    scores: FloatArray,
) -> None:
    """Write the best `matched` entities of queries `start` to `stop` and their scores."""
    total_N = np.zeros(len(prior_N), np.float32)
    touched = np.empty(len(prior_N), np.int32)
    best_rows = np.empty(matched, np.int32)
    best = np.empty(matched, np.float32)
    for query in range(start, stop):
        count = 0
        all_idf = np.float32(0)
        for at in range(query_offsets[query], query_offsets[query + 1]):
            word = query_words[at]
            gain = query_weights[at] * idf[word]
            if query_weights[at] == 1:
                all_idf += gain
            for posting in range(offsets[word], offsets[word + 1]):
                document = documents[posting]
                if total_N[document] == 0:
                    touched[count] = document
                    count += 1
                total_N[document] += gain
        kept = 0
        for place in range(count):
            document = touched[place]
            # synonyms may add up to more than the query's own words: a full match is a full match
            words = min(total_N[document] / all_idf, np.float32(1)) if all_idf > 0 else np.float32(0)
            total_N[document] = 0
            score = (1 - popularity) * words + popularity * prior_N[document]
            if kept == matched and score + jitter <= best[kept - 1]:
                continue  # chance cannot help it
            noise = np.uint64(document) * np.uint64(0x9E3779B97F4A7C15)
            noise = noise ^ (np.uint64(query) * np.uint64(0xC2B2AE3D27D4EB4F)) ^ seed
            noise = (noise ^ (noise >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            noise = noise ^ (noise >> np.uint64(27))
            score += jitter * np.float32(noise >> np.uint64(40)) / np.float32(16777216)
            if kept < matched:
                kept += 1
            elif score <= best[kept - 1]:
                continue
            at = kept - 1
            while at > 0 and best[at - 1] < score:
                best[at] = best[at - 1]
                best_rows[at] = best_rows[at - 1]
                at -= 1
            best[at] = score
            best_rows[at] = document
        for place in range(kept):
            rows[query, place] = best_rows[place]
            scores[query, place] = best[place]
