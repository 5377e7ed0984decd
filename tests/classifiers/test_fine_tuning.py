"""Fine-tuning on a transformer of a few hundred weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from classifiers.fine_tuning import FineTuning, fine_tune
from omnifeat.errors import DataError, EncoderError, SettingError
from omnifeat.pretrained import PretrainedEncoder
from tests.tiny_transformer import write_transformer

WORDS = {("animals", "birds"): ("owl", "duck"), ("animals", "fish"): ("shark", "trout"), ("food",): ("bread", "plum")}
TEXTS = [f"{one} {two}" for words in WORDS.values() for one in words for two in ("red", "big", "red big")]
PATHS = [path for path, words in WORDS.items() for _ in words for _ in range(3)]
QUICK = FineTuning(epochs=30, batch_size=6, encoder_learning_rate=1e-2, head_learning_rate=1e-2, train_words=True)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ["red", "big", *(word for words in WORDS.values() for word in words)]
    return write_transformer(tmp_path_factory.mktemp("encoder"), words)


def separation(folder: Path) -> float:
    """How much nearer queries of one class are than those of different ones."""
    vectors = PretrainedEncoder.load(str(folder)).encode(TEXTS)
    same = np.array([[one == two for two in PATHS] for one in PATHS])
    cosines = vectors @ vectors.T
    return float(cosines[same].mean() - cosines[~same].mean())


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_classes_move_apart(encoder: Path, tmp_path: Path, pooling: str) -> None:
    losses: list[float] = []
    settings = FineTuning(**{**vars(QUICK), "pooling": pooling})
    fine_tune(encoder, TEXTS, PATHS, tmp_path / "tuned", settings, on_batch=lambda rows, loss: losses.append(loss))
    assert len(losses) == 30 * 3
    assert np.mean(losses[-9:]) < 0.5 * np.mean(losses[:9])
    if pooling == "mean":
        assert separation(tmp_path / "tuned") > separation(encoder) + 0.3


def test_the_same_seed_gives_the_same_weights(encoder: Path, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    settings = FineTuning(epochs=1, batch_size=6)
    for name in ("one", "two"):
        fine_tune(encoder, TEXTS, PATHS, tmp_path / name, settings, threads=1)
    assert (torch.random.get_rng_state() == before).all()  # nobody else's random numbers are touched
    one, two = (AutoModel.from_pretrained(tmp_path / name).state_dict() for name in ("one", "two"))
    assert all(torch.equal(one[key], two[key]) for key in one)
    start = AutoModel.from_pretrained(encoder).state_dict()
    assert any(not torch.equal(one[key], start[key]) for key in one)


def test_several_interests_of_a_query(encoder: Path, tmp_path: Path) -> None:
    paths = [[path, ("food",)] for path in PATHS]
    fine_tune(encoder, TEXTS, paths, tmp_path / "tuned", FineTuning(epochs=1))
    assert (tmp_path / "tuned" / "config.json").exists()


def test_wrong_input(encoder: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    with pytest.raises(DataError, match="two interests or more; the 2 queries have 1"):
        fine_tune(encoder, ["owl", "duck"], [("food",)] * 2, new)
    with pytest.raises(DataError, match="each of the 2 queries"):
        fine_tune(encoder, ["owl", "duck"], [("food",)], new)
    with pytest.raises(EncoderError, match="No pretrained encoder can be loaded from"):
        fine_tune(tmp_path / "absent", TEXTS, PATHS, new)
    for wrong, said in (
        ({"epochs": 0}, "'epochs'"),
        ({"scale": 0.0}, "'scale'"),
        ({"pooling": "max"}, "no pooling 'max'"),
        ({"label_smoothing": 1.0}, "'label_smoothing'"),
    ):
        with pytest.raises(SettingError, match=said):
            FineTuning(**wrong)  # type: ignore[arg-type]
    assert not new.exists()
