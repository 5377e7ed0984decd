"""Encoder folders that a stranger made, check sums and all: each is one sentence, at once, and nothing is written."""

import copy
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import safetensors.numpy

from omnifeat.errors import EncoderError
from omnifeat.frozen import FrozenEncoder
from omnifeat.models.config import EncoderConfig, EntityConfig, QueryConfig, fitted_to
from omnifeat.models.entity_features import entity_texts
from omnifeat.models.omni import build_model
from omnifeat.models.query import make_query_tokenizer
from omnifeat.text import NgramTokenizer

PINS = pa.table(
    {"id": ["a", "b"], "title": ["Red shoes", "hat"], "pinsage": pa.array([[1.0, 0.0]] * 2, pa.list_(pa.float32(), 2))}
)
CONFIG = EncoderConfig(
    dim=4,
    query=QueryConfig(hidden=4, layers=1, heads=2, vocab_size=60, max_length=8),
    entity=EntityConfig(hash_rows=10, text_dim=4, hidden=(8,)),
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = fitted_to(CONFIG, {"pins": PINS.schema})
    ngrams = NgramTokenizer.fit(entity_texts(PINS, config.entity))
    tokenizer = make_query_tokenizer(config.query, ["red shoes", "hat"])
    model = build_model(config, tokenizer, ngrams.size)
    encoder = FrozenEncoder.from_model(model, tokenizer, ngrams, device="cpu")
    return encoder.save_pretrained(tmp_path_factory.mktemp("sound") / "encoder")


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / "home" / "encoder")


def forge(folder: Path, change: Callable[[dict[str, Any]], object] = lambda config: None, hashes: bool = True) -> None:
    """Change `config.json` and make its check sums right again, as a stranger can."""
    config = json.loads((folder / "config.json").read_text())
    del config["checksum"]
    change(config)
    if hashes and isinstance(config.get("files"), dict):
        for name in config["files"]:
            if isinstance(name, str) and (folder / name).is_file():
                config["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    canonical = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    config["checksum"] = hashlib.sha256(canonical).hexdigest()
    (folder / "config.json").write_text(json.dumps(config))


def refused(folder: Path) -> str:
    begun = time.monotonic()
    with pytest.raises(EncoderError) as told:
        FrozenEncoder.from_pretrained(folder, device="cpu")
    assert time.monotonic() - begun < 5
    sentence = str(told.value)
    assert "\n" not in sentence
    assert len(sentence) < 1200
    return sentence


def test_what_is_forged_back_as_it_was_loads(folder: Path) -> None:
    forge(folder)
    FrozenEncoder.from_pretrained(folder, device="cpu")


@pytest.mark.parametrize("name", ["../.bashrc", "{outside}", "query_tokenizer/../../.bashrc", "ngrams/../../.bashrc"])
def test_a_file_name_that_leads_out_overwrites_nothing(folder: Path, tmp_path: Path, name: str) -> None:
    victim = folder.parent / ".bashrc"
    victim.write_text("mine")
    name = name.format(outside=victim)
    forge(folder, lambda config: config["files"].update({name: hashlib.sha256(b"mine").hexdigest()}))
    assert "names the file" in refused(folder)
    assert victim.read_text() == "mine"
    assert [path.name for path in sorted(folder.parent.iterdir())] == [".bashrc", "encoder"]


@pytest.mark.parametrize(
    "name",
    ["run.py", "README.md", "config.json", "query_tokenizer/tokenizer.py", "query_tokenizer/config.json",
     "query_tokenizer/.hidden", "query_tokenizer/a/b.json", "ngrams/more.json", "x/model.safetensors"],
)  # fmt: skip
def test_a_file_that_no_encoder_has_is_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    if not (folder / name).exists():
        (folder / name).write_text("{}")
    forge(folder, lambda config: config["files"].update({name: "0" * 64}))
    assert "which no encoder has" in refused(folder)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "ngrams/ngrams.json", "query_tokenizer/tokenizer.json", "config.json"]
)
def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    shutil.move(folder / name, tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    assert "link that leads out" in refused(folder)


def test_a_folder_that_links_out_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "ngrams", tmp_path / "elsewhere")
    (folder / "ngrams").symlink_to(tmp_path / "elsewhere")
    assert "link that leads out" in refused(folder)


def test_an_encoder_behind_a_link_and_in_the_hubs_cache_loads(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(sound)
    FrozenEncoder.from_pretrained(tmp_path / "link", device="cpu")
    blobs = tmp_path / "models--a--b" / "blobs"
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    blobs.mkdir(parents=True)
    for number, path in enumerate(sorted(path for path in sound.rglob("*") if path.is_file())):
        shutil.copy(path, blobs / str(number))
        place = snapshot / path.relative_to(sound)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.path.relpath(blobs / str(number), place.parent))
    FrozenEncoder.from_pretrained(snapshot, device="cpu")


