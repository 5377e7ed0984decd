import hashlib
import json
import os
import pickletools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pytest
import torch

from omnifeat.errors import DataError, EncoderError, OutputError, SettingError
from omnifeat.frozen import FrozenEncoder
from omnifeat.models.config import EncoderConfig, EntityConfig, QueryConfig, fitted_to
from omnifeat.models.entity_features import entity_texts
from omnifeat.models.omni import OmniModel, build_model
from omnifeat.models.query import QueryTokenizer, make_query_tokenizer
from omnifeat.text import NgramTokenizer

QUERIES = ["red shoes", "hat", "帽子 bleu élégant", "a very long query about red hats and blue shoes"]
PINS = pa.table(
    {
        "id": ["a", "b", "c", "d"],
        "title": ["Red shoes", "blue hat 帽子", None, None],
        "engaged_queries": pa.array([["red shoe", "Shoes", "hat"], ["hat"], None, None], pa.list_(pa.string())),
        "pinsage": pa.array([[1.0, 0.0, 0.0, 0.0], None, [0.0, 2.0, 0.0, 0.0], None], pa.list_(pa.float32(), 4)),
    }
)
CONFIG = EncoderConfig(
    dim=16,
    query=QueryConfig(hidden=16, layers=2, heads=2, vocab_size=200, max_length=12),
    entity=EntityConfig(hash_rows=100, text_dim=8, hidden=(16, 16)),
    matryoshka={4: 0.05, 8: 0.05, 16: 1.0},
)


def parts(config: EncoderConfig = CONFIG, seed: int = 0) -> tuple[OmniModel, QueryTokenizer, NgramTokenizer]:
    config = fitted_to(config, {"pins": PINS.schema})
    ngrams = NgramTokenizer.fit(entity_texts(PINS, config.entity))
    tokenizer = make_query_tokenizer(config.query, QUERIES)
    return build_model(config, tokenizer, ngrams.size, seed=seed), tokenizer, ngrams


@pytest.fixture(scope="module")
def encoder() -> FrozenEncoder:
    return FrozenEncoder.from_model(
        *parts(), training={"data": "four pins", "steps": 0}, metrics={"test": {"recall@10": 0.123456789}}, device="cpu"
    )


@pytest.fixture(scope="module")
def saved(encoder: FrozenEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder.save_pretrained(tmp_path_factory.mktemp("frozen") / "encoder")


def write(table: pa.Table, path: Path) -> Path:
    feather.write_feather(table, path)
    return path


def copy_of(folder: Path, target: Path) -> Path:
    for path in folder.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    return target


# ---- the folder


def test_the_folder_holds_what_it_must(saved: Path) -> None:
    files = {path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file()}
    assert {
        "config.json",
        "model.safetensors",
        "README.md",
        "query_tokenizer/tokenizer.json",
        "ngrams/ngrams.safetensors",
    } <= files
    config = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    assert set(config["files"]) == files - {"config.json", "README.md"}
    assert config["settings"]["encoder"]["dim"] == 16
    for name in files:  # no pickle anywhere
        content = (saved / name).read_bytes()
        assert content[:2] != b"PK"
        with pytest.raises((ValueError, IndexError, StopIteration)):
            list(pickletools.genops(content))


def test_the_card_tells_settings_data_and_recall(saved: Path, encoder: FrozenEncoder) -> None:
    card = (saved / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: omnifeat\n")
    for expected in (encoder.fingerprint, "recall@10: 0.123457", "data: four pins", '"text_dim": 8', "pinsage (4)"):
        assert expected in card


def test_a_loaded_encoder_is_the_saved_one(saved: Path, encoder: FrozenEncoder) -> None:
    loaded = FrozenEncoder.from_pretrained(saved, device="cpu")
    assert loaded.fingerprint == encoder.fingerprint
    assert loaded.config == encoder.config
    assert (loaded.dim, loaded.matryoshka) == (16, (4, 8))
    assert (loaded.training, loaded.metrics) == (encoder.training, encoder.metrics)
    np.testing.assert_array_equal(loaded.encode_queries(QUERIES), encoder.encode_queries(QUERIES))
    np.testing.assert_array_equal(loaded.encode_entities(PINS), encoder.encode_entities(PINS))
    assert loaded.fingerprint[:12] in repr(loaded)


def test_a_new_process_finds_the_same_bytes(saved: Path, encoder: FrozenEncoder, tmp_path: Path) -> None:
    pins = write(PINS, tmp_path / "pins.arrow")
    program = (
        "import sys, json, hashlib; from omnifeat.frozen import FrozenEncoder;"
        "e = FrozenEncoder.from_pretrained(sys.argv[1], device='cpu', threads=1); q = json.loads(sys.argv[3]);"
        "sha = lambda a: hashlib.sha256(a.tobytes()).hexdigest();"
        "print(e.fingerprint, sha(e.encode_queries(q, batch_size=2)));"
        "print(sha(e.encode_entities(sys.argv[2], batch_size=2)))"
    )
    arguments = [str(saved), str(pins), json.dumps(QUERIES)]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},  # a folder needs no hub
    )
    here = FrozenEncoder.from_pretrained(saved, device="cpu", threads=1)
    vectors = here.encode_queries(QUERIES, batch_size=2), here.encode_entities(PINS, batch_size=2)
    expected = [encoder.fingerprint, *(hashlib.sha256(vector.tobytes()).hexdigest() for vector in vectors)]
    assert done.stdout.split() == expected


