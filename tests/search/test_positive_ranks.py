"""Streamed ranks: against a double loop over scores written out in Python, for every product and block size."""

import itertools
import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.errors import DataError, SettingError
from omnifeat.ranks import Excluded
from omnifeat.search.exact import exact_scores
from omnifeat.search.products import PRODUCTS, TorchProduct
from omnifeat.search.ranks import CorpusBlock, RankedPairs, positive_ranks


def score(query, vector) -> float:
    """The definition of the exact score, one Python float at a time."""
    lanes = [0.0] * 8
    for place, (left, right) in enumerate(zip(query.tolist(), vector.tolist(), strict=True)):
        lanes[place % 8] += left * right
    total = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
    return struct.unpack("f", struct.pack("f", total))[0]


def plain_ranks(queries, ids, vectors, pairs, excluded, corpus):
    """The definition of the rank, word for word; `corpus` are rows of `ids` that are candidates."""
    ranks = []
    for query, positive in pairs:
        mine = score(queries[query], vectors[positive])
        before = 0
        for row in corpus:
            if row == positive or (query, row) in excluded:
                continue
            other = score(queries[query], vectors[row])
            before += other > mine or (other == mine and ids[row].encode() < ids[positive].encode())
        ranks.append(before + 1)
    return ranks


def streamed(queries, ids, vectors, pairs, excluded, corpus, cuts=(), **options):
    known = sorted({row for _, row in pairs} | {row for _, row in excluded})
    place = {row: index for index, row in enumerate(known)}
    pair_queries, positives = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    left_out = np.array([(query, place[row]) for query, row in sorted(excluded)], np.int64).reshape(-1, 2)
    ranked = RankedPairs(
        queries,
        pa.array([ids[row] for row in known], pa.string()),
        vectors[known],
        pair_queries,
        np.array([place[row] for row in positives.tolist()], np.int64),
        Excluded.from_pairs(left_out[:, 0], left_out[:, 1], len(queries)) if excluded else None,
    )
    bounds = [0, *sorted(cuts), len(corpus)]
    blocks = (
        CorpusBlock(pa.array([ids[row] for row in corpus[start:stop]], pa.string()), vectors[corpus[start:stop]])
        for start, stop in itertools.pairwise(bounds)
    )
    return positive_ranks(ranked, blocks, **({"threads": 2} | options))


def make_vectors(rng, kind: str, rows: int, width: int):
    if kind == "whole numbers":  # many exact ties
        return rng.integers(-2, 3, (rows, width)).astype(np.float32)
    if kind == "near ties":  # within the error of every quick product, and of float32 sums
        centre = rng.standard_normal(width)
        noise = rng.standard_normal((rows, width)) * 10.0 ** rng.integers(-8, -2, (rows, 1))
        vectors = (centre / np.linalg.norm(centre) + noise).astype(np.float32)
        vectors[rng.random(rows) < 0.3] = vectors[0]
        return vectors
    if kind == "lengths":
        return (rng.standard_normal((rows, width)) * 10.0 ** rng.integers(-18, 17, (rows, 1))).astype(np.float32)
    if kind == "tiny":  # products and sums that underflow
        return (rng.standard_normal((rows, width)) * 1e-22).astype(np.float32)
    vectors = rng.standard_normal((rows, width))
    vectors[rng.random(rows) < 0.2] = 0
    vectors[rng.random(rows) < 0.2] = np.eye(width)[0]
    return vectors.astype(np.float32)


@settings(deadline=None, max_examples=120)
@given(st.data())
def test_ranks_equal_the_definition(data) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    width = data.draw(st.sampled_from([1, 2, 7, 8, 17, 64]))
    query_count, count = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 40))
    kind = data.draw(st.sampled_from(["whole numbers", "near ties", "lengths", "tiny", "zeros and axes"]))
    vectors = make_vectors(rng, kind, count + query_count, width)
    queries, vectors = vectors[:query_count], vectors[query_count:]
    ids = rng.permutation([f"{chr(97 + n % 3)}é{n}" for n in range(count)]).tolist()
    pairs = sorted({(int(rng.integers(query_count)), int(rng.integers(count))) for _ in range(rng.integers(1, 12))})
    excluded = {pair for pair in pairs if data.draw(st.booleans())}
    excluded |= {(int(rng.integers(query_count)), int(rng.integers(count))) for _ in range(rng.integers(0, 5))}
    corpus = rng.permutation(count)[: data.draw(st.integers(0, count))].tolist()
    expected = plain_ranks(queries, ids, vectors, pairs, excluded, corpus)
    options = {
        "product": data.draw(st.sampled_from(PRODUCTS)),
        "block_rows": data.draw(st.sampled_from([1, 3, 16, 17, 1000])),
        "cuts": data.draw(st.lists(st.integers(0, len(corpus)), max_size=3)),
    }
    result = streamed(queries, ids, vectors, pairs, excluded, corpus, **options)
    assert result.ranks.tolist() == expected
    assert result.candidates == len(corpus)
    assert result.compared == len({query for query, _ in pairs}) * len(corpus)
    most = data.draw(st.integers(1, 8))
    clipped = streamed(queries, ids, vectors, pairs, excluded, corpus, most=most, **options)
    assert clipped.ranks.tolist() == [min(rank, most + 1) for rank in expected]
    assert clipped.compared <= result.compared


