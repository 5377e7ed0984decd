"""The shares of the blocks in the published cosine, chosen on development pairs.

Every mix of tenths is tried, the blocks alone among them. What counts is the mean of two figures: Recall@10 of all
pairs, and of pairs that were not trained on with the query's training positives left out of the corpus. So what is
chosen is never below its best ingredient on the pairs that it was chosen by. Scores of each block are worked out once,
and mixed.

Shape legend: K mixes, B blocks, R queries at a time, N entities of a corpus, P pairs.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnifeat.compiled import compiled
from omnifeat.ranks import Excluded
from omnifeat.training.development import DevelopmentPairs, DevelopmentSet, DevelopmentVectors

__all__ = ["PUBLISHED", "BlockShares", "choose_shares"]

Floats = NDArray[np.float32]
PUBLISHED = "published"
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
    recall
        Each block alone, the fixed ones together where there are several, and `published` -> Recall@10 by set and as
        `mean` over the sets, and the same under `new_SET` and `new_mean` for pairs that were not trained on.
    """

    shares: dict[str, float]
    recall: dict[str, dict[str, float]]


def choose_shares(development: DevelopmentSet, vectors: DevelopmentVectors, *, seed: int) -> BlockShares:
    """The mix whose mean of both kinds of recall is highest.

    Sets whose entities have one block alone (existing embeddings) don't take part. At most `_MOST_PAIRS` pairs of a set
    are looked at, drawn with the seed.
    """
    names = list(vectors.queries)
    mixes = [mix for mix in itertools.product(range(_TENTHS + 1), repeat=len(names)) if sum(mix) == _TENTHS]
    # of equal mixes the first counts: the one of fewest blocks, and then the one with most of the first
    mixes.sort(key=lambda mix: (-mix.count(0), [-tenths for tenths in mix]))
    mixes_KB = np.asarray(mixes, np.float32) / np.float32(_TENTHS)
    generator = np.random.default_rng([seed, 3])
    found: dict[str, NDArray[np.float64]] = {}  # set, or `new_SET` -> (K,)
    for pairs in development.pairs:
        corpus = vectors.corpora[pairs.entity_type, pairs.encoder]
        if list(corpus) != names:
            continue
        size = min(_MOST_PAIRS, len(pairs.queries))
        rows = np.sort(generator.choice(len(pairs.queries), size, replace=False))
        hits_PK, new_hits_PK = _hits(pairs, rows, list(vectors.queries.values()), list(corpus.values()), mixes_KB)
        found[pairs.name] = hits_PK.mean(axis=0)
        if pairs.is_new[rows].any():
            found[f"new_{pairs.name}"] = new_hits_PK[pairs.is_new[rows]].mean(axis=0)
    if not found:
        return BlockShares({"learned": 1.0}, {})
    for prefix in ("", "new_"):
        of_kind = [figures for name, figures in found.items() if name.startswith("new_") == bool(prefix)]
        if of_kind:
            found[f"{prefix}mean"] = np.mean(of_kind, axis=0)
    best = int(np.argmax(np.mean([found[name] for name in ("mean", "new_mean") if name in found], axis=0)))
    told = {name: tuple(_TENTHS * (name == other) for other in names) for name in names}
    fixed = [name for name in names if name != "learned"]
    if len(fixed) > 1:
        told[" and ".join(fixed)] = tuple(_TENTHS // len(fixed) * (name in fixed) for name in names)
    told[PUBLISHED] = mixes[best]
    shares = {name: tenths / _TENTHS for name, tenths in zip(names, mixes[best], strict=True) if tenths}
    recall = {
        label: {name: float(figures[mixes.index(mix)]) for name, figures in found.items()}
        for label, mix in told.items()
    }
    return BlockShares(shares, recall)


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
    inverse_KN = np.divide(np.float32(1), norms_KN, out=np.zeros_like(norms_KN), where=norms_KN > 0)
    above = np.zeros((2, len(rows), len(mixes_KB)), np.int64)
    order = np.argsort(pairs.queries[rows], kind="stable")
    distinct, starts = np.unique(pairs.queries[rows][order], return_index=True)
    ends = np.append(starts[1:], len(order))
    for first in range(0, len(distinct), _QUERIES_AT_ONCE):
        part = slice(first, first + _QUERIES_AT_ONCE)
        scores_BRN = np.stack([of[distinct[part]] @ block.T for of, block in zip(queries, corpus, strict=True)])
        for place, query in enumerate(distinct[part]):
            own = order[starts[first + place] : ends[first + place]]
            excluded, known = (_of_query(each, int(query)) for each in (pairs.excluded, pairs.known))
            counts_2PK = np.zeros((2, len(own), len(mixes_KB)), np.int64)
            scores_BN = np.ascontiguousarray(scores_BRN[:, place])
            _count_above(scores_BN, mixes_KB, inverse_KN, pairs.positives[rows[own]], excluded, known, counts_2PK)
            above[:, own] = counts_2PK
    return above[0] < 10, above[1] < 10


def _of_query(left_out: Excluded, query: int) -> NDArray[np.int64]:
    found: NDArray[np.int64] = left_out.candidates[left_out.offsets[query] : left_out.offsets[query + 1]]
    return found


@compiled
def _count_above(
    scores_BN: Floats, mixes_KB: Floats, inverse_KN: Floats, positives_P: NDArray[np.int64],
    excluded: NDArray[np.int64], known: NDArray[np.int64], above_2PK: NDArray[np.int64],
) -> None:  # fmt: skip
    """Entities that score above each positive under each mix, but for those excluded, and but for those known."""
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
            above_2PK[:, p, k] = count
            for place in range(len(excluded)):
                above_2PK[0, p, k] -= mixed_N[excluded[place]] > target
            for place in range(len(known)):
                above_2PK[1, p, k] -= mixed_N[known[place]] > target