def test_a_pretrained_backbone_needs_its_folder_no_more(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    source = tmp_path / "secret-place" / "bert"
    _, tokenizer, _ = parts()
    tokenizer.save(source)
    settings = BertConfig(
        vocab_size=tokenizer.vocabulary, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    BertModel(settings).save_pretrained(str(source))
    query = QueryConfig(model=str(source), pooling="mean", prefix="query: ", projection="identity-init", max_length=12)
    encoder = FrozenEncoder.from_model(*parts(EncoderConfig(dim=8, query=query, entity=CONFIG.entity)), device="cpu")
    encoder.save_pretrained(tmp_path / "encoder")
    before = encoder.encode_queries(QUERIES)
    (tmp_path / "secret-place").rename(tmp_path / "gone")
    loaded = FrozenEncoder.from_pretrained(tmp_path / "encoder", device="cpu")
    assert loaded.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(loaded.encode_queries(QUERIES), before)
    assert loaded.config.query.model == "bert"
    for path in (tmp_path / "encoder").rglob("*"):
        assert path.is_dir() or b"secret-place" not in path.read_bytes()


def test_the_fingerprint_tells_weights_settings_and_vocabularies_apart(encoder: FrozenEncoder) -> None:
    def fingerprint(*model: Any) -> str:
        return FrozenEncoder.from_model(*model, device="cpu").fingerprint

    model, tokenizer, ngrams = parts()
    assert fingerprint(model, tokenizer, ngrams) == encoder.fingerprint
    with torch.no_grad():
        model.entity.text.table[0, 0] += 1e-6
    prefix = EncoderConfig.from_dict({**CONFIG.to_dict(), "query": {**CONFIG.query.to_dict(), "prefix": "q "}})
    # the weights fit, but the vocabulary has other tokens under the same ids
    other = NgramTokenizer.fit(array.cast(pa.string()).slice(0, 1) for array in entity_texts(PINS, CONFIG.entity))
    changed = {
        encoder.fingerprint,
        fingerprint(model, tokenizer, ngrams),
        fingerprint(*parts(seed=1)),
        fingerprint(*parts(prefix)),
        fingerprint(build_model(model.config, tokenizer, other.size), tokenizer, other),
    }
    assert len(changed) == 5


def test_training_may_go_on_after_freezing(encoder: FrozenEncoder) -> None:
    model, tokenizer, ngrams = parts()
    frozen = FrozenEncoder.from_model(model, tokenizer, ngrams, device="cpu")
    before = frozen.encode_queries(QUERIES)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    np.testing.assert_array_equal(frozen.encode_queries(QUERIES), before)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def relative_files() -> list[str]:
    return ["config.json", "model.safetensors", "query_tokenizer/tokenizer.json", "ngrams/ngrams.safetensors"]


@pytest.mark.parametrize("name", relative_files())
def test_a_changed_byte_is_found_in_every_file(name: str, saved: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    folder = copy_of(saved, tmp_path / "encoder")
    content = (folder / name).read_bytes()
    for position in [0, len(content) // 2, *generator.integers(0, len(content) - 1, 6).tolist()]:
        if content[position : position + 1].isspace():
            continue  # one blank for another changes nothing in JSON
        changed = bytearray(content)
        changed[position] ^= 1
        (folder / name).write_bytes(bytes(changed))
        with pytest.raises(EncoderError) as caught:
            FrozenEncoder.from_pretrained(folder, device="cpu")
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    (folder / name).write_bytes(content)
    FrozenEncoder.from_pretrained(folder, device="cpu")


@pytest.mark.parametrize("name", relative_files())
def test_a_missing_or_cut_file_is_named(name: str, saved: Path, tmp_path: Path) -> None:
    folder = copy_of(saved, tmp_path / "encoder")
    (folder / name).write_bytes((folder / name).read_bytes()[:-10])
    with pytest.raises(EncoderError, match=name):
        FrozenEncoder.from_pretrained(folder, device="cpu")
    (folder / name).unlink()
    with pytest.raises(EncoderError, match=name):
        FrozenEncoder.from_pretrained(folder, device="cpu")


def test_the_card_may_be_edited(saved: Path, tmp_path: Path, encoder: FrozenEncoder) -> None:
    folder = copy_of(saved, tmp_path / "encoder")
    (folder / "README.md").write_text("ours", encoding="utf-8")
    assert FrozenEncoder.from_pretrained(folder, device="cpu").fingerprint == encoder.fingerprint


def test_a_newer_format_is_named(saved: Path, tmp_path: Path) -> None:
    folder = copy_of(saved, tmp_path / "encoder")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["checksum"]
    config["format_version"] = 99
    canonical = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    config["checksum"] = hashlib.sha256(canonical).hexdigest()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(EncoderError, match="has format version 99"):
        FrozenEncoder.from_pretrained(folder, device="cpu")


def test_what_is_no_encoder_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"There is no encoder folder '.*nowhere'"):
        FrozenEncoder.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(EncoderError, match=r"no encoder folder: it has no file 'config.json'"):
        FrozenEncoder.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(EncoderError, match=r"its 'config.json' is not one that omnifeat wrote"):
        FrozenEncoder.from_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="There is no encoder folder"):
        FrozenEncoder.from_pretrained(tmp_path / "config.json")
    with pytest.raises(EncoderError, match="no encoder of that name came from the hub"):
        FrozenEncoder.from_pretrained("nobody-here/no-such-encoder", local_files_only=True, cache_dir=tmp_path)


def test_saving_again_replaces_the_notes_and_not_the_fingerprint(saved: Path, tmp_path: Path) -> None:
    loaded = FrozenEncoder.from_pretrained(saved, device="cpu")
    target = tmp_path / "deep" / "encoder"
    loaded.save_pretrained(target)
    loaded.save_pretrained(target, metrics={"recall@10": 0.5})
    again = FrozenEncoder.from_pretrained(target, device="cpu")
    assert (again.metrics, again.fingerprint) == ({"recall@10": 0.5}, loaded.fingerprint)
    assert again.training == loaded.training
    assert [path.name for path in target.parent.iterdir()] == ["encoder"]


def test_saving_leaves_other_folders_alone(encoder: FrozenEncoder, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="exists and is no encoder folder"):
        encoder.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_save_that_fails_leaves_nothing(encoder: FrozenEncoder, tmp_path: Path, monkeypatch: Any) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("omnifeat.models.encoder_folder.save_file", full)
    with pytest.raises(OutputError):
        encoder.save_pretrained(tmp_path / "encoder")
    assert list(tmp_path.iterdir()) == []


def test_notes_must_be_json(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="plain JSON"):
        FrozenEncoder.from_model(*parts(), metrics={"recall": float("nan")})
    with pytest.raises(SettingError, match="plain JSON"):
        FrozenEncoder.from_model(*parts(), training={"path": tmp_path})


# ---- encoding


@pytest.mark.parametrize(
    "column",
    [
        tuple(QUERIES),
        np.array(QUERIES),
        np.array(QUERIES, dtype=object),
        pd.Series(QUERIES, index=[3, 1, 2, 0]),
        pl.Series(QUERIES),
        pa.array(QUERIES),
        pa.chunked_array([QUERIES[:1], QUERIES[1:]]),
    ],
    ids=lambda column: type(column).__module__ + "." + type(column).__name__,
)
def test_queries_come_in_any_column(column: Any, encoder: FrozenEncoder) -> None:
    vectors = encoder.encode_queries(column)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, encoder.encode_queries(QUERIES))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_batch_size_moves_values_by_no_more_than_the_tolerance(encoder: FrozenEncoder) -> None:
    queries = [f"{text} {number}" for number in range(20) for text in QUERIES]
    alone = encoder.encode_queries(queries, batch_size=1)
    for batch_size in (2, 7, 256):
        np.testing.assert_allclose(encoder.encode_queries(queries, batch_size), alone, atol=1e-5, rtol=0)
        np.testing.assert_allclose(
            encoder.encode_entities(PINS, batch_size=batch_size), encoder.encode_entities(PINS, batch_size=1), atol=1e-5
        )


def test_the_same_call_twice_gives_the_same_bits_in_the_order_of_the_input(encoder: FrozenEncoder) -> None:
    queries = QUERIES * 70  # beyond one window of sorted batches
    first = encoder.encode_queries(queries, batch_size=2)
    np.testing.assert_array_equal(first, encoder.encode_queries(queries, batch_size=2))
    np.testing.assert_allclose(first, np.tile(encoder.encode_queries(QUERIES), (70, 1)), atol=1e-5)


def test_no_queries_give_no_vectors(encoder: FrozenEncoder) -> None:
    assert encoder.encode_queries([]).shape == (0, 16)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", None], "Row 2 of the queries is null"),
        (pd.Series(["a", None]), "Row 2 of the queries is null"),
        (["a", "b", " \t\u3000"], "Row 3 of the queries is empty"),
        ([3], "Row 1 of the queries is 3, which is no text"),
        (["a\ud800"], "Row 1 of the queries is not valid Unicode"),
        ("red shoes", "Queries must come as a list"),
        (pd.DataFrame({"query": ["a", "b"]}), r"Queries must be one column; .* such as table\['query'\]"),
        ({"query": ["a", "b"]}, "Queries must be one column; got a table"),
    ],
)
def test_a_query_that_is_no_text_is_named(texts: Any, message: str, encoder: FrozenEncoder) -> None:
    with pytest.raises(DataError, match=message):
        encoder.encode_queries(texts)


