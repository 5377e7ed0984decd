"""The untrained encoder: pooling and prefix by hand, order and batches without effect, and folders that do not load."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from evaluation.pretrained import PretrainedEncoder
from omnifeat.errors import EncoderError, SettingError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "query", ":", "red", "shoe", "cat"]
    tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(path)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=16,
    )  # fmt: skip
    BertModel(config).save_pretrained(path)
    return path


def test_mean_and_cls_by_hand(folder: Path) -> None:
    model = BertModel.from_pretrained(folder).eval()
    ids = torch.tensor([[2, 4, 5, 6, 7, 3]])  # [CLS] query : red shoe [SEP]
    with torch.inference_mode():
        states = model(ids).last_hidden_state[0]
    for pooling, pooled in (("mean", states.mean(0)), ("cls", states[0])):
        encoder = PretrainedEncoder.load(str(folder), pooling=pooling, prefix="query: ")
        expected = (pooled / pooled.norm()).numpy()
        np.testing.assert_allclose(encoder.encode(["red shoe"])[0], expected, atol=1e-5)


def test_padding_order_and_batches_change_nothing(folder: Path) -> None:
    encoder = PretrainedEncoder.load(str(folder), max_length=5)
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


def test_bad_input(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no pooling 'max'; choose one of mean, cls"):
        PretrainedEncoder.load(str(folder), pooling="max")
    with pytest.raises(EncoderError, match="cannot load a pretrained encoder from") as caught:
        PretrainedEncoder.load(str(tmp_path))
    assert "\n" not in str(caught.value)
