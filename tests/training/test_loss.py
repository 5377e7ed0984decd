import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnifeat.errors import SettingError
from omnifeat.training.loss import (
    matryoshka_loss,
    negative_masks,
    sampled_softmax_loss,
    sampled_softmax_loss_dense,
)

NONE = torch.zeros(0, dtype=torch.int64)


def unit(*shape: int, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator, dtype=dtype), dim=-1)


def mask_pairs(query_ids: list[int], positive_ids: list[int], negative_ids: list[int]) -> set[tuple[int, int]]:
    rows, columns = negative_masks(torch.tensor(query_ids), torch.tensor(positive_ids), torch.tensor(negative_ids))
    pairs = list(zip(rows.tolist(), columns.tolist(), strict=True))
    assert len(pairs) == len(set(pairs))
    assert pairs == sorted(pairs)
    return set(pairs)


# A batch of four by hand, in two dimensions. Pairs: (q0, a), (q0, b), (q1, a), (q2, c).
#   q0 = (1, 0), q1 = (0, 1), q2 = (1, 0);  a = (1, 0), b = (0, 1), c = (-1, 0);  scale = ln 2, so exp(s) = 2^cosine.
QUERY_IDS = torch.tensor([0, 0, 1, 2])
POSITIVE_IDS = torch.tensor([7, 8, 7, 9])
QUERIES = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
POSITIVES = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
LN2 = torch.tensor(math.log(2.0), dtype=torch.float64)
# Entity a is two of four positives, b and c one of four each.
LOG_Q = torch.tensor([0.5, 0.25, 0.5, 0.25], dtype=torch.float64).log()


def test_golden_masks_in_batch() -> None:
    # Columns are a, b, a, c. Rows 0 and 1 belong to q0, whose positives are a and b: columns 0, 1 and 2, the last one
    # although that a came with q1. Row 2 belongs to q1 with a: columns 0 and 2. Row 3: q2 with c, column 3.
    expected = {(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 2), (3, 3)}
    assert mask_pairs(QUERY_IDS.tolist(), POSITIVE_IDS.tolist(), POSITIVE_IDS.tolist()) == expected


def test_golden_masks_random_negatives() -> None:
    # Random entities b, d, c, a: for q0 both b and a are positives, for q1 only a, for q2 only c.
    expected = {(0, 0), (0, 3), (1, 0), (1, 3), (2, 3), (3, 2)}
    assert mask_pairs(QUERY_IDS.tolist(), POSITIVE_IDS.tolist(), [8, 5, 9, 7]) == expected


@pytest.mark.parametrize("loss", [sampled_softmax_loss, sampled_softmax_loss_dense])
def test_golden_loss(loss: object) -> None:
    # exp(s - log Q) = 2^cosine / Q.
    # Row 0 (q0, a): positive 2^1 / 0.5 = 4.    Unmasked: c: 2^-1 / 0.25 = 2.               -> -log(4 / 6)
    # Row 1 (q0, b): positive 2^0 / 0.25 = 4.   Unmasked: c: 2.                              -> -log(4 / 6)
    # Row 2 (q1, a): positive 2^0 / 0.5 = 2.    b: 2^1 / 0.25 = 8, c: 2^0 / 0.25 = 4.        -> -log(2 / 14)
    # Row 3 (q2, c): positive 2^-1 / 0.25 = 2.  a: 2 / 0.5 = 4, b: 1 / 0.25 = 4, a again: 4. -> -log(2 / 14)
    rows, columns = negative_masks(QUERY_IDS, POSITIVE_IDS, POSITIVE_IDS)
    value = loss(  # type: ignore[operator]
        QUERIES,
        POSITIVES,
        POSITIVES,
        log_q_positive_B=LOG_Q,
        log_q_negative_N=LOG_Q,
        masked_rows=rows,
        masked_columns=columns,
        scale=LN2,
    )
    assert value.item() == pytest.approx((2 * math.log(6 / 4) + 2 * math.log(14 / 2)) / 4, abs=1e-12)


@pytest.mark.parametrize("loss", [sampled_softmax_loss, sampled_softmax_loss_dense])
def test_golden_loss_without_negatives_that_are_too_near(loss: object) -> None:
    # As above, with random negatives a, b, c and no masks; exp(s - log Q) = 2^cosine / Q with Q = 1 for all.
    # Row 1 (q0, b), cosine 0: a is nearer by 1, more than 0.5, and left out; b: 2^0 = 1; c: 2^-1 = 0.5; positive 1.
    #   -> -log(1 / 2.5)
    # Row 0 (q0, a), cosine 1: nothing is nearer. a: 2, b: 1, c: 0.5; positive 2. -> -log(2 / 5.5)
    rows = torch.tensor([0, 1])
    value = loss(  # type: ignore[operator]
        QUERIES[rows],
        POSITIVES[rows],
        POSITIVES[torch.tensor([0, 1, 3])],
        log_q_positive_B=torch.zeros(2, dtype=torch.float64),
        log_q_negative_N=torch.zeros(3, dtype=torch.float64),
        masked_rows=NONE,
        masked_columns=NONE,
        scale=LN2,
        margin=0.5,
    )
    assert float(value) == pytest.approx((math.log(2.5) + math.log(5.5 / 2)) / 2)