def test_entities_come_in_any_table(encoder: FrozenEncoder, tmp_path: Path) -> None:
    expected = encoder.encode_entities(PINS)
    assert expected.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), [1, 1, 1, 0], atol=1e-6)
    path = write(PINS, tmp_path / "pins.arrow")
    polars_table = pl.from_arrow(PINS)
    for table in (PINS.to_pandas(), polars_table, path, PINS.to_pydict()):
        np.testing.assert_array_equal(encoder.encode_entities(table), expected)
    # the order is the rows'
    np.testing.assert_allclose(encoder.encode_entities(PINS.take([2, 0])), expected[[2, 0]], atol=1e-6)


def test_entity_errors_name_the_table(encoder: FrozenEncoder) -> None:
    twice = PINS.set_column(0, "id", pa.array(["a", "a", "b", "c"]))
    with pytest.raises(DataError, match="Table 'pins' has the id 'a' twice"):
        encoder.encode_entities(twice, entity_type="pin")
    with pytest.raises(SettingError, match="must be one of pin, product; got 'board'"):
        encoder.encode_entities(PINS, entity_type="board")


def test_existing_embeddings_keep_their_cosines(encoder: FrozenEncoder) -> None:
    vectors, present = encoder.encode_compatibility(PINS, "pinsage")
    assert present.tolist() == [True, False, True, False]
    np.testing.assert_allclose(vectors @ vectors.T, np.diag([1.0, 0, 1, 0]), atol=1e-6)
    with pytest.raises(SettingError, match="not compatible with 'itemsage'; it was trained with pinsage"):
        encoder.encode_compatibility(PINS, "itemsage")
    with pytest.raises(DataError, match="Table 'pins' has no column 'pinsage'"):
        encoder.encode_compatibility(PINS.select(["id", "title"]), "pinsage", entity_type="pin")


