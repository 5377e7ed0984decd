"""The shares of the blocks in the published cosine, chosen on development pairs.

Every mix of tenths is tried, the blocks alone among them, so that what is chosen is never below its best ingredient on
the pairs that it was chosen by. Scores of each block are worked out once, and mixed.

Shape legend: K mixes, B blocks, R queries at a time, N entities of a corpus, P pairs.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnifeat.compiled import compiled
from omnifeat.training.development import DevelopmentPairs, DevelopmentSet, DevelopmentVectors

__all__ = ["BlockShares", "choose_shares"]

Floats = NDArray[np.float32]
_TENTHS = 10
_MOST_PAIRS = 1_000  # of a set: enough to tell mixes apart by a point, and a few seconds
_QUERIES_AT_ONCE = 64


@dataclass(frozen=True)
class BlockShares:
    """What was chosen, by what.

    Attributes
    ----------
    shares
        Block -> share of the cosine; blocks with no share are left out.
    recall, recall_new
        Recall@10 of the mix that was chosen, as a mean over the sets: of all pairs, and of pairs that were not trained
        on with the query's training positives left out of the corpus (null where there are none).
    """

    shares: dict[str, float]
    recall: float
    recall_new: float | None


def choose_shares(development: DevelopmentSet, vectors: DevelopmentVectors, *, seed: int) -> BlockShares:
    """The mix whose mean of both kinds of recall is highest, among those below no single block in either.

    Where no mix is at least as good as every single block in both, the highest mean alone decides. Sets whose entities
    have one block alone (existing embeddings) don't take part. At most `_MOST_PAIRS` pairs of a set are looked at,
    drawn with the seed.
    """
    names = list(vectors.queries)
    mixes = [mix for mix in itertools.product(range(_TENTHS + 1), repeat=len(names)) if sum(mix) == _TENTHS]
    # of equal mixes the first counts: the one of fewest blocks, and then the one with most of the first
    mixes.sort(key=lambda mix: (-mix.count(0), [-tenths for tenths in mix]))
    mixes_KB = np.asarray(mixes, np.float32) / _TENTHS
    generator = np.random.default_rng([seed, 3])
    of_all, of_new = [], []
    for pairs in development.pairs:
        corpus = vectors.corpora[pairs.entity_type, pairs.encoder]
        if list(corpus) != names:
            continue
        size = min(_MOST_PAIRS, len(pairs.queries))
        rows = np.sort(generator.choice(len(pairs.queries), size, replace=False))
        hits_PK, new_hits_PK = _hits(pairs, rows, list(vectors.queries.values()), list(corpus.values()), mixes_KB)
        of_all.append(hits_PK.mean(axis=0))
        if pairs.is_new[rows].any():
            of_new.append(new_hits_PK[pairs.is_new[rows]].mean(axis=0))
    if not of_all:
        return BlockShares({"learned": 1.0}, float("nan"), None)
    recall_K = np.mean(of_all, axis=0)
    new_K = np.mean(of_new, axis=0) if of_new else None
    single_K = mixes_KB.max(axis=1) == 1
    objective_K = recall_K if new_K is None else (recall_K + new_K) / 2
    fits_K = recall_K >= recall_K[single_K].max()
    if new_K is not None:
        fits_K &= new_K >= new_K[single_K].max()
    best = int(np.argmax(np.where(fits_K, objective_K, -1.0) if fits_K.any() else objective_K))
    shares = {name: round(float(share), 1) for name, share in zip(names, mixes_KB[best], strict=True) if share > 0}
    return BlockShares(shares, float(recall_K[best]), None if new_K is None else float(new_K[best]))


def _hits(
    pairs: DevelopmentPairs,
    rows: NDArray[np.int64],
    queries: Sequence[Floats],
    corpus: Sequence[Floats],
    mixes_KB: Floats,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each pair of `rows` is among the ten nearest under each mix, bool (P, K): with `excluded` left out, and
    with `known` left out."""
    present_BN = np.stack([(block != 0).any(axis=1) for block in corpus]).astype(np.float32)
    norms_KN = np.sqrt(mixes_KB @ present_BN)
    inverse_KN = np.divide(1, norms_KN, out=np.zeros_like(norms_KN), where=norms_KN > 0)
    hits = np.zeros((len(rows), len(mixes_KB)), np.bool_)
    new_hits = np.zeros_like(hits)
    order = np.argsort(pairs.queries[rows], kind="stable")
    distinct, starts = np.unique(pairs.queries[rows][order], return_index=True)
    ends = np.append(starts[1:], len(order))
    for first in range(0, len(distinct), _QUERIES_AT_ONCE):
        part = slice(first, first + _QUERIES_AT_ONCE)
        scores_BRN = np.stack([of[distinct[part]] @ block.T for of, block in zip(queries, corpus, strict=True)])
        for place, query in enumerate(distinct[part]):
            own = order[starts[first + place] : ends[first + place]]
            positives = pairs.positives[rows[own]]
            scores_BN = np.ascontiguousarray(scores_BRN[:, place])
            for into, left_out in ((hits, pairs.excluded), (new_hits, pairs.known)):
                candidates = left_out.candidates[left_out.offsets[query] : left_out.offsets[query + 1]]
                above_PK = np.zeros((len(own), len(mixes_KB)), np.int64)
                _count_above(scores_BN, mixes_KB, inverse_KN, positives, candidates, above_PK)
                into[own] = above_PK < 10
    return hits, new_hits


@compiled
def _count_above(
    scores_BN: Floats, mixes_KB: Floats, inverse_KN: Floats, positives_P: NDArray[np.int64],
    left_out: NDArray[np.int64], above_PK: NDArray[np.int64],
) -> None:  # fmt: skip
    """Entities that score above each positive under each mix; those left out, and the positive itself, don't count."""
    mixed_N = np.empty(scores_BN.shape[1], np.float32)
    for k in range(len(mixes_KB)):
        mixed_N[:] = 0
        for b in range(scores_BN.shape[0]):
            share = mixes_KB[k, b]
            if share > 0:
                for n in range(len(mixed_N)):
                    mixed_N[n] += share * scores_BN[b, n]
        for n in range(len(mixed_N)):
            mixed_N[n] *= inverse_KN[k, n]
        for p in range(len(positives_P)):
            target = mixed_N[positives_P[p]]
            count = 0
            for n in range(len(mixed_N)):
                count += mixed_N[n] > target
            for place in range(len(left_out)):
                count -= mixed_N[left_out[place]] > target
            above_PK[p, k] = count