def test_a_pipe_in_place_of_a_file_is_not_waited_for(folder: Path) -> None:
    for name in ("model.safetensors", "ngrams/ngrams.json", "config.json"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        assert "a pipe" in refused(folder)


def test_a_tokenizer_file_that_is_not_listed_is_told(folder: Path) -> None:
    (folder / "query_tokenizer" / "added_tokens.json").write_text('{"red": 3}')
    assert "does not list" in refused(folder)
    (folder / "query_tokenizer" / "added_tokens.json").rename(folder / "query_tokenizer" / ".DS_Store")
    FrozenEncoder.from_pretrained(folder, device="cpu")


HUGE = 10_000_000


def put(*places: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        part = config["settings"]
        for place in places[:-1]:
            part = part[place]
        part[places[-1]] = value

    return change


SIZES = [
    *(("query_backbone", name) for name in ("n_layers", "dim", "hidden_dim", "vocab_size", "max_position_embeddings")),
    ("query_backbone", "n_heads"),
    ("encoder", "dim"),
    ("ngram_ids",),
    *(("encoder", "entity", name) for name in ("hash_rows", "text_dim", "hashes")),
    ("encoder", "compatibility_widths", "pinsage"),
    ("encoder", "entity", "continuous", "pinsage"),
]


@pytest.mark.parametrize("place", SIZES, ids=".".join)
@pytest.mark.parametrize("size", [HUGE, 10**15, 0, -1, 3, True, "4", 4.5, None, [4], {"4": 4}], ids=str)
def test_a_size_that_the_weights_lack_builds_nothing(folder: Path, place: tuple[str, ...], size: Any) -> None:
    forge(folder, put(*place, value=size))
    refused(folder)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("encoder", "entity", "hidden"), [8] * 1_500_000),
        (("encoder", "entity", "hidden"), [8] * 1000),
        (("encoder", "entity", "hidden"), [8, 8]),
        (("encoder", "entity", "hidden"), []),
        (("encoder", "entity", "hash_seed"), 10**30),
        (("encoder", "entity", "text_fields"), [["title"]]),
        (("encoder", "entity", "dropout"), 0.5),
        (("encoder", "compatibility_widths"), [2]),
        (("encoder", "compatibility"), [["pinsage"]]),
        (("encoder", "matryoshka"), [2]),
        (("encoder", "matryoshka"), {"x": 1}),
        (("encoder", "query"), None),
        (("encoder", "query"), [1]),
        (("encoder", "entity"), "small"),
        (("encoder", "unheard_of"), 1),
        (("encoder", "query", "max_length"), HUGE),
        (("encoder", "query", "trainable_layers"), HUGE),
        (("encoder", "temperature_start"), "warm"),
        (("query_backbone", "model_type"), "gpt-6"),
        (("query_backbone", "model_type"), ["bert"]),
        (("query_backbone", "model_type"), "vit"),
        (("query_backbone", "model_type"), "bert"),
        (("query_backbone", "activation"), "no-such"),
        (("query_backbone", "activation"), [1]),
        (("query_backbone", "dropout"), "much"),
        (("query_backbone", "pad_token_id"), 10**12),
        (("query_backbone", "sinusoidal_pos_embds"), "yes"),
        (("query_backbone", "quantization_config"), {"quant_method": "gptq"}),
        (("query_backbone",), []),
        (("encoder",), []),
    ],
)  # fmt: skip
def test_a_setting_that_is_not_what_it_must_be_is_one_sentence(
    folder: Path, place: tuple[str, ...], value: Any
) -> None:
    forge(folder, put(*place, value=value))
    refused(folder)


@pytest.mark.parametrize("key", ["fingerprint", "settings", "files", "training", "metrics", "format_version"])
@pytest.mark.parametrize("value", [None, 3, True, "x", [], {}, [[]], {"a": 1}], ids=str)
def test_a_part_of_another_type_is_one_sentence(folder: Path, key: str, value: Any) -> None:
    if value in ({}, {"a": 1}) and key in ("training", "metrics"):
        pytest.skip("what it may be")
    forge(folder, lambda config: config.update({key: value}))
    refused(folder)
    forge(folder, lambda config: config.pop(key))
    refused(folder)


