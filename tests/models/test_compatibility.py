import pytest
import torch

from omnifeat.models.compatibility import FixedProjection


@pytest.mark.parametrize("width", [3, 8])
def test_cosines_are_kept_where_the_query_is_at_least_as_wide(width: int) -> None:
    vectors = torch.randn(20, width, generator=torch.Generator().manual_seed(0)) * 5
    mapped = FixedProjection(width, 8)(vectors)
    expected = torch.nn.functional.cosine_similarity(vectors[:, None], vectors[None, :], dim=-1)
    torch.testing.assert_close(mapped @ mapped.T, expected, atol=1e-5, rtol=0)


def test_equal_widths_are_the_identity_but_for_length() -> None:
    torch.testing.assert_close(FixedProjection(2, 2)(torch.tensor([[3.0, 4.0]])), torch.tensor([[0.6, 0.8]]))


@pytest.mark.parametrize("width", [3, 8, 30])
def test_unit_length_and_zero_stays_zero(width: int) -> None:
    vectors = torch.randn(5, width, generator=torch.Generator().manual_seed(1))
    vectors[2] = 0
    norms = FixedProjection(width, 8)(vectors).norm(dim=1)
    torch.testing.assert_close(norms, torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0]))


def test_nothing_is_learned_and_the_seed_decides() -> None:
    projection = FixedProjection(3, 8, seed=4)
    assert list(projection.parameters()) == []
    assert set(projection.state_dict()) == {"matrix"}
    assert torch.equal(projection.matrix, FixedProjection(3, 8, seed=4).matrix)
    assert not torch.equal(projection.matrix, FixedProjection(3, 8, seed=5).matrix)