def test_threads_and_devices(saved: Path) -> None:
    before = torch.get_num_threads()
    FrozenEncoder.from_pretrained(saved, device="cpu", threads=3).encode_queries(QUERIES)
    assert torch.get_num_threads() == before
    with pytest.raises(SettingError, match="'threads' setting must be 1 or more"):
        FrozenEncoder.from_pretrained(saved, threads=0)
    with pytest.raises(SettingError, match="There is no device 'abacus'"):
        FrozenEncoder.from_pretrained(saved, device="abacus")
    encoder = FrozenEncoder.from_pretrained(saved, device="cpu")
    with pytest.raises(SettingError, match="'batch_size' must be 1 or more"):
        encoder.encode_queries(QUERIES, batch_size=0)


# ---- features


PAIRS = pa.table(
    {
        "query": ["hat", "red shoes", None, " ", "hat", "hat", "hat", "red shoes"],
        "entity_id": ["a", "b", "a", "a", None, "zzz", "d", "c"],
        "label": list(range(8)),
    }
)


def cosine(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))


def test_features_equal_cosines_worked_out_one_by_one(encoder: FrozenEncoder) -> None:
    table = encoder.featurize(PAIRS, PINS)
    names = ["cosine", "cosine_4", "cosine_8", "cosine_pinsage", "max_cosine_engaged_queries"]
    assert table.column_names == [*PAIRS.column_names, *names, "mean_cosine_engaged_queries", "unscored"]
    assert table.select(PAIRS.column_names).equals(PAIRS)
    rows = table.to_pylist()
    query = dict(zip(["hat", "red shoes"], encoder.encode_queries(["hat", "red shoes"]), strict=True))
    entity = dict(zip("abcd", encoder.encode_entities(PINS), strict=True))
    pinsage = dict(zip("abcd", encoder.encode_compatibility(PINS, "pinsage")[0], strict=True))
    for row in (0, 1, 7):
        pair, q = rows[row], query[PAIRS["query"][row].as_py()]
        e = entity[PAIRS["entity_id"][row].as_py()]
        assert pair["unscored"] is None
        assert pair["cosine"] == pytest.approx(cosine(q, e), abs=1e-5)
        assert pair["cosine_4"] == pytest.approx(cosine(q[:4], e[:4]), abs=1e-5)
        assert pair["cosine_8"] == pytest.approx(cosine(q[:8], e[:8]), abs=1e-5)
    assert rows[0]["cosine_pinsage"] == pytest.approx(cosine(query["hat"], pinsage["a"]), abs=1e-5)
    assert rows[1]["cosine_pinsage"] is None  # b has no PinSage embedding
    # of a's engaged queries, "hat" is the pair's own
    others = [cosine(query["hat"], vector) for vector in encoder.encode_queries(["red shoe", "Shoes"])]
    assert rows[0]["max_cosine_engaged_queries"] == pytest.approx(max(others), abs=1e-5)
    assert rows[0]["mean_cosine_engaged_queries"] == pytest.approx(sum(others) / 2, abs=1e-5)
    assert rows[7]["max_cosine_engaged_queries"] is None  # c has none
    kept = encoder.featurize(PAIRS, PINS, leave_out_own_query=False).to_pylist()
    assert kept[0]["max_cosine_engaged_queries"] == pytest.approx(1.0, abs=1e-5)


