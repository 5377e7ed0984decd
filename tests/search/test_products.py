"""Quick products stay within their bounds; counting in a table of scores finds what it must."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.search.bounds import error_bounds, extents
from omnifeat.search.counting import Found, count_block, count_on_device, order_bfloat16
from omnifeat.search.exact import exact_scores
from omnifeat.search.int16 import TILE, int16_products, pack_candidates
from omnifeat.search.products import PRODUCTS, make_product, quickest_product


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(1, 70), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_int16_products_are_exact(groups, rows, half, seed) -> None:
    rng = np.random.default_rng(seed)
    queries = rng.integers(-32767, 32768, (4 * groups, 2 * half)).astype(np.int16)
    vectors = rng.integers(-800, 801, (rows, 2 * half)).astype(np.int16)
    packed = np.empty((-(-rows // TILE), half, TILE, 2), np.int16)
    pack_candidates(vectors, packed)
    scores = np.full((4 * groups, len(packed) * TILE), -1, np.int32)
    int16_products(queries, packed, 0, len(packed), scores)
    assert (scores[:, :rows] == queries.astype(np.int64) @ vectors.astype(np.int64).T).all()
    assert not scores[:, rows:].any()


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("case", ["unit", "lengths", "axes", "long"])
def test_nothing_that_is_certain_is_wrong(product: str, case: str) -> None:
    """Every pair of a query and a candidate as a limit of its own: limits at the exact score leave it open."""
    rng = np.random.default_rng(3)
    queries, vectors = rng.standard_normal((2, 30, 50)).astype(np.float32)
    if case == "lengths":
        vectors *= np.exp(rng.uniform(-20, 20, (30, 1))).astype(np.float32)
    if case == "axes":
        vectors[:] = np.eye(50)[rng.integers(50, size=30)]
        queries[:] = np.eye(50)[rng.integers(50, size=30)]
    if case == "long":  # the largest whole numbers that the sums must hold
        queries[:] = 3e4 * np.sign(queries[:1])
        vectors[:] = queries
    rows = np.repeat(np.arange(30), 30)
    exact = exact_scores(queries, rows, vectors, np.tile(np.arange(30), 30)).astype(np.float64)
    with ThreadPoolExecutor(1) as pool:
        quick = make_product(product, 50, pool)
        prepared, block = quick.queries(queries), quick.block(vectors, *extents(vectors))
        bounds = error_bounds(prepared, block, quick.rounding)[rows]
        open_pairs: set[tuple[int, int]] = set()
        certain = quick.scan(
            prepared, np.arange(30), block, np.arange(0, 901, 30), exact + bounds, exact - bounds,
            lambda pairs, candidates: open_pairs.update(zip(pairs.tolist(), candidates.tolist(), strict=True)),
        )  # fmt: skip
    table = exact.reshape(30, 30)[rows]
    for pair in range(900):
        assert (pair, pair % 30) in open_pairs  # a candidate with exactly the limit's score
        left = {candidate for where, candidate in open_pairs if where == pair}
        assert certain[pair] == sum(table[pair, row] > exact[pair] for row in range(30) if row not in left)


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32])
def test_counts_where_room_runs_out(kind) -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(-9, 9, (4, 50)).astype(kind)
    rows = np.array([0, 0, 1, 3, 3, 3])
    above, below = rng.integers(0, 5, 6).astype(kind), rng.integers(-5, 0, 6).astype(kind)
    certain, found = np.ones(6, np.int64), Found(room=2)
    count_block(scores, rows, above, below, certain, found, first_candidate=100, width=40)
    expected = scores[rows][:, :40]
    assert (certain == 1 + (expected > above[:, None]).sum(axis=1)).all()
    pairs, candidates = np.nonzero((expected >= below[:, None]) & (expected <= above[:, None]))
    assert found.entries()[0].tolist() == pairs.tolist()
    assert found.entries()[1].tolist() == (candidates + 100).tolist()
    arguments = [torch.from_numpy(np.ascontiguousarray(array)) for array in (scores[:, :40], rows, above, below)]
    there = count_on_device(*arguments, pair_block=4)
    assert (there[0] + 1).tolist() == certain.tolist()
    assert there[1].tolist() == pairs.tolist()
    assert there[2].tolist() == candidates.tolist()


def test_bfloat16_bits_in_order() -> None:
    values = torch.tensor([-torch.inf, -3.5, -1e-40, -0.0, 0.0, 1e-40, 1.0, 1.01, torch.inf], dtype=torch.bfloat16)
    bits = values.view(torch.int16).numpy().copy()
    order_bfloat16(bits)
    assert (np.diff(bits) > 0).all()
    assert bits[3:5].tolist() == [-1, 0]


def test_the_quickest_product_is_one_of_them() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert quickest_product(32, pool) in PRODUCTS
