import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel

from omnifeat.errors import DataError, EncoderError, SettingError
from omnifeat.models.config import QueryConfig
from omnifeat.models.query import (
    QueryEncoder,
    QueryTokenizer,
    build_query_encoder,
    make_query_tokenizer,
    normalise_query,
    query_encoder_from_settings,
    train_wordpiece,
)

TEXTS = ["red shoes", "blue shoes", "Chapeau élégant", "赤い帽子", "帽子", "красная шляпа", "قبعة حمراء", "shoe 👟"]
SMALL = QueryConfig(hidden=8, layers=2, heads=2, vocab_size=200, max_length=12)


def encode(encoder: QueryEncoder, tokenizer: QueryTokenizer, texts: list[str]) -> torch.Tensor:
    with torch.no_grad():
        return encoder.eval()(**tokenizer(texts))


def pretrained(folder: Path, **changes: object) -> tuple[QueryTokenizer, QueryEncoder]:
    config = QueryConfig.from_dict({"model": str(folder), "max_length": 16, **changes})
    tokenizer = make_query_tokenizer(config)
    return tokenizer, build_query_encoder(config, 8, tokenizer)


def test_queries_are_trimmed_collapsed_and_unicode_normalised() -> None:
    # full-width letters, a ligature, a no-break space; letter case stays
    assert normalise_query("  \tＲｅｄ  o\u00a0ﬃce \n") == "Red o ffice"


@settings(deadline=None, max_examples=50)
@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise_query(text)
    assert normalise_query(once) == once


def test_wordpiece_covers_every_script() -> None:
    tokenizer = train_wordpiece(TEXTS, SMALL)
    unknown = tokenizer.tokenizer.unk_token_id
    for ids in tokenizer.ids(TEXTS):
        assert unknown not in ids
        assert (ids[0], ids[-1]) == (tokenizer.tokenizer.cls_token_id, tokenizer.tokenizer.sep_token_id)
    assert tokenizer.vocabulary <= SMALL.vocab_size
    # case is folded, accents are not
    assert tokenizer.ids(["RED Shoes"]) == tokenizer.ids(["red shoes"])
    assert tokenizer.ids(["élégant"]) != tokenizer.ids(["elegant"])
    # Chinese characters are words of their own, so a character in a longer text is the same piece
    assert tokenizer.ids(["帽"])[0][1] in tokenizer.ids(["赤い帽子"])[0]


def test_wordpiece_keeps_to_a_small_vocabulary() -> None:
    tokenizer = train_wordpiece(TEXTS, QueryConfig(hidden=8, heads=2, vocab_size=25))
    assert tokenizer.vocabulary <= 25
    assert tokenizer.tokenizer.unk_token_id in tokenizer.ids(["赤い帽子"])[0]


def test_wordpiece_is_the_same_in_every_process() -> None:
    # the library's hash tables are salted anew in each process
    program = (
        "import json; from omnifeat.models.query import *; from omnifeat.models.config import QueryConfig;"
        "texts = [f'{a}{b}{c} {c}{a}é{b}' for a in 'abcdef' for b in 'ghijkл' for c in 'mn帽子'];"
        "t = train_wordpiece(texts, QueryConfig(vocab_size=150));"
        "print(json.dumps(sorted(t.tokenizer.get_vocab().items(), key=lambda item: item[1])))"
    )
    digests = set()
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert len(json.loads(done.stdout)) == 150
        digests.add(hashlib.sha256(done.stdout.encode()).hexdigest())
    assert len(digests) == 1


def test_wordpiece_needs_text() -> None:
    with pytest.raises(DataError, match="no query text"):
        train_wordpiece(["", "  "], SMALL)


def test_tokenizer_survives_saving(tmp_path: Path) -> None:
    tokenizer = train_wordpiece(TEXTS, SMALL)
    tokenizer.save(tmp_path)
    assert QueryTokenizer.load(tmp_path, max_length=SMALL.max_length, prefix=SMALL.prefix).ids(TEXTS) == tokenizer.ids(
        TEXTS
    )
    assert not any(path.suffix in (".pkl", ".bin", ".pt") for path in tmp_path.iterdir())


def test_batches_are_padded_and_cut() -> None:
    tokenizer = train_wordpiece(TEXTS, SMALL)
    batch = tokenizer(["red", "red shoes " * 20])
    assert batch["input_ids"].shape == (2, SMALL.max_length)
    assert batch["attention_mask"].sum(dim=1).tolist() == [3, SMALL.max_length]
    assert (batch["input_ids"][0, 3:] == tokenizer.padding_id).all()
    assert tokenizer([])["input_ids"].shape == (0, 0)


