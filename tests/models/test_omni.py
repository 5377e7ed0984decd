import math

import pyarrow as pa
import pytest
import torch

from omnifeat.models.config import EncoderConfig, fitted_to, preset
from omnifeat.models.omni import OmniModel, build_model
from omnifeat.models.query import make_query_tokenizer


def tiny(pins: pa.Table, seed: int = 0) -> OmniModel:
    config = fitted_to(preset("tiny"), {"pins": pins.schema})
    return build_model(config, make_query_tokenizer(config.query, ["red shoes", "hat"]), 50, seed=seed)


def test_temperature_starts_where_it_is_told_and_the_scale_is_capped(pins: pa.Table) -> None:
    model = tiny(pins)
    assert model.scale().item() == pytest.approx(1 / 0.07, rel=1e-6)
    model.scale().backward()
    # d(1/t) / d(log t) = -1/t
    assert model.log_temperature.grad is not None
    assert model.log_temperature.grad.item() == pytest.approx(-1 / 0.07, rel=1e-6)
    model.log_temperature.data.fill_(math.log(0.001))
    assert model.scale().item() == 100.0


def test_a_compatibility_encoder_for_each_vector_that_the_data_has(pins: pa.Table) -> None:
    model = tiny(pins)
    assert list(model.compatibility) == ["pinsage"]
    assert model.compatibility["pinsage"](torch.eye(4)).shape == (4, 32)
    trained = [name for name, _ in model.named_parameters() if name.startswith("compatibility")]
    assert trained == []


def test_the_seed_decides_and_the_callers_random_state_stays(pins: pa.Table) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, same, other = tiny(pins, 1), tiny(pins, 1), tiny(pins, 2)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
    assert not torch.equal(first.entity.text.table, other.entity.text.table)


def test_the_config_of_the_model_has_all_widths(pins: pa.Table) -> None:
    config = tiny(pins).config
    assert EncoderConfig.from_dict(config.to_dict()) == config
    assert config.entity.continuous == {"pinsage": 4}
