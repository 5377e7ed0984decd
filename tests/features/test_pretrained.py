"""The untrained encoder: pooling and prefix by hand, order and batches without effect, and folders that do not load."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertModel

from omnifeat.errors import DataError, EncoderError, SettingError
from omnifeat.pretrained import PretrainedEncoder


def test_mean_and_cls_by_hand(transformer: Path) -> None:
    model = BertModel.from_pretrained(transformer).eval()
    ids = torch.tensor([[2, 4, 5, 6, 7, 3]])  # [CLS] query : red shoe [SEP]
    with torch.inference_mode():
        states = model(ids).last_hidden_state[0]
    for pooling, pooled in (("mean", states.mean(0)), ("cls", states[0])):
        encoder = PretrainedEncoder.load(str(transformer), pooling=pooling, prefix="query: ")
        expected = (pooled / pooled.norm()).numpy()
        np.testing.assert_allclose(encoder.encode(["red shoe"])[0], expected, atol=1e-5)


def test_padding_order_and_batches_change_nothing(transformer: Path) -> None:
    encoder = PretrainedEncoder.load(str(transformer), max_length=5)
    texts = ["cat", "red shoe cat red red", "", "red", "cat"]
    done: list[int] = []
    vectors = encoder.encode(texts, batch_size=3, on_batch=done.append)
    assert done == [3, 1]  # four distinct texts
    assert vectors.shape == (5, 8)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[4])
    np.testing.assert_allclose(encoder.encode(texts[::-1], batch_size=1)[::-1], vectors, atol=1e-6)
    assert encoder.encode([]).shape == (0, 8)


def test_bad_input(transformer: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no pooling 'max'; choose one of mean, cls"):
        PretrainedEncoder.load(str(transformer), pooling="max")
    with pytest.raises(EncoderError, match="No pretrained encoder can be loaded from") as caught:
        PretrainedEncoder.load(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_the_fingerprint_is_of_all_that_makes_the_vectors(transformer: Path, tmp_path: Path) -> None:
    encoder = PretrainedEncoder.load(transformer)
    first = encoder.fingerprint
    encoder.encode(["cat", "red shoe"])
    moved = shutil.copytree(transformer, tmp_path / "moved")
    assert PretrainedEncoder.load(moved).fingerprint == first == PretrainedEncoder(**vars_of(encoder)).fingerprint
    for changed in ({"prefix": "query: "}, {"pooling": "cls"}, {"max_length": 7}):
        assert PretrainedEncoder.load(moved, **changed).fingerprint != first  # type: ignore[arg-type]
    model = BertModel.from_pretrained(moved)
    with torch.no_grad():
        model.pooler.dense.bias[0] += 1e-6
    model.save_pretrained(moved)
    assert PretrainedEncoder.load(moved).fingerprint != first


def test_a_fingerprint_tells_tokenizers_apart(transformer: Path, tmp_path: Path) -> None:
    encoder = PretrainedEncoder.load(transformer)
    moved = shutil.copytree(transformer, tmp_path / "moved")
    written = (moved / "tokenizer.json").read_text()
    (moved / "tokenizer.json").write_text(written.replace('"red"', '"blue"'))
    assert PretrainedEncoder.load(moved).fingerprint != encoder.fingerprint


def vars_of(encoder: PretrainedEncoder) -> dict[str, Any]:
    return {field.name: getattr(encoder, field.name) for field in dataclasses.fields(encoder)}


def test_queries_must_be_texts(transformer: Path) -> None:
    encoder = PretrainedEncoder.load(transformer)
    np.testing.assert_array_equal(encoder.encode_queries(np.array(["red", "cat"])), encoder.encode(["red", "cat"]))
    with pytest.raises(DataError, match="Row 2 of the queries is null"):
        encoder.encode_queries(["red", None])  # type: ignore[list-item]