def test_prefix_stands_before_every_query(bert_folder: Path) -> None:
    with_prefix, _ = pretrained(bert_folder, prefix="query: ")
    without, _ = pretrained(bert_folder)
    assert with_prefix.ids([" red "]) == without.ids(["query: red"])


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_padding_does_not_change_the_embedding(pooling: str, bert_folder: Path) -> None:
    tokenizer, encoder = pretrained(bert_folder, pooling=pooling)
    together = encode(encoder, tokenizer, ["red", "blue shoes hat red a b"])
    torch.testing.assert_close(together[:1], encode(encoder, tokenizer, ["red"]), atol=1e-5, rtol=0)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_untrained_with_identity_projection_equals_the_pretrained_encoder(pooling: str, bert_folder: Path) -> None:
    tokenizer, encoder = pretrained(bert_folder, pooling=pooling, projection="identity-init")
    backbone = AutoModel.from_pretrained(str(bert_folder)).eval()
    with torch.no_grad():
        hidden = backbone(**tokenizer(["red shoes"])).last_hidden_state[0]
    expected = hidden[0] if pooling == "cls" else hidden.mean(dim=0)
    actual = encode(encoder, tokenizer, ["red shoes"])[0]
    torch.testing.assert_close(actual, expected / expected.norm(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dim", [4, 16])
def test_identity_projection_of_another_width_is_semi_orthogonal(dim: int, bert_folder: Path) -> None:
    config = QueryConfig(model=str(bert_folder), projection="identity-init", max_length=16)
    weight = build_query_encoder(config, dim, make_query_tokenizer(config)).projection.weight.detach()
    product = weight @ weight.T if dim < 8 else weight.T @ weight
    torch.testing.assert_close(product, torch.eye(min(dim, 8)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_only_the_top_layers_learn(layers: int, bert_folder: Path) -> None:
    tokenizer, encoder = pretrained(bert_folder, trainable_layers=layers)
    encoder.train()
    encoder(**tokenizer(["red shoes"]))[0, 0].backward()
    learned = {name for name, parameter in encoder.named_parameters() if parameter.grad is not None}
    tops = {f"backbone.encoder.layer.{number}" for number in range(3 - layers, 3)}
    assert {".".join(name.split(".")[:4]) for name in learned if name.startswith("backbone")} == tops
    assert {"projection.weight", "projection.bias"} <= learned


def test_frozen_layers_do_without_dropout(bert_folder: Path) -> None:
    tokenizer, encoder = pretrained(bert_folder, trainable_layers=0, dropout=0.5)
    encoder.train()
    first, second = encoder(**tokenizer(["red"])), encoder(**tokenizer(["red"]))
    assert torch.equal(first, second)
    # while a layer that learns has it
    tokenizer, encoder = pretrained(bert_folder, trainable_layers=1, dropout=0.5)
    encoder.train()
    first, second = encoder(**tokenizer(["red"])), encoder(**tokenizer(["red"]))
    assert not torch.equal(first, second)
    assert torch.equal(encode(encoder, tokenizer, ["red"]), encode(encoder, tokenizer, ["red"]))


def test_all_weights_learn_when_none_is_frozen(bert_folder: Path) -> None:
    # a weight without a gradient would stop distributed training; BERT's pooler would be one
    tokenizer, encoder = pretrained(bert_folder)
    encoder(**tokenizer(["red shoes", "hat"]))[:, 0].sum().backward()
    assert [name for name, parameter in encoder.named_parameters() if parameter.grad is None] == []


def test_scratch_encoder_is_built_to_its_settings() -> None:
    tokenizer = make_query_tokenizer(SMALL, TEXTS)
    encoder = build_query_encoder(SMALL, 6, tokenizer)
    assert encode(encoder, tokenizer, TEXTS).shape == (len(TEXTS), 6)
    settings_of = encoder.backbone_settings()
    assert (settings_of["model_type"], settings_of["dim"], settings_of["n_layers"]) == ("distilbert", 8, 2)


@pytest.mark.parametrize("source", ["scratch", "bert"])
def test_an_encoder_is_built_again_from_its_settings(source: str, bert_folder: Path) -> None:
    if source == "bert":
        config = QueryConfig(model=str(bert_folder), max_length=16)
        tokenizer, encoder = pretrained(bert_folder)
    else:
        config, tokenizer = SMALL, make_query_tokenizer(SMALL, TEXTS)
        encoder = build_query_encoder(SMALL, 8, tokenizer)
    stored = json.loads(json.dumps(encoder.backbone_settings()))
    assert str(bert_folder) not in json.dumps(stored)
    rebuilt = query_encoder_from_settings(config, 8, stored, {})
    rebuilt.load_state_dict(encoder.state_dict())
    assert torch.equal(encode(rebuilt, tokenizer, ["red hat"]), encode(encoder, tokenizer, ["red hat"]))


def test_a_folder_that_is_no_encoder_is_named(tmp_path: Path, bert_folder: Path) -> None:
    missing = QueryConfig(model=str(tmp_path / "none"))
    with pytest.raises(EncoderError, match=r"No tokenizer can be loaded from '.*none'"):
        make_query_tokenizer(missing)
    with pytest.raises(EncoderError, match=r"No query encoder can be loaded from '.*none'"):
        build_query_encoder(missing, 8, train_wordpiece(TEXTS, SMALL))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((bert_folder / name).read_bytes())
    with pytest.raises(EncoderError, match="No query encoder can be loaded"):
        build_query_encoder(QueryConfig(model=str(tmp_path)), 8, train_wordpiece(TEXTS, SMALL))


def test_settings_that_do_not_fit_the_encoder_are_named(bert_folder: Path) -> None:
    with pytest.raises(SettingError, match=r"'query.trainable_layers' setting must be at most 3"):
        pretrained(bert_folder, trainable_layers=4)
    with pytest.raises(SettingError, match=r"'query.max_length' setting must be at most 32"):
        pretrained(bert_folder, max_length=64)
    with pytest.raises(EncoderError, match="of type 'no-such-type'"):
        query_encoder_from_settings(SMALL, 8, {"model_type": "no-such-type"}, {})
