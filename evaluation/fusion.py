"""Reciprocal rank fusion (RRF) of several systems, and exact ranks of positives under it.

    fused(e) = sum over systems s of  w_s / (k + rank_s(e))

with k = 60 and weights of 1 unless others are given (Cormack, Clarke and Buettcher, 2009). The rank of a positive p
under fusion follows from whole rankings: the candidates are p and every entity of the corpus that counts for the query,
each system ranks all of them (the highest score first, equal ones by id), and p stands behind those whose fused value
is higher, or equal with a smaller id. What doesn't count, such as the query's other positives, stands in no ranking. So
rank_s(p) is the rank that the system has by itself.

A ranking is made once a query and system. What does not count is passed over while it is read, and a positive that is
outside what counts is put in at its place: candidates from there on stand one place lower. Memory is the scores of a
block of queries, and two numbers an entity and system for each thread.

Shape suffixes: S systems, Q queries, N entities, P pairs, B queries of a block, V corpora, W sets of weights.
"""

from collections.abc import Callable, Iterator, Sequence

import numba
import numpy as np
import numpy.typing as npt

from evaluation.baselines import Row
from evaluation.recall import EvaluationPairs, check_finite
from omnifeat.errors import SettingError
from omnifeat.ranks import Excluded, id_order

__all__ = ["RRF_K", "fused_ranks", "score_together"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

RRF_K = 60.0
"""Of the paper that introduced RRF, chosen there on TREC runs; most search engines have kept it."""

_BLOCK_BYTES = 64 * 1024 * 1024


def score_together(
    rows: Sequence[Row], query_count: int, block_bytes: int = _BLOCK_BYTES
) -> Iterator[tuple[int, list[FloatArray]]]:
    """(first query, scores (B, N) of each row) for all queries; the scores of a block take at most `block_bytes`."""
    size = max(1, block_bytes // (4 * max(1, sum(row.width for row in rows))))
    for start in range(0, query_count, size):
        stop = min(query_count, start + size)
        yield start, [row.score(start, stop) for row in rows]


def fused_ranks(
    blocks: Iterator[tuple[int, list[FloatArray]]],
    pairs: EvaluationPairs,
    exclusions: Sequence[Excluded],
    weights: Sequence[Sequence[float]],
    *,
    k: float = RRF_K,
    on_block: Callable[[int], None] | None = None,
) -> IntArray:
    """Exact ranks of the positives under fusion: int64 (V, W, P), from 1.

    Parameters
    ----------
    blocks
        (first query, scores (B, N) of each of S systems), covering every query that has a pair.
    pairs
        What is ranked, and among what.
    exclusions
        V sets of entities that don't count, as in `evaluation.recall.ranks_by_corpus`.
    weights
        W sets of S weights, none below 0.
    k
        Of the formula; the smaller, the more the first places weigh.

    Raises
    ------
    SettingError
        If `k` or a weight is not what it must be.
    DataError
        If a score is NaN or infinite.
    """
    weights_WS = np.array(weights, dtype=np.float64, ndmin=2)
    if not np.isfinite(weights_WS).all() or (weights_WS < 0).any() or not (weights_WS > 0).any(axis=1).all():
        raise SettingError(f"weights of a fusion must be 0 or more, and one above 0; got {weights_WS.tolist()}")
    if not (np.isfinite(k) and k >= 0):
        raise SettingError(f"k of a fusion must be a number of 0 or more, got {k}")
    by_id = np.argsort(id_order(pairs.entity_ids))  # columns in the order of ids, by which equal scores are ordered
    place_N = np.empty(len(by_id), dtype=np.int64)
    place_N[by_id] = np.arange(len(by_id))
    inside = pairs.in_corpus[by_id]
    positives_P = place_N[pairs.pair_positives]
    lengths = np.cumsum([0, *(len(one.candidates) for one in exclusions)])
    offsets_VQ = np.stack([one.offsets + first for one, first in zip(exclusions, lengths[:-1], strict=True)])
    left_out = place_N[np.concatenate([one.candidates for one in exclusions])]
    ranks_VWP = np.zeros((len(exclusions), len(weights_WS), len(positives_P)), dtype=np.int64)
    for start, scores in blocks:
        for scores_BN in scores:
            check_finite(start, scores_BN, pairs)
        count = len(scores[0])
        starts = np.searchsorted(pairs.pair_queries, np.arange(start, start + count + 1))
        order_SBN = np.stack([_order(scores_BN[:, by_id]) for scores_BN in scores])
        of_block = slice(int(starts[0]), int(starts[-1]))
        ranks_VWP[:, :, of_block] = _ranks(
            order_SBN, inside, starts - starts[0], positives_P[of_block], offsets_VQ[:, start : start + count + 1],
            left_out, weights_WS, float(k),
        )  # fmt: skip
        if on_block is not None:
            on_block(count)
    return ranks_VWP


def _order(scores_BN: FloatArray) -> npt.NDArray[np.uint32]:
    """Columns uint32 (B, N) from the highest score to the lowest, equal ones in their order.

    Sorts whole numbers: the bits of a score, turned so that they fall as it rises, before the column. That takes a
    fifth of the time of a stable argsort.
    """
    bits = (scores_BN.astype(np.float32) + np.float32(0)).view(np.uint32)  # + 0 makes one zero of two
    falling = np.where(bits >> np.uint32(31), bits, bits ^ np.uint32(0x7FFFFFFF))
    keys = falling.astype(np.uint64) << np.uint64(32)
    keys |= np.arange(scores_BN.shape[1], dtype=np.uint64)
    keys.sort(axis=1)
    return keys.astype(np.uint32)


@numba.njit(parallel=True, nogil=True, cache=True)
def _ranks(order_SBN, inside_N, starts_B, positives, offsets_VB, left_out, weights_WS, k):  # type: ignore[no-untyped-def]
    """Ranks int64 (V, W, pairs of the block); columns stand in the order of ids."""
    systems, queries, entities = order_SBN.shape
    ranks = np.zeros((len(offsets_VB), len(weights_WS), len(positives)), dtype=np.int64)
    for query in numba.prange(queries):
        first, last = starts_B[query], starts_B[query + 1]
        rank_SN = np.empty((systems, entities), dtype=np.float64)  # whole numbers, ready to be divided by
        terms = np.empty(systems, dtype=np.float64)
        for corpus in range(len(offsets_VB)):
            counts = inside_N.copy()
            for index in range(offsets_VB[corpus, query], offsets_VB[corpus, query + 1]):
                counts[left_out[index]] = False
            for system in range(systems):
                place = 1  # of what counts; of the rest where it would be put in
                for entity in order_SBN[system, query]:
                    rank_SN[system, entity] = place
                    place += counts[entity]
            for number in range(len(weights_WS)):
                for pair in range(first, last):
                    ranks[corpus, number, pair] = _rank(rank_SN, counts, positives[pair], weights_WS[number], k, terms)
    return ranks


@numba.njit(nogil=True, cache=True)
def _rank(rank_SN, counts, positive, weights, k, terms):  # type: ignore[no-untyped-def]
    """Rank of one positive among what counts; `terms` is room for a number a system."""
    systems, entities = rank_SN.shape
    put_in = not counts[positive]
    for system in range(systems):
        terms[system] = weights[system] / (k + rank_SN[system, positive])
    own = _sum(terms)
    rank = 1
    if systems == 2:  # as below, without the room, and several candidates at once
        place_0, place_1 = rank_SN[0, positive], rank_SN[1, positive]
        ranks_0, ranks_1, weight_0, weight_1 = rank_SN[0], rank_SN[1], weights[0], weights[1]
        moved = 1.0 if put_in else 0.0
        for candidate in range(entities):
            first, second = ranks_0[candidate], ranks_1[candidate]
            first += moved if first >= place_0 else 0.0
            second += moved if second >= place_1 else 0.0
            other = weight_0 / (k + first) + weight_1 / (k + second)
            before = (other > own) | ((other == own) & (candidate < positive))
            rank += 1 if before & counts[candidate] else 0
        # the positive itself, where it counts, is neither higher nor before itself by id
        return rank
    for candidate in range(entities):
        if not counts[candidate] or candidate == positive:
            continue
        for system in range(systems):
            place = rank_SN[system, candidate]
            if put_in and place >= rank_SN[system, positive]:
                place += 1
            terms[system] = weights[system] / (k + place)
        other = _sum(terms)
        if other > own or (other == own and candidate < positive):
            rank += 1
    return rank


@numba.njit(nogil=True, cache=True)
def _sum(terms):  # type: ignore[no-untyped-def]
    """Their sum, the smallest first: the same terms give the same sum, whichever system each is of. Sorts them."""
    for index in range(1, len(terms)):
        term, place = terms[index], index
        while place > 0 and terms[place - 1] > term:
            terms[place] = terms[place - 1]
            place -= 1
        terms[place] = term
    total = 0.0
    for term in terms:
        total += term
    return total
