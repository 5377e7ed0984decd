import dataclasses

import numpy as np
import pyarrow as pa
import pytest
import torch

from omnifeat.errors import SettingError
from omnifeat.models.config import EncoderConfig, EntityConfig, QueryConfig, fitted_to
from omnifeat.models.encoding import encode_queries, entity_blocks
from omnifeat.models.entity_features import EntityTable, entity_texts
from omnifeat.models.omni import OmniModel, build_model
from omnifeat.models.query_table import QueryTable
from omnifeat.text import NgramTokenizer

CPU = torch.device("cpu")
TEXTS = ["red shoes", "blue hat", "帽子 bleu"]
CONFIG = EncoderConfig(
    dim=16,
    query=QueryConfig(model="ngrams", hidden=8),
    entity=EntityConfig(hash_rows=500, text_dim=16, hidden=(12,), text_pooling="sqrt", residual="text"),
)


def made(config: EncoderConfig, table: pa.Table) -> tuple[OmniModel, NgramTokenizer, EntityTable]:
    config = fitted_to(config, {"pins": table.schema})
    ngrams = NgramTokenizer.fit(entity_texts(table, config.entity))
    model = build_model(config, None, ngrams.size, seed=3).eval()
    return model, ngrams, EntityTable.prepare(table, ngrams, config)


@pytest.mark.parametrize("dim", [16, 12, 24])
def test_before_training_the_same_words_are_the_same_vector_on_both_sides(dim: int) -> None:
    model, ngrams, table = made(dataclasses.replace(CONFIG, dim=dim), pa.table({"id": ["a", "b", "c"], "title": TEXTS}))
    with torch.no_grad():
        queries = encode_queries(model, QueryTable.prepare(TEXTS, ngrams, None), np.arange(3), CPU)
        entities = entity_blocks(model, table, np.arange(3), CPU)["learned"]
    torch.testing.assert_close(queries, entities)
    torch.testing.assert_close(queries.norm(dim=1), torch.ones(3))
    assert (queries @ entities.T).argmax(dim=1).tolist() == [0, 1, 2]


def test_a_query_without_a_known_token_is_zero() -> None:
    model, ngrams, _ = made(CONFIG, pa.table({"id": ["a"], "title": ["red shoes"]}))
    with torch.no_grad():
        vectors = encode_queries(model, QueryTable.prepare(["xyzzy", "shoes"], ngrams, None), np.arange(2), CPU)
    assert not vectors[0].any()
    assert float(vectors[1].norm()) == pytest.approx(1)


def test_an_entity_encoder_that_starts_from_a_vector_gives_that_vector() -> None:
    vectors = np.random.default_rng(0).standard_normal((3, 16)).astype(np.float32)
    table = pa.table(
        {"id": ["a", "b", "c"], "title": TEXTS, "pinsage": pa.array(list(vectors), pa.list_(pa.float32(), 16))}
    )
    config = dataclasses.replace(CONFIG, entity=dataclasses.replace(CONFIG.entity, residual="pinsage"))
    model, _, entities = made(config, table)
    with torch.no_grad():
        found = entity_blocks(model, entities, np.arange(3), CPU)["learned"].numpy()
    np.testing.assert_allclose(found, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), rtol=1e-5)


def test_a_start_that_there_is_not_is_named() -> None:
    config = dataclasses.replace(CONFIG, entity=dataclasses.replace(CONFIG.entity, residual="itemsage"))
    with pytest.raises(SettingError, match=r"'entity.residual' setting names 'itemsage', which is no vector column"):
        fitted_to(config, {"pins": pa.schema({"id": pa.string(), "title": pa.string()})})
