import json
from typing import Any

import pyarrow as pa
import pytest

from omnifeat.errors import DataError, SettingError
from omnifeat.models.config import PRESETS, EncoderConfig, EntityConfig, QueryConfig, fitted_to, preset

VECTOR4 = pa.list_(pa.float32(), 4)


def test_the_paper_preset_has_the_papers_numbers() -> None:
    paper = preset("paper")
    assert (paper.dim, paper.query.max_length, paper.query.pooling) == (256, 64, "cls")
    assert paper.query.model == "distilbert-base-multilingual-cased"
    entity = paper.entity
    assert (entity.trigrams, entity.words, entity.bigrams) == (64_000, 200_000, 1_000_000)
    assert (entity.hashes, entity.hash_rows, entity.text_dim, entity.hidden) == (2, 100_000, 256, (1024, 1024))
    assert (entity.max_engaged_queries, entity.max_board_titles, entity.text_pooling) == (20, 10, "sum")
    assert paper.temperature_start == 0.07


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_survive_json(name: str) -> None:
    config = preset(name)
    assert EncoderConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_every_kind_of_setting_survives_json() -> None:
    config = EncoderConfig(
        dim=64,
        query=QueryConfig(model="some/encoder", pooling="mean", prefix="query: ", trainable_layers=0, dropout=0.25),
        entity=EntityConfig(hidden=(8,), text_fields=("title",), continuous={"pinsage": 4}, max_engaged_queries=None),
        compatibility=("pinsage",),
        compatibility_widths={"pinsage": 4},
        matryoshka={16: 0.05, 64: 1.0},
    )
    assert EncoderConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_missing_keys_take_their_defaults() -> None:
    assert EncoderConfig.from_dict({"dim": 64}) == EncoderConfig(dim=64)


def test_an_unknown_preset_or_setting_is_named() -> None:
    with pytest.raises(SettingError, match=r"no preset 'huge'.*tiny, small, paper"):
        preset("huge")
    with pytest.raises(SettingError, match=r"QueryConfig has no setting 'colour'"):
        EncoderConfig.from_dict({"query": {"colour": 1}})
    with pytest.raises(SettingError, match=r"mapping of settings"):
        EncoderConfig.from_dict({"query": 3})
    with pytest.raises(SettingError, match=r"the width 'x'"):
        EncoderConfig.from_dict({"matryoshka": {"x": 1.0}})


@pytest.mark.parametrize(
    ("values", "setting"),
    [
        ({"dim": 0}, "dim"),
        ({"dim": True}, "dim"),
        ({"temperature_start": 0.0}, "temperature_start"),
        ({"matryoshka": {"512": 1.0}}, "matryoshka"),
        ({"matryoshka": {"16": -1.0}}, r"matryoshka\.16"),
        ({"compatibility": [], "compatibility_widths": {"pinsage": 4}}, "compatibility_widths"),
        ({"query": {"pooling": "max"}}, r"query\.pooling"),
        ({"query": {"projection": "none"}}, r"query\.projection"),
        ({"query": {"max_length": 2}}, r"query\.max_length"),
        ({"query": {"trainable_layers": -1}}, r"query\.trainable_layers"),
        ({"query": {"dropout": 1.0}}, r"query\.dropout"),
        ({"query": {"hidden": 10, "heads": 3}}, r"query\.hidden"),
        ({"entity": {"hash_rows": 0}}, r"entity\.hash_rows"),
        ({"entity": {"hidden": [8, 0]}}, r"entity\.hidden"),
        ({"entity": {"text_fields": ["title", "title"]}}, r"entity\.text_fields"),
        ({"entity": {"text_pooling": "max"}}, r"entity\.text_pooling"),
        ({"entity": {"continuous": {"pinsage": 0}}}, r"entity\.continuous"),
        ({"entity": {"dropout": "x"}}, r"entity\.dropout"),
    ],
)
def test_a_setting_out_of_range_is_named(values: dict[str, Any], setting: str) -> None:
    with pytest.raises(SettingError, match=f"The '{setting}' setting must be "):
        EncoderConfig.from_dict(values)


def test_widths_come_from_the_tables() -> None:
    pins = pa.schema({"id": pa.string(), "pinsage": VECTOR4, "image_embedding": pa.list_(pa.float32(), 6)})
    products = pa.schema({"id": pa.string(), "image_embeddings": pa.list_(pa.list_(pa.float32(), 6))})
    config = fitted_to(EncoderConfig(), {"pins": pins, "products": products})
    assert config.entity.continuous == {"pinsage": 4, "image_embedding": 6}
    assert config.compatibility == ("pinsage",)
    assert config.compatibility_widths == {"pinsage": 4}
    # an ablation that names its features keeps them, and compatibility stays
    named = EncoderConfig(entity=EntityConfig(continuous={"image_embedding": 6}))
    config = fitted_to(named, {"pins": pins})
    assert config.entity.continuous == {"image_embedding": 6}
    assert config.compatibility_widths == {"pinsage": 4}


def test_widths_that_clash_or_are_missing_are_named() -> None:
    pins = pa.schema({"pinsage": VECTOR4})
    other = pa.schema({"pinsage": pa.list_(pa.float32(), 5)})
    with pytest.raises(DataError, match=r"'pinsage' is 4 wide in table 'pins' and 5 wide in table 'products'"):
        fitted_to(EncoderConfig(), {"pins": pins, "products": other})
    with pytest.raises(DataError, match=r"'itemsage', which is in none of pins"):
        fitted_to(EncoderConfig(entity=EntityConfig(continuous={"itemsage": 4})), {"pins": pins})
    with pytest.raises(DataError, match=r"'pinsage' of table 'pins' is 4 wide; the settings say 3"):
        fitted_to(EncoderConfig(entity=EntityConfig(continuous={"pinsage": 3})), {"pins": pins})
