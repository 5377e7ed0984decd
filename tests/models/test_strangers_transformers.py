"""Transformers folders that a stranger made: none runs code, builds more than its weights, or ends in a traceback."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from transformers import GPT2Config, T5Config, T5EncoderModel, T5Model

from omnifeat.errors import EncoderError, OmnifeatError
from omnifeat.models.config import QueryConfig
from omnifeat.models.encoder_checks import check_fit
from omnifeat.models.query import build_query_encoder, make_query_tokenizer, query_encoder_from_settings
from omnifeat.pretrained import PretrainedEncoder, load_transformer
from tests.tiny_transformer import write_transformer

HUGE = 10_000_000
WORDS = ["red", "mug", "pan", "hat", "shoe", "blue"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_transformer(tmp_path_factory.mktemp("transformer") / "model", WORDS)


@pytest.fixture
def folder(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("nobody is asked"))
    return shutil.copytree(sound, tmp_path / "model")


def put(folder: Path, name: str, **values: Any) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refused(folder: Path) -> str:
    begun = time.monotonic()
    with pytest.raises(EncoderError) as told:
        load_transformer(folder)
    assert time.monotonic() - begun < 5
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 1000
    return str(told.value)


def as_query_model(folder: Path) -> Any:
    config = QueryConfig(model=str(folder), max_length=8)
    return build_query_encoder(config, 4, make_query_tokenizer(config))


EVIL = "raise SystemExit(99)"
MAPS = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoTokenizer": ["evil.Tokenizer", None]}


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_a_known_kind_of_model_neither_runs_nor_is_asked_about(folder: Path, name: str) -> None:
    expected = PretrainedEncoder.load(folder).encode(["red mug"])
    (folder / "evil.py").write_text(EVIL)
    put(folder, name, auto_map=MAPS)
    np.testing.assert_array_equal(PretrainedEncoder.load(folder).encode(["red mug"]), expected)
    as_query_model(folder)


@pytest.mark.parametrize("kind", ["evil", None, 3, ["bert"]])
def test_a_kind_of_model_that_only_its_own_code_has_is_refused(folder: Path, kind: Any) -> None:
    (folder / "evil.py").write_text(EVIL)
    put(folder, "config.json", model_type=kind, auto_map=MAPS)
    put(folder, "tokenizer_config.json", auto_map=MAPS, tokenizer_class="EvilTokenizer")
    assert "its own code is not run" in refused(folder)


def test_how_to_compute_is_not_the_files_to_say(folder: Path) -> None:
    expected = PretrainedEncoder.load(folder).encode(["red mug"])
    orders = {"attn_implementation": "stranger/kernel", "_attn_implementation": "stranger/kernel", "dtype": "float64"}
    put(folder, "config.json", **orders, torch_dtype="int8", experts_implementation="stranger/kernel")
    encoder = PretrainedEncoder.load(folder)
    assert encoder.model.config._attn_implementation in ("sdpa", "eager")
    np.testing.assert_array_equal(encoder.encode(["red mug"]), expected)


def test_what_needs_more_than_the_folder_is_refused(folder: Path) -> None:
    put(folder, "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    assert "quantization_config" in refused(folder)
    put(folder, "config.json", quantization_config=None)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "../../elsewhere"}')
    assert "adapter" in refused(folder)


SIZES = ["num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings",
         "num_attention_heads", "type_vocab_size"]  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("size", [HUGE, 10**15, 0, -1, 3, "4", 4.5, None, [4]], ids=str)
def test_a_size_that_the_weights_lack_builds_nothing(folder: Path, name: str, size: Any) -> None:
    put(folder, "config.json", **{name: size})
    refused(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"hidden_act": "no-such"},
        {"hidden_act": 3},
        {"layer_norm_eps": "x"},
        {"hidden_dropout_prob": "x"},
        {"hidden_dropout_prob": 7},
        {"model_type": "vit"},
        {"model_type": "clip"},
        {"model_type": "distilbert"},
        {"id2label": 3},
        {"pad_token_id": HUGE},
        {"is_decoder": "yes"},
    ],
)
def test_a_configuration_of_any_kind_ends_in_one_sentence_or_loads(folder: Path, values: dict[str, Any]) -> None:
    put(folder, "config.json", **values)
    try:
        assert np.isfinite(PretrainedEncoder.load(folder).encode(["red"])).all()
    except OmnifeatError:
        refused(folder)


def test_pickled_weights_are_not_read(folder: Path) -> None:
    torch.save(safetensors.torch.load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "may run code and are not read" in refused(folder)
    (folder / "pytorch_model.bin").unlink()
    assert "no file 'model.safetensors'" in refused(folder)


def weights(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    change(tensors)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("embeddings.word_embeddings.weight"), "lacks 1 of its weights"),
        (lambda tensors: tensors["embeddings.word_embeddings.weight"].fill(np.nan), "NaN or infinity"),
        (lambda tensors: tensors.update({"embeddings.word_embeddings.weight": np.zeros((3, 3), np.float32)}), ""),
    ],
)
def test_weights_that_are_not_the_models_are_refused(folder: Path, change: Callable[[Any], object], said: str) -> None:
    weights(folder, change)
    assert said in refused(folder)


def test_damaged_and_linked_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-3])
    assert "cannot be read" in refused(folder)
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    assert "git lfs pull" in refused(folder)
    (folder / "model.safetensors").unlink()
    (tmp_path / "elsewhere").write_bytes(content)
    (folder / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    assert "link that leads out" in refused(folder)
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"w": "../elsewhere"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "names the file" in refused(folder)
    for wrong in ({"weight_map": 3}, {}, {"weight_map": {"w": 3}}):
        (folder / "model.safetensors.index.json").write_text(json.dumps(wrong))
        refused(folder)
    os.mkfifo(folder / "model.safetensors")
    assert "a pipe" in refused(folder)


def test_a_folder_without_tokenizer_files_is_not_trained_on_an_empty_vocabulary(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    for _ in range(2):
        with pytest.raises(EncoderError, match="no vocabulary"):
            as_query_model(folder)
        assert "no vocabulary" in refused(folder)
        (folder / "tokenizer_config.json").unlink(missing_ok=True)


def vocabulary(folder: Path, words: list[str]) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["vocab"] = {word: row for row, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    path.write_text(json.dumps(tokenizer))


def test_a_vocabulary_that_hardly_fits_the_model_is_refused(folder: Path) -> None:
    vocabulary(folder, [])
    assert "4 word pieces" in refused(folder)
    vocabulary(folder, [*WORDS, "more"])
    assert "do not belong together" in refused(folder)
    with pytest.raises(EncoderError, match="do not belong together"):
        as_query_model(folder)


def test_a_vocabulary_of_other_words_than_the_queries_is_refused(folder: Path) -> None:
    config = QueryConfig(model=str(folder), max_length=8)
    with pytest.raises(EncoderError, match="knows hardly any"):
        make_query_tokenizer(config, ["帽子", "bleu", "élégant"] * 10)
    make_query_tokenizer(config, ["red mug", "blue hat", "unknown"])


def test_a_tokenizer_without_padding_is_refused_alike(folder: Path) -> None:
    put(folder, "tokenizer_config.json", pad_token=None)
    assert "no padding token" in refused(folder)
    with pytest.raises(EncoderError, match="no padding token"):
        as_query_model(folder)


@pytest.mark.parametrize("whole", [True, False])
def test_the_encoder_of_a_t5_is_used(folder: Path, whole: bool) -> None:
    torch.manual_seed(0)
    config = T5Config(vocab_size=10, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_decoder_layers=1, num_heads=2)
    (T5Model if whole else T5EncoderModel)(config).save_pretrained(folder)
    assert PretrainedEncoder.load(folder).encode(["red mug"]).shape == (1, 8)
    encoder = as_query_model(folder)
    stored = json.loads(json.dumps(encoder.backbone_settings()))
    shapes = {name: ("F32", tuple(value.shape)) for name, value in encoder.state_dict().items()}
    built = query_encoder_from_settings(QueryConfig(model="t5", max_length=8), 4, stored, shapes)
    check_fit(built, shapes, folder)


def test_what_is_no_encoder_of_texts_is_refused(folder: Path) -> None:
    values = GPT2Config(n_embd=8).to_dict() | {"model_type": "clip"}
    (folder / "config.json").write_text(json.dumps(values))
    refused(folder)