def test_how_to_run_is_not_the_files_to_say(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def order(config: dict[str, Any]) -> None:
        config["settings"]["query_backbone"] |= {
            "attn_implementation": "stranger/kernel",
            "_attn_implementation": "stranger/kernel",
            "auto_map": {"AutoModel": "evil.Model", "AutoConfig": "evil.Config"},
        }

    (folder / "evil.py").write_text("raise SystemExit(99)")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("nobody is asked"))
    forge(folder, order)
    assert "fingerprint" in refused(folder)  # loaded, but not what was saved


def weights(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "model.safetensors"
    tensors = safetensors.numpy.load_file(path)
    change(tensors)
    path.write_bytes(safetensors.numpy.save(tensors))
    forge(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("entity.text.table"),
        lambda tensors: tensors.pop("query.backbone.embeddings.word_embeddings.weight"),
        lambda tensors: tensors.update(more=np.zeros(3, np.float32)),
        lambda tensors: tensors.update({"log_temperature": np.zeros(3, np.float32)}),
        lambda tensors: tensors.update({"entity.text.table": tensors["entity.text.table"].astype(np.float16)}),
        lambda tensors: tensors.update({"entity.text.table": tensors["entity.text.table"].astype(np.int8)}),
        lambda tensors: tensors["entity.text.table"].fill(np.nan),
        lambda tensors: tensors["query.projection.weight"].fill(np.inf),
        lambda tensors: tensors.clear(),
    ],
)
def test_weights_that_are_not_just_the_models_are_one_sentence(folder: Path, change: Callable[[Any], object]) -> None:
    weights(folder, change)
    assert "model.safetensors" in refused(folder)


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\xff" * 64, b"\x08" + b"\0" * 7 + b"{}      ", b"PK\x03\x04" + b"\0" * 99]
)
def test_weights_that_are_no_safetensors_are_one_sentence(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    forge(folder)
    assert "model.safetensors" in refused(folder)


def test_an_lfs_pointer_is_called_one(folder: Path) -> None:
    for name in ("model.safetensors", "ngrams/ngrams.safetensors"):
        (folder / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n")
        assert "git lfs pull" in refused(folder)


TOKENIZER_CHANGES: list[Callable[[dict[str, Any]], object]] = [
    dict.clear,
    lambda tokenizer: tokenizer.pop("model"),
    lambda tokenizer: tokenizer.update(model=None),
    lambda tokenizer: tokenizer.update(model={"type": "Unheard"}),
    lambda tokenizer: tokenizer["model"].update(vocab={}),
    lambda tokenizer: tokenizer["model"].update(vocab={"a": -1}),
    lambda tokenizer: tokenizer["model"].update(vocab=[["a", 1.0]]),
    lambda tokenizer: tokenizer["model"]["vocab"].update({"far": 10**9, "farther": 2**40}),
    lambda tokenizer: tokenizer["model"]["vocab"].update({f"new{row}": 1000 + row for row in range(99)}),
    lambda tokenizer: tokenizer["model"].update(unk_token=None),
    lambda tokenizer: tokenizer.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
    lambda tokenizer: tokenizer.update(normalizer={"type": "Replace", "pattern": {"Regex": "("}, "content": ""}),
    lambda tokenizer: tokenizer.update(pre_tokenizer={"type": "Unheard"}),
    lambda tokenizer: tokenizer.update(post_processor={"type": "BertProcessing", "sep": 1}),
    lambda tokenizer: tokenizer.update(added_tokens=[{"id": "x"}]),
    lambda tokenizer: tokenizer.update(truncation={"max_length": -1}),
]


@pytest.mark.parametrize("change", TOKENIZER_CHANGES)
def test_a_tokenizer_that_the_library_cannot_read_is_one_sentence(
    folder: Path, change: Callable[[Any], object]
) -> None:
    path = folder / "query_tokenizer" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    change(tokenizer)
    path.write_text(json.dumps(tokenizer))
    forge(folder)
    refused(folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"tokenizer_class": 3},
        {"tokenizer_class": ["x"]},
        {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}},
        {"auto_map": 3},
        {"added_tokens_decoder": {"x": {}}},
        {"added_tokens_decoder": 3},
        {"pad_token": None},
        {"pad_token": 3},
        {"extra_special_tokens": 3},
        {"model_max_length": "x"},
        {"init_inputs": [1, 2, 3]},
    ],
)
def test_tokenizer_settings_of_any_kind_end_in_one_sentence(
    folder: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("nobody is asked"))
    (folder / "query_tokenizer" / "evil.py").touch()  # not even listed
    path = folder / "query_tokenizer" / "tokenizer_config.json"
    path.write_text(json.dumps(copy.copy(json.loads(path.read_text())) | settings))
    (folder / "query_tokenizer" / "evil.py").unlink()
    forge(folder)
    refused(folder)