def test_pairs_that_cannot_be_scored_are_kept_and_say_why(encoder: FrozenEncoder) -> None:
    table = encoder.featurize(PAIRS, PINS)
    assert table["unscored"].to_pylist() == [
        None,
        None,
        "query is null",
        "query is blank",
        "entity_id is null",
        "entity_id is not among the entities",
        "entity vector is zero",  # d has neither text nor vectors
        None,
    ]
    for name in ("cosine", "cosine_4", "cosine_pinsage", "max_cosine_engaged_queries"):
        assert table[name].slice(2, 5).null_count == 5
    with pytest.raises(DataError, match="the table of pairs, row 3: query is null"):
        encoder.featurize(PAIRS, PINS, strict=True)
    assert encoder.featurize(PAIRS.slice(0, 2), PINS, strict=True)["unscored"].null_count == 2


def test_each_library_gets_its_own_table_back(encoder: FrozenEncoder) -> None:
    expected = encoder.featurize(PAIRS, PINS)["cosine"].to_pylist()
    frame = PAIRS.to_pandas().set_index(pd.Index(range(10, 18)))
    result = encoder.featurize(frame, PINS.to_pandas())
    assert isinstance(result, pd.DataFrame)
    assert result.index.equals(frame.index)
    np.testing.assert_array_equal(result["cosine"].to_numpy(float), np.array(expected, float))
    polars_result = encoder.featurize(pl.from_arrow(PAIRS), pl.from_arrow(PINS))
    assert isinstance(polars_result, pl.DataFrame)
    assert polars_result["cosine"].to_list() == expected


