import numpy as np
import pytest
import torch

from omnifeat.models.hash_embedding import HashEmbedding, hash_rows


def splitmix(value: int) -> int:
    """The mixing function once more, in Python's whole numbers."""
    mask = 2**64 - 1
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return value ^ (value >> 31)


def test_hash_functions_are_what_the_docstring_says() -> None:
    golden, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    expected = [
        [splitmix((i * golden + splitmix((7 + (k + 1) * golden) & mask)) & mask) % 1000 for k in range(2)]
        for i in range(50)
    ]
    np.testing.assert_array_equal(hash_rows(50, 1000, 2, seed=7), expected)


def test_hashes_spread_evenly_and_independently() -> None:
    vocabulary, rows = 20_000, 100
    hashed = hash_rows(vocabulary, rows, 2, seed=0)
    for k in range(2):
        counts = np.bincount(hashed[:, k], minlength=rows)
        # 200 a row on average, standard deviation 14: six of them is past chance
        assert abs(counts - 200).max() < 85
    # two independent functions agree on one id in `rows`
    assert 100 < (hashed[:, 0] == hashed[:, 1]).sum() < 300
    assert (hash_rows(vocabulary, rows, 2, seed=1) != hashed).mean() > 0.9


def hand_made(pooling: str) -> HashEmbedding:
    """Three tokens, four rows of width two; token 0 -> rows 0, 1; token 1 -> rows 1, 2; token 2 -> rows 3, 3."""
    embedding = HashEmbedding(3, 4, 2, pooling=pooling)
    embedding.token_rows.copy_(torch.tensor([[0, 1], [1, 2], [3, 3]]))
    embedding.table.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0], [5.0, -1.0]])
    embedding.importance.data = torch.tensor([[1.0, 2.0], [0.5, 1.0], [1.0, -1.0]])
    return embedding


@pytest.mark.parametrize(("pooling", "divisor"), [("sum", 1.0), ("mean", 3.0), ("sqrt", 3.0**0.5)])
def test_golden_values(pooling: str, divisor: float) -> None:
    # token 0: 1 * (1, 0) + 2 * (0, 1)     = (1, 2)
    # token 1: 0.5 * (0, 1) + 1 * (2, 2)   = (2, 2.5)
    # token 2: 1 * (5, -1) - 1 * (5, -1)   = (0, 0)
    # bag 0 = tokens 0, 1, 1 = (5, 7); bag 1 is empty; bag 2 = token 2 = (0, 0)
    bags = hand_made(pooling)(torch.tensor([0, 1, 1, 2], dtype=torch.int32), torch.tensor([0, 3, 3, 4]))
    torch.testing.assert_close(
        bags, torch.tensor([[5.0, 7.0], [0.0, 0.0], [0.0, 0.0]]) / torch.tensor([divisor, 1, 1])[:, None]
    )


def test_gradients_reach_table_and_weights() -> None:
    embedding = hand_made("sum")
    embedding(torch.tensor([1]), torch.tensor([0, 1])).sum().backward()
    # d/d table row = weight, in rows 1 and 2; d/d weight = sum of the row: 1 and 4
    assert embedding.table.grad is not None
    assert embedding.importance.grad is not None
    torch.testing.assert_close(embedding.table.grad[:, 0], torch.tensor([0.0, 0.5, 1.0, 0.0]))
    torch.testing.assert_close(embedding.importance.grad, torch.tensor([[0.0, 0.0], [1.0, 4.0], [0.0, 0.0]]))


def test_the_hash_table_is_not_stored_with_the_weights() -> None:
    assert set(HashEmbedding(3, 4, 2).state_dict()) == {"table", "importance"}
