import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnifeat.models.hash_embedding import HashEmbedding, hash_rows, plain_bag_sums
from omnifeat.models.hashed_bags import hashed_bag_sums


def parts_of(
    vocabulary: int, rows: int, width: int, hashes: int, lengths: list[int], seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(rows, width, generator=generator, requires_grad=True)
    importance = torch.randn(vocabulary, hashes, generator=generator, requires_grad=True)
    token_rows = torch.from_numpy(hash_rows(vocabulary, rows, hashes, seed))
    ids = torch.randint(vocabulary, (sum(lengths),), generator=generator)
    return table, importance, token_rows, ids, torch.from_numpy(np.cumsum([0, *lengths]))


def with_gradients(sums: Tensor, table: Tensor, importance: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    out = torch.randn(sums.shape, generator=torch.Generator().manual_seed(seed))
    of_table, of_importance = torch.autograd.grad((sums * out).sum(), (table, importance))
    return sums.detach(), of_table, of_importance


@settings(max_examples=40)
@given(
    vocabulary=st.integers(1, 60),
    rows=st.integers(1, 40),
    width=st.integers(1, 20),
    hashes=st.integers(1, 3),
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=30),
    seed=st.integers(0, 2**16),
)
def test_sums_and_gradients_are_those_of_the_plain_version(
    vocabulary: int, rows: int, width: int, hashes: int, lengths: list[int], seed: int
) -> None:
    parts = parts_of(vocabulary, rows, width, hashes, lengths, seed)
    fast = with_gradients(hashed_bag_sums(*parts), parts[0], parts[1], seed)
    plain = with_gradients(plain_bag_sums(*parts), parts[0], parts[1], seed)
    for one, other in zip(fast, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_threads_change_nothing() -> None:
    parts = parts_of(3000, 2000, 24, 2, [40] * 1500, 3)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(with_gradients(hashed_bag_sums(*parts), parts[0], parts[1], 3))
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            assert torch.equal(one, other)


def test_the_embedding_takes_it_for_float32_on_the_cpu_and_torch_for_anything_else() -> None:
    embedding = HashEmbedding(50, 20, 8)
    ids, offsets = torch.arange(50), torch.tensor([0, 20, 20, 50])
    assert "HashedBagSums" in type(embedding(ids, offsets).grad_fn).__name__
    in_double = HashEmbedding(50, 20, 8).double()
    in_double.load_state_dict(embedding.state_dict())
    torch.testing.assert_close(embedding(ids, offsets).double(), in_double(ids, offsets), rtol=1e-5, atol=1e-6)


def test_a_token_outside_the_vocabulary_is_an_error_and_not_a_wrong_read() -> None:
    with pytest.raises(IndexError, match="outside the vocabulary"):
        HashEmbedding(5, 4, 2)(torch.tensor([5]), torch.tensor([0, 1]))
