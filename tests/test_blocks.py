"""A frozen encoder of several blocks: learned, words, and a text encoder on both sides."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.data.dataset import Dataset
from omnifeat.errors import EncoderError, SettingError
from omnifeat.frozen import FrozenEncoder
from omnifeat.models.block_config import TextConfig, WordsConfig
from omnifeat.models.config import EncoderConfig, preset
from omnifeat.models.overrides import with_overrides
from omnifeat.models.query import build_text_encoder
from omnifeat.training.prepare import prepare_training_data
from omnifeat.training.settings import TrainSettings, train_preset
from omnifeat.training.text_tuning import tune_text
from omnifeat.training.trainer import train
from tests.tiny_transformer import write_transformer
from tests.training.worlds import TOPICS, write_world

WORDS = sorted({word for topic in TOPICS for word in topic.split()} | {"ideas", "cheap", "diy", "small", "number"})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_world(tmp_path_factory.mktemp("blocks") / "data")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> EncoderConfig:
    folder = write_transformer(tmp_path_factory.mktemp("transformer") / "bert", WORDS)
    text = TextConfig(model=str(folder), max_length=16, trainable_layers=1)
    return dataclasses.replace(preset("tiny"), words=WordsConfig(width=64), text=text)


def settings(**changes: object) -> TrainSettings:
    few = {"device": "cpu", "steps": 12, "text_steps": 4, "text_batch_size": 32}
    return dataclasses.replace(train_preset("tiny"), **(few | changes))  # type: ignore[arg-type]


# equal shares, so that no block is dropped whatever this world's development pairs say
SHARES = {"learned": 0.5, "words": 0.3, "text": 0.2}


@pytest.fixture(scope="module")
def trained(world: Dataset, config: EncoderConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "encoder"
    return train(world, dataclasses.replace(config, block_weights=SHARES), settings(), folder).path


def unit_parts(encoder: FrozenEncoder, vectors: np.ndarray) -> dict[str, np.ndarray]:
    parts, start = {}, 0
    for name, width in encoder.blocks.items():
        block = vectors[:, start : start + width]
        parts[name] = block / np.linalg.norm(block, axis=1, keepdims=True)
        start += width
    return parts


def test_the_cosine_is_the_sum_of_the_blocks_cosines_times_their_shares(world: Dataset, trained: Path) -> None:
    encoder = FrozenEncoder.from_pretrained(trained, device="cpu")
    assert encoder.blocks == {"learned": 32, "words": 64, "text": 8}
    assert encoder.dim == 104
    queries = encoder.encode_queries(["red shoes cheap", "oak shelf small"])
    entities = encoder.encode_entities(world.read("pins"))
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(entities, axis=1), 1, rtol=1e-5)
    of_queries, of_entities = unit_parts(encoder, queries), unit_parts(encoder, entities)
    expected = sum(share * of_queries[name] @ of_entities[name].T for name, share in SHARES.items())
    np.testing.assert_allclose(queries @ entities.T, expected, atol=1e-5)


def test_featurize_gives_the_whole_cosine_and_one_column_a_block(world: Dataset, trained: Path) -> None:
    encoder = FrozenEncoder.from_pretrained(trained, device="cpu")
    pairs = pa.table({"query": ["red shoes cheap", "oak shelf small"], "entity_id": ["pin1", "pin2"]})
    table = encoder.featurize(pairs, world.read("pins"), entity_type="pin")
    names = ["cosine", "cosine_learned", "cosine_words", "cosine_text", "cosine_pinsage"]
    assert [name for name in table.column_names if name.startswith("cosine")] == names
    queries = encoder.encode_queries(pairs["query"])
    pins = world.read("pins").slice(1, 2)
    entities = encoder.encode_entities(pins)
    of_queries, of_entities = unit_parts(encoder, queries), unit_parts(encoder, entities)
    for name in SHARES:
        np.testing.assert_allclose(
            table[f"cosine_{name}"].to_numpy(), (of_queries[name] * of_entities[name]).sum(axis=1), atol=1e-5
        )
    # existing embeddings are compared with the learned block alone, undiminished by its share
    existing, _ = encoder.encode_compatibility(pins, "pinsage")
    own = existing[:, :32] / np.linalg.norm(existing[:, :32], axis=1, keepdims=True)
    np.testing.assert_allclose(table["cosine_pinsage"].to_numpy(), (of_queries["learned"] * own).sum(axis=1), atol=1e-5)


def test_the_command_gives_the_same_columns_from_tables_of_vectors(
    world: Dataset, trained: Path, tmp_path: Path
) -> None:
    pairs = pa.table({"query": ["red shoes cheap", "oak shelf small"], "entity_id": ["pin1", "pin2"]})
    pq.write_table(pairs, tmp_path / "pairs.parquet")
    run = CliRunner().invoke
    common = ["--encoder", str(trained)]
    pins = str(tmp_path / "pins.parquet")
    pq.write_table(world.read("pins"), pins)
    for words in (
        ["featurize", str(tmp_path / "pairs.parquet"), *common, "--entities", pins, "-o", str(tmp_path / "a.parquet")],
        ["embed", "--entities", pins, *common, "-o", str(tmp_path / "vectors.parquet")],
        ["featurize", str(tmp_path / "pairs.parquet"), *common, "--embeddings", str(tmp_path / "vectors.parquet"),
         "-o", str(tmp_path / "b.parquet")],
    ):  # fmt: skip
        result = run(app, words)
        assert result.exit_code == 0, result.output
    live, stored = pq.read_table(tmp_path / "a.parquet"), pq.read_table(tmp_path / "b.parquet")
    for name in ("cosine", "cosine_learned", "cosine_words", "cosine_text"):
        np.testing.assert_allclose(live[name].to_numpy(), stored[name].to_numpy(), atol=1e-6)


def test_a_saved_encoder_of_blocks_needs_no_other_folder_and_is_the_same(trained: Path, tmp_path: Path) -> None:
    encoder = FrozenEncoder.from_pretrained(trained, device="cpu")
    again = FrozenEncoder.from_pretrained(encoder.save_pretrained(tmp_path / "copy"), device="cpu")
    assert again.fingerprint == encoder.fingerprint
    texts = ["red shoes", "oak shelf"]
    np.testing.assert_array_equal(again.encode_queries(texts), encoder.encode_queries(texts))
    names = json.loads((trained / "config.json").read_text())["files"]
    assert any(name.startswith("text_tokenizer/") for name in names)
    assert not any(name.startswith("query_tokenizer/") for name in names)
    assert json.loads((trained / "config.json").read_text())["settings"]["encoder"]["text"]["model"] == "bert"


def test_an_entity_without_text_gets_its_other_blocks(trained: Path, world: Dataset) -> None:
    encoder = FrozenEncoder.from_pretrained(trained, device="cpu")
    pins = world.read("pins").slice(1, 1)
    bare = pins.set_column(pins.column_names.index("title"), "title", pa.array([None], pa.string()))
    (vector,) = encoder.encode_entities(bare)
    assert not vector[-8:].any()
    assert np.linalg.norm(vector) == pytest.approx(1, rel=1e-5)


def test_a_damaged_text_tokenizer_is_named(trained: Path, tmp_path: Path) -> None:
    copy = FrozenEncoder.from_pretrained(trained).save_pretrained(tmp_path / "copy")
    (copy / "text_tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(EncoderError, match=r"lacks the file 'text_tokenizer/tokenizer\.json'"):
        FrozenEncoder.from_pretrained(copy)


def test_shares_are_chosen_and_never_below_an_ingredient(world: Dataset, config: EncoderConfig, tmp_path: Path) -> None:
    result = train(world, config, settings(), tmp_path / "encoder")
    notes = json.loads((result.path / "config.json").read_text())
    found = notes["training"]["ingredients"]
    assert {"text, untuned", "text, tuned", "learned", "words", "text", "words and text", "published"} == set(found)
    overall = {name: (recall["mean"] + recall["new_mean"]) / 2 for name, recall in found.items()}
    assert overall["published"] >= max(overall.values()) - 1e-9
    shares = notes["settings"]["encoder"]["block_weights"]
    assert set(FrozenEncoder.from_pretrained(result.path).blocks) == set(shares)
    assert result.metrics["development_recall@10_mean"] == pytest.approx(found["published"]["mean"])


def test_tuning_changes_the_top_layers_alone_and_lowers_the_loss(world: Dataset, config: EncoderConfig) -> None:
    data = prepare_training_data(world, config)
    encoder = build_text_encoder(config.text).eval()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    first = tune_text(encoder, data, settings(text_steps=1, text_learning_rate=1e-12), torch.device("cpu"))
    last = tune_text(encoder, data, settings(text_steps=30, text_learning_rate=3e-3), torch.device("cpu"))
    assert last < first
    moved = {name for name, tensor in encoder.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all("layer.0." in name for name in moved)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_a_resumed_run_of_blocks_equals_one_that_never_stopped(
    world: Dataset, config: EncoderConfig, tmp_path: Path
) -> None:
    class Stopped(Exception):
        pass

    def stop(at: object) -> None:
        if at.step == 8:  # type: ignore[attr-defined]
            raise Stopped

    changes = settings(checkpoint_every=4, evaluate_every=6)
    whole = train(world, config, changes, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(world, config, changes, tmp_path / "cut", on_progress=stop)
    again = train(world, config, changes, tmp_path / "cut", resume=True)
    assert again.fingerprint == whole.fingerprint


def test_cosines_of_an_entity_encoder_that_was_not_trained_are_no_columns(
    world: Dataset, config: EncoderConfig, tmp_path: Path
) -> None:
    pairs = pa.table({"query": ["red shoes cheap", "oak shelf small"], "entity_id": ["pin1", "pin2"]})
    tasks = ("*/pinsage",)
    for blocks, expected in ((SHARES, ["cosine_words", "cosine_text", "cosine_pinsage"]), ({}, ["cosine_pinsage"])):
        chosen = dataclasses.replace(config, block_weights=blocks) if blocks else preset("tiny")
        result = train(world, chosen, settings(tasks=tasks, text_steps=0), tmp_path / f"encoder{len(blocks)}")
        encoder = FrozenEncoder.from_pretrained(result.path, device="cpu")
        table = encoder.featurize(pairs, world.read("pins"), entity_type="pin")
        assert [name for name in table.column_names if name.startswith("cosine")] == expected
        assert table["unscored"].null_count == 2
        queries = encoder.encode_queries(pairs["query"])
        existing, _ = encoder.encode_compatibility(world.read("pins").slice(1, 2), "pinsage")
        dots = (unit_parts(encoder, queries)["learned"] * existing[:, : encoder.config.dim]).sum(axis=1)
        np.testing.assert_allclose(table["cosine_pinsage"].to_numpy(), dots, atol=1e-5)


def test_shares_can_be_given_one_by_one() -> None:
    given = ["words.width=64", "block_weights.learned=0.7", "block_weights.words=0.3"]
    assert with_overrides(preset("tiny"), given).shares == {"learned": 0.7, "words": 0.3}


def test_settings_of_blocks_are_checked(world: Dataset, config: EncoderConfig) -> None:
    unknown = dataclasses.replace(config, text=dataclasses.replace(config.text, fields=("title", "headline")))
    with pytest.raises(SettingError, match=r"'text.fields' setting names 'headline', which is a column of none of"):
        prepare_training_data(world, unknown)
    with pytest.raises(SettingError, match=r"'words.width' setting must be 0, or an integer from 2"):
        WordsConfig(width=1)
    with pytest.raises(SettingError, match=r"'block_weights' setting must be given for each of learned, words, text"):
        dataclasses.replace(config, block_weights={"learned": 1.0}, text=dataclasses.replace(config.text, width=8))
    with pytest.raises(SettingError, match=r"'text.trainable_layers' setting must be at most 1"):
        build_text_encoder(dataclasses.replace(config.text, trainable_layers=3))
