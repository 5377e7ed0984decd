"""The untrained encoder: pooling and prefix by hand, order and batches without effect, and folders that do not load."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertModel, RobertaConfig, RobertaModel

from omnifeat.errors import DataError, EncoderError, SettingError
from omnifeat.models.backbone import number_format
from omnifeat.pretrained import PretrainedEncoder
from tests.tiny_transformer import write_transformer


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


def test_a_number_format_changes_digits_and_the_fingerprint_but_not_the_model(transformer: Path) -> None:
    texts = ["red shoe", "cat", "red red cat shoe"]
    exact, half = (PretrainedEncoder.load(transformer, dtype=dtype) for dtype in ("float32", "bfloat16"))
    vectors = half.encode(texts)
    assert vectors.dtype == np.float32
    assert not np.array_equal(vectors, exact.encode(texts))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose((vectors * exact.encode(texts)).sum(axis=1), 1, atol=1e-4)
    assert half.fingerprint != exact.fingerprint
    assert half.model_digest == exact.model_digest == PretrainedEncoder.load(transformer, prefix="a ").model_digest
    with pytest.raises(SettingError, match="no number format 'int8'; choose one of float32, bfloat16"):
        PretrainedEncoder.load(transformer, dtype="int8")


@pytest.mark.parametrize(("amx", "avx"), [(True, False), (False, True), (False, False)])
def test_the_quick_number_format(monkeypatch: pytest.MonkeyPatch, amx: bool, avx: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
    cpu = torch.device("cpu")
    assert number_format("auto", cpu) == ("bfloat16" if amx or avx else "float32")
    assert number_format("float32", cpu) == "float32"


def test_texts_longer_than_the_model_reads(transformer: Path) -> None:
    encoder = PretrainedEncoder.load(transformer)
    assert encoder.max_length == 16  # all its places
    np.testing.assert_array_equal(*encoder.encode(["red " * 14, "red " * 40]))
    for length, said in ((17, "does not read 17 word pieces at once, but at most 16"), (2, "nothing of the text is")):
        with pytest.raises(SettingError, match=said):
            PretrainedEncoder.load(transformer, max_length=length)
    with pytest.raises(SettingError, match="of which prefix and special ones take 4"):
        PretrainedEncoder.load(transformer, max_length=4, prefix="red cat")


def test_places_that_the_configuration_does_not_count(tmp_path: Path) -> None:
    """RoBERTa's first two places are no text's: of 18 it reads 16, and says 18."""
    folder = write_transformer(tmp_path / "roberta", ["red", "shoe"])
    config = RobertaConfig(
        vocab_size=6, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=18, pad_token_id=1,
    )  # fmt: skip
    RobertaModel(config).save_pretrained(folder)
    encoder = PretrainedEncoder.load(folder)
    assert encoder.max_length == 16
    assert encoder.encode(["red " * 40]).shape == (1, 8)
    with pytest.raises(SettingError, match="does not read 17 word pieces at once, but at most 16"):
        PretrainedEncoder.load(folder, max_length=17)


def vars_of(encoder: PretrainedEncoder) -> dict[str, Any]:
    return {field.name: getattr(encoder, field.name) for field in dataclasses.fields(encoder)}


def test_queries_must_be_texts(transformer: Path) -> None:
    encoder = PretrainedEncoder.load(transformer)
    np.testing.assert_array_equal(encoder.encode_queries(np.array(["red", "cat"])), encoder.encode(["red", "cat"]))
    with pytest.raises(DataError, match="Row 2 of the queries is null"):
        encoder.encode_queries(["red", None])  # type: ignore[list-item]