def test_golden_gradients() -> None:
    # Row 3 alone: query (1, 0), positive c = (-1, 0); negatives a = (1, 0) with Q 0.5 and b = (0, 1) with Q 0.25.
    # Softmax over (c, a, b) with masses 2, 4, 4: (0.2, 0.4, 0.4).
    # d/dq     = ln2 * (0.2 c + 0.4 a + 0.4 b - c) = ln2 * (0.8 + 0.4, 0.4) = ln2 * (1.2, 0.4)
    # d/dc     = ln2 * (0.2 - 1) q = ln2 * (-0.8, 0);  d/da = d/db = ln2 * 0.4 q = ln2 * (0.4, 0)
    # d/dscale = (0.2 - 1) * (-1) + 0.4 * 1 + 0.4 * 0 = 1.2
    query = QUERIES[3:4].clone().requires_grad_()
    positive = POSITIVES[3:4].clone().requires_grad_()
    negatives = POSITIVES[:2].clone().requires_grad_()
    scale = LN2.clone().requires_grad_()
    sampled_softmax_loss(
        query,
        positive,
        negatives,
        log_q_positive_B=LOG_Q[3:4],
        log_q_negative_N=LOG_Q[:2],
        masked_rows=NONE,
        masked_columns=NONE,
        scale=scale,
    ).backward()  # type: ignore[no-untyped-call]
    ln2 = math.log(2.0)
    torch.testing.assert_close(query.grad, ln2 * torch.tensor([[1.2, 0.4]], dtype=torch.float64))
    torch.testing.assert_close(positive.grad, ln2 * torch.tensor([[-0.8, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(negatives.grad, ln2 * torch.tensor([[0.4, 0.0], [0.4, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(scale.grad, torch.tensor(1.2, dtype=torch.float64))


def test_log_q_sign_popular_negative_is_pushed_away_less() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, positives = unit(16, 8, generator=generator), unit(16, 8, generator=generator)
    negatives = unit(10, 8, generator=generator)
    popular = torch.full((10,), 0.05, dtype=torch.float64)
    popular[0] = 0.55  # entity 0 is drawn eleven times as often as any other

    def push_on_popular(log_q: Tensor) -> float:
        """How strongly gradient descent moves the popular entity away from the mean of the queries."""
        leaf = negatives.clone().requires_grad_()
        sampled_softmax_loss(
            queries,
            positives,
            leaf,
            log_q_positive_B=torch.full((16,), math.log(0.05), dtype=torch.float64),
            log_q_negative_N=log_q,
            masked_rows=NONE,
            masked_columns=NONE,
            scale=torch.tensor(5.0, dtype=torch.float64),
        ).backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        return float(leaf.grad[0].norm())

    corrected = push_on_popular(popular.log())
    uncorrected = push_on_popular(torch.full((10,), 0.05, dtype=torch.float64).log())
    assert 0 < corrected < uncorrected


@st.composite
def batches(draw: st.DrawFn) -> dict[str, object]:
    rows, columns = draw(st.integers(1, 17)), draw(st.integers(0, 13))
    ids = st.integers(0, draw(st.integers(0, 8)))
    return {
        "query_ids": torch.tensor(draw(st.lists(ids, min_size=rows, max_size=rows))),
        "positive_ids": torch.tensor(draw(st.lists(ids, min_size=rows, max_size=rows))),
        "negative_ids": torch.tensor(draw(st.lists(ids, min_size=columns, max_size=columns)), dtype=torch.int64),
        "width": draw(st.integers(1, 9)),
        "block_rows": draw(st.integers(1, 20)),
        "scale": draw(st.floats(0.1, 100.0)),
        "seed": draw(st.integers(0, 2**31)),
    }


def losses_and_gradients(batch: dict[str, object], dtype: torch.dtype) -> list[list[Tensor]]:
    generator = torch.Generator().manual_seed(int(batch["seed"]))  # type: ignore[call-overload]
    query_ids, positive_ids, negative_ids = batch["query_ids"], batch["positive_ids"], batch["negative_ids"]
    assert isinstance(query_ids, Tensor)
    assert isinstance(positive_ids, Tensor)
    assert isinstance(negative_ids, Tensor)
    width = batch["width"]
    vectors = [
        unit(n, width, generator=generator, dtype=dtype)  # type: ignore[arg-type]
        for n in (len(query_ids), len(query_ids), len(negative_ids))
    ]
    rows, columns = negative_masks(query_ids, positive_ids, negative_ids)
    results = []
    for function, extra in (
        (sampled_softmax_loss, {"block_rows": batch["block_rows"]}),
        (sampled_softmax_loss_dense, {}),
    ):
        leaves = [v.clone().requires_grad_() for v in vectors]
        scale = torch.tensor(batch["scale"], dtype=dtype, requires_grad=True)
        generator.manual_seed(1)
        loss = function(  # type: ignore[operator]
            *leaves,
            log_q_positive_B=torch.rand(len(query_ids), generator=generator, dtype=dtype).log(),
            log_q_negative_N=torch.rand(len(negative_ids), generator=generator, dtype=dtype).log(),
            masked_rows=rows,
            masked_columns=columns,
            scale=scale,
            **extra,
        )
        (3.0 * loss).backward()
        results.append([loss.detach(), *(leaf.grad for leaf in leaves), scale.grad])
    return results


@settings(deadline=None, max_examples=80)
@given(batches())
def test_blockwise_equals_dense(batch: dict[str, object]) -> None:
    blockwise, dense = losses_and_gradients(batch, torch.float64)
    for mine, reference in zip(blockwise, dense, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=20)
@given(batches())
def test_blockwise_equals_dense_in_float32(batch: dict[str, object]) -> None:
    blockwise, dense = losses_and_gradients(batch, torch.float32)
    for mine, reference in zip(blockwise, dense, strict=True):
        torch.testing.assert_close(mine, reference, rtol=2e-4, atol=2e-4)


@settings(deadline=None, max_examples=60)
@given(batches())
def test_masks_equal_a_double_loop(batch: dict[str, object]) -> None:
    queries, positives, negatives = (
        batch[name].tolist()  # type: ignore[attr-defined]
        for name in ("query_ids", "positive_ids", "negative_ids")
    )
    pairs = set(zip(queries, positives, strict=True))
    expected = {
        (row, column)
        for row, query in enumerate(queries)
        for column, entity in enumerate(negatives)
        if (query, entity) in pairs
    }
    assert mask_pairs(queries, positives, negatives) == expected


@settings(deadline=None, max_examples=40)
@given(batches(), st.randoms(use_true_random=False))
def test_order_of_pairs_and_negatives_does_not_matter(batch: dict[str, object], random: object) -> None:
    query_ids, positive_ids, negative_ids = batch["query_ids"], batch["positive_ids"], batch["negative_ids"]
    assert isinstance(query_ids, Tensor)
    assert isinstance(positive_ids, Tensor)
    assert isinstance(negative_ids, Tensor)
    generator = torch.Generator().manual_seed(int(batch["seed"]))  # type: ignore[call-overload]
    queries, positives = (unit(len(query_ids), 5, generator=generator) for _ in range(2))
    negatives = unit(len(negative_ids), 5, generator=generator)
    log_q_B = torch.rand(len(query_ids), generator=generator, dtype=torch.float64).log()
    log_q_N = torch.rand(len(negative_ids), generator=generator, dtype=torch.float64).log()

    def loss(rows: list[int], columns: list[int]) -> float:
        masked_rows, masked_columns = negative_masks(query_ids[rows], positive_ids[rows], negative_ids[columns])
        return float(
            sampled_softmax_loss(
                queries[rows],
                positives[rows],
                negatives[columns],
                log_q_positive_B=log_q_B[rows],
                log_q_negative_N=log_q_N[columns],
                masked_rows=masked_rows,
                masked_columns=masked_columns,
                scale=torch.tensor(3.0, dtype=torch.float64),
                block_rows=4,
            )
        )

    rows, columns = list(range(len(query_ids))), list(range(len(negative_ids)))
    before = loss(rows, columns)
    random.shuffle(rows)  # type: ignore[attr-defined]
    random.shuffle(columns)  # type: ignore[attr-defined]
    assert loss(rows, columns) == pytest.approx(before, abs=1e-12)


def test_a_row_with_every_negative_masked_has_loss_zero() -> None:
    loss = sampled_softmax_loss(
        QUERIES[:1],
        POSITIVES[:1],
        POSITIVES[:1],
        log_q_positive_B=LOG_Q[:1],
        log_q_negative_N=LOG_Q[:1],
        masked_rows=torch.tensor([0]),
        masked_columns=torch.tensor([0]),
        scale=LN2,
    )
    assert loss.item() == 0.0


def test_mask_entries_may_repeat_and_come_in_any_order() -> None:
    rows, columns = negative_masks(QUERY_IDS, POSITIVE_IDS, POSITIVE_IDS)
    keywords = {"log_q_positive_B": LOG_Q, "log_q_negative_N": LOG_Q, "scale": LN2, "block_rows": 3}
    plain = sampled_softmax_loss(QUERIES, POSITIVES, POSITIVES, masked_rows=rows, masked_columns=columns, **keywords)
    shuffled = sampled_softmax_loss(
        QUERIES,
        POSITIVES,
        POSITIVES,
        masked_rows=torch.cat([rows.flip(0), rows]),
        masked_columns=torch.cat([columns.flip(0), columns]),
        **keywords,
    )
    assert plain.item() == shuffled.item()


def test_bfloat16_vectors_are_computed_in_float32_and_get_their_gradients_back() -> None:
    generator = torch.Generator().manual_seed(3)
    queries, positives = (unit(8, 16, generator=generator, dtype=torch.float32) for _ in range(2))
    halves = [queries.bfloat16().requires_grad_(), positives.bfloat16().requires_grad_()]
    log_q = torch.zeros(8)
    keywords = {"log_q_positive_B": log_q, "log_q_negative_N": log_q, "masked_rows": NONE, "masked_columns": NONE}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = sampled_softmax_loss(*halves, halves[1], scale=torch.tensor(20.0), **keywords)
    loss.backward()  # type: ignore[no-untyped-call]
    exact = sampled_softmax_loss_dense(
        halves[0].detach().float(), *[halves[1].detach().float()] * 2, scale=torch.tensor(20.0), **keywords
    )
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)
    assert halves[0].grad is not None
    assert halves[0].grad.dtype == torch.bfloat16


def test_masks_of_one_part_of_a_batch_know_the_pairs_of_the_whole() -> None:
    whole = mask_pairs(QUERY_IDS.tolist(), POSITIVE_IDS.tolist(), POSITIVE_IDS.tolist())
    rows, columns = negative_masks(
        QUERY_IDS[1:3], POSITIVE_IDS[1:3], POSITIVE_IDS, pair_query_ids=QUERY_IDS, pair_positive_ids=POSITIVE_IDS
    )
    assert {(row + 1, column) for row, column in zip(rows.tolist(), columns.tolist(), strict=True)} == {
        (row, column) for row, column in whole if row in (1, 2)
    }


def test_matryoshka_weights_losses_of_renormalised_prefixes() -> None:
    generator = torch.Generator().manual_seed(5)
    queries, positives = unit(6, 4, generator=generator), unit(6, 4, generator=generator)
    log_q = torch.zeros(6, dtype=torch.float64)
    keywords = {
        "log_q_positive_B": log_q,
        "log_q_negative_N": log_q,
        "masked_rows": torch.arange(6),
        "masked_columns": torch.arange(6),
        "scale": torch.tensor(7.0, dtype=torch.float64),
    }
    whole = sampled_softmax_loss_dense(queries, positives, positives, **keywords)
    short = [torch.nn.functional.normalize(v[:, :2], dim=1) for v in (queries, positives)]
    prefix = sampled_softmax_loss_dense(short[0], short[1], short[1], **keywords)
    combined = matryoshka_loss(queries, positives, positives, prefixes={2: 0.25}, **keywords)
    assert combined.item() == pytest.approx(whole.item() + 0.25 * prefix.item(), rel=1e-6)
    half = matryoshka_loss(queries, positives, positives, prefixes={4: 0.5}, **keywords)
    assert half.item() == pytest.approx(0.5 * whole.item(), rel=1e-6)
    with pytest.raises(SettingError, match="prefix must be between 1 and the width 4"):
        matryoshka_loss(queries, positives, positives, prefixes={5: 1.0}, **keywords)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_q_positive_B": LOG_Q[:3]}, r"'log_q_positive_B' parameter must have shape \(4,\). Got \(3,\)"),
        ({"log_q_negative_N": LOG_Q[:3]}, "'log_q_negative_N' parameter must have shape"),
        ({"masked_rows": torch.tensor([0])}, "masked_rows and masked_columns must have one length"),
        ({"block_rows": 0}, "'block_rows' parameter must be at least 1"),
    ],
)
def test_shapes_that_do_not_fit(change: dict[str, object], message: str) -> None:
    keywords: dict[str, object] = {
        "log_q_positive_B": LOG_Q,
        "log_q_negative_N": LOG_Q,
        "masked_rows": NONE,
        "masked_columns": NONE,
        "scale": LN2,
        **change,
    }
    with pytest.raises(SettingError, match=message):
        sampled_softmax_loss(QUERIES, POSITIVES, POSITIVES, **keywords)  # type: ignore[arg-type]