def test_golden_ranks() -> None:
    # Query (1, 0): d 1.0, a and b 0.5, c 0.
    queries, vectors = np.array([[1, 0]], np.float32), np.array([[0.5, 9], [0.5, -9], [1, 0], [0, 1]], np.float32)
    pairs = [(0, row) for row in range(4)]
    for product in PRODUCTS:
        ranks = streamed(queries, ["b", "a", "d", "c"], vectors, pairs, set(), [0, 1, 2, 3], product=product).ranks
        assert ranks.tolist() == [3, 2, 1, 4]
        # d does not count: what is behind it moves up, d keeps a rank of its own
        without = streamed(queries, ["b", "a", "d", "c"], vectors, pairs, {(0, 2)}, [0, 1, 2, 3], product=product)
        assert without.ranks.tolist() == [2, 1, 1, 3]


def test_exact_score_by_hand() -> None:
    # 2^-24 is half a step of float32 at 1: the sum 1 + 2^-24 rounds to even, 1 + 2^-24 + 2^-40 rounds up
    small, tiny = 2.0**-24, 2.0**-40
    queries = np.array([[1, 1, 1], [1, 1, 0]], np.float32)
    vectors = np.array([[1, small, tiny]], np.float32)
    assert exact_scores(queries, np.array([0, 1]), vectors, np.array([0, 0])).tolist() == [1 + 2.0**-23, 1.0]


@pytest.mark.parametrize("product", PRODUCTS)
def test_larger_blocks_of_clustered_vectors(product: str) -> None:
    """More rows than one table of scores, and pairs of one query: all products and the plain sort agree."""
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((20, 32))
    vectors = (centres[rng.integers(20, size=3000)] + 0.4 * rng.standard_normal((3000, 32))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[100:160] = vectors[100]  # duplicates
    queries = vectors[:210] + np.float32(0.05) * rng.standard_normal((210, 32)).astype(np.float32)
    ids = [f"{n:05d}" for n in rng.permutation(3000)]
    pairs = [(query, row) for query in range(210) for row in (query, int(rng.integers(3000)))]
    result = streamed(queries, ids, vectors, pairs, set(), list(range(3000)), cuts=(700, 2999), product=product)
    rows = np.arange(3000)
    for rank, (query, positive) in zip(result.ranks.tolist(), pairs, strict=True):
        scores = exact_scores(queries, np.full(3000, query), vectors, rows)
        key = [(-value, name) for value, name in zip(scores.tolist(), ids, strict=True)]
        assert rank == 1 + sum(other < key[positive] for other in key)
    assert result.borderline < 0.05 * result.compared


@pytest.mark.parametrize("product", ["bfloat16", "float32"])
@pytest.mark.parametrize("most", [None, 3])
def test_counting_as_on_an_accelerator(product: str, most: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's own counting, which an accelerator uses, gives the ranks that the compiled loop gives."""
    rng = np.random.default_rng(2)
    vectors = make_vectors(rng, "near ties", 700, 24)
    vectors[350:] = make_vectors(rng, "zeros and axes", 350, 24)
    ids, pairs = [str(n) for n in range(700)], [(int(query), int(row)) for query, row in rng.integers(0, 300, (900, 2))]
    arguments = (vectors[200:500], ids, vectors, sorted(set(pairs)), set(), list(range(700)))
    expected = streamed(*arguments, product="int16", most=most).ranks.tolist()
    monkeypatch.setattr(TorchProduct, "_count", TorchProduct._count_there)
    assert streamed(*arguments, product=product, most=most).ranks.tolist() == expected


def test_hopeless_pairs_are_left_out_early() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((4000, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [str(n) for n in range(4000)]
    pairs = [(0, int(np.argmin(vectors @ vectors[0]))), (1, 1)]
    ranks = streamed(vectors[:2], ids, vectors, pairs, set(), list(range(4000)), most=5)
    assert ranks.ranks.tolist() == [6, 1]
    # the first query only in the first block of 1,024
    assert ranks.compared == 4000 + 1024


def test_bad_input_is_refused() -> None:
    vectors = np.eye(3, dtype=np.float32)
    good = (["a", "b", "c"], vectors, [(0, 0)], set(), [0, 1, 2])
    bad = vectors.copy()
    bad[1, 2] = np.nan
    with pytest.raises(DataError, match="candidate 'b' holds NaN or infinity"):
        streamed(vectors, ["a", "b", "c"], bad, [(0, 0)], set(), [0, 1, 2])
    with pytest.raises(DataError, match="query 1 holds NaN or infinity"):
        streamed(bad, *good)
    bad[1, 2] = 3e18
    with pytest.raises(DataError, match="candidate 'b' is longer than 1e18"):
        streamed(vectors, ["a", "b", "c"], bad, [(0, 0)], set(), [0, 1, 2])
    with pytest.raises(DataError, match="null or stands twice"):
        streamed(vectors, ["a", "a", "c"], vectors, [(0, 0), (1, 1)], set(), [2])
    with pytest.raises(DataError, match="row 3 of the corpus has a null id"):
        streamed(vectors, ["a", "b", None], vectors, [(0, 0)], set(), [0, 1, 2])
    ranked = RankedPairs(vectors, pa.array(["a"]), vectors[:1], np.array([0]), np.array([0]))
    with pytest.raises(DataError, match="one vector of width 3"):
        positive_ranks(ranked, [CorpusBlock(pa.array(["a"]), vectors[:1, :2])])
    for options, said in (
        ({"most": 0}, "most must be 1 or more"),
        ({"block_rows": 0}, "block_rows must be 1 or more"),
        ({"product": "int8"}, "there is no product 'int8'"),
        ({"product": "int16", "device": "cuda"}, "int16 is for processors"),
    ):
        with pytest.raises(SettingError, match=said):
            streamed(vectors, *good, **options)