def test_types_tell_entities_and_queries_apart(encoder: FrozenEncoder) -> None:
    entities = PINS.set_column(0, "id", pa.array(["a", "a", "hat", "d"]))
    entities = entities.append_column("entity_type", pa.array(["pin", "product", "pin", "pin"]))
    pairs = pa.table(
        {
            "query": ["red shoes"] * 5,
            "entity_id": ["a", "a", "hat", "hat", " "],
            "entity_type": ["pin", "product", "query", "pin", "query"],
        }
    )
    table = encoder.featurize(pairs, entities)
    query, hat = encoder.encode_queries(["red shoes", "hat"])
    pins = encoder.encode_entities(PINS)
    expected = [cosine(query, vector) for vector in (pins[0], pins[1], hat, pins[2])]
    np.testing.assert_allclose(table["cosine"].to_pylist()[:4], expected, atol=1e-5)
    assert table["unscored"].to_pylist()[4] == "entity_id is not among the entities"
    assert table["cosine_pinsage"].to_pylist()[2] is None
    with pytest.raises(DataError, match="holds the id 'a' as entities of several types"):
        encoder.featurize(pairs.drop_columns(["entity_type"]), entities)


def test_pairs_without_what_they_need_are_named(encoder: FrozenEncoder) -> None:
    with pytest.raises(DataError, match="the table of pairs has no column 'entity_id'; its columns are query"):
        encoder.featurize(PAIRS.select(["query"]), PINS)
    with pytest.raises(DataError, match="the entities table has no column 'id'"):
        encoder.featurize(PAIRS, PINS.select(["title"]))
    again = PAIRS.append_column("cosine", PAIRS["label"])
    with pytest.raises(DataError, match="has a column 'cosine' already"):
        encoder.featurize(again, PINS)
    assert "new_cosine" in encoder.featurize(again, PINS, column_prefix="new_").column_names


def test_the_streaming_command_gives_the_same_features(encoder: FrozenEncoder) -> None:
    from omnifeat.featurize import featurize

    for options in ({}, {"leave_out_own_query": False}, {"column_prefix": "x_"}):
        here = encoder.featurize(PAIRS, PINS, **options)
        there = featurize(PAIRS, encoder=encoder, entities=PINS, **options)
        assert here.column_names == there.column_names
        for name in here.column_names:
            first, second = here[name].to_pylist(), there[name].to_pylist()
            if pa.types.is_floating(here[name].type):
                assert [value is None for value in first] == [value is None for value in second]
                np.testing.assert_allclose(np.array(first, float), np.array(second, float), atol=1e-5)
            else:
                assert first == second
