import pytest
import torch

from omnifeat.models.config import EntityConfig
from omnifeat.models.entity import EntityEncoder, EntityInputs

CONFIG = EntityConfig(hash_rows=16, text_dim=4, hidden=(8, 8), continuous={"pinsage": 3, "image_embedding": 2})


def inputs() -> EntityInputs:
    """Text and vectors; text alone; a vector alone; nothing."""
    continuous = torch.zeros(4, 5)
    continuous[0], continuous[2, 1] = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), 0.5
    return EntityInputs(ids=torch.tensor([0, 1, 1, 2]), offsets=torch.tensor([0, 2, 4, 4, 4]), continuous=continuous)


def test_unit_length_and_zero_for_an_entity_without_anything() -> None:
    encoder = EntityEncoder(CONFIG, vocabulary=3, dim=6)
    embeddings = encoder(inputs())
    assert embeddings.shape == (4, 6)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.tensor([1.0, 1.0, 1.0, 0.0]))
    # the row without features must not spoil the gradients of the others
    embeddings.sum().backward()
    for parameter in encoder.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


def test_three_linear_layers_of_the_papers_shape() -> None:
    encoder = EntityEncoder(CONFIG, vocabulary=3, dim=6)
    shapes = [(layer.in_features, layer.out_features) for layer in encoder.mlp if isinstance(layer, torch.nn.Linear)]
    assert shapes == [(4 + 3 + 2, 8), (8, 8), (8, 6)]


def test_an_entity_does_not_depend_on_its_batch() -> None:
    encoder = EntityEncoder(CONFIG, vocabulary=3, dim=6)
    whole = encoder(inputs())
    alone = encoder(
        EntityInputs(ids=torch.tensor([1, 2]), offsets=torch.tensor([0, 2]), continuous=inputs().continuous[1:2])
    )
    torch.testing.assert_close(alone, whole[1:2], atol=1e-6, rtol=0)


def test_dropout_acts_in_training_alone() -> None:
    config = EntityConfig.from_dict({**CONFIG.to_dict(), "dropout": 0.5})
    encoder = EntityEncoder(config, vocabulary=3, dim=6)
    assert not torch.equal(encoder(inputs()), encoder(inputs()))
    encoder.eval()
    assert torch.equal(encoder(inputs()), encoder(inputs()))


@pytest.mark.parametrize("hidden", [(), (8,)])
def test_other_depths(hidden: tuple[int, ...]) -> None:
    config = EntityConfig.from_dict({**CONFIG.to_dict(), "hidden": list(hidden)})
    assert EntityEncoder(config, vocabulary=3, dim=6)(inputs()).shape == (4, 6)


def test_inputs_know_their_length_and_move() -> None:
    batch = inputs().to("cpu")
    assert len(batch) == 4
    assert torch.equal(batch.ids, inputs().ids)
