"""Encoders of queries by their folders: frozen ones, Transformers models, and several side by side."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnifeat.embed import embed_queries
from omnifeat.errors import EncoderError, FingerprintError, SettingError
from omnifeat.frozen import FrozenEncoder
from omnifeat.pretrained import PretrainedEncoder
from omnifeat.query_encoders import StackedEncoder, open_query_encoder


class AnglesEncoder:
    """Unit vectors (n, 2) at an angle that each text and the encoder give."""

    dim = 2

    def __init__(self, turn: float) -> None:
        self.turn = turn
        self.fingerprint = f"turn {turn}"

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        angles = np.array([self.turn * len(text) for text in texts])
        return np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=4), st.integers(1, 9), st.integers(1, 9))
def test_the_cosine_of_a_stack_is_the_mean_of_its_encoders_cosines(turns: list[float], one: int, two: int) -> None:
    encoders = [AnglesEncoder(turn) for turn in turns]
    stack = StackedEncoder(encoders)
    texts = ["x" * one, "x" * two]
    vectors = stack.encode_queries(texts)
    assert vectors.shape == (2, stack.dim) == (2, 2 * len(turns))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    each = [float(np.dot(*encoder.encode_queries(texts))) for encoder in encoders]
    assert float(unit[0] @ unit[1]) == pytest.approx(np.mean(each), abs=1e-5)


def test_a_stack_by_hand() -> None:
    stack = StackedEncoder([AnglesEncoder(0.0), AnglesEncoder(np.pi / 2)])
    np.testing.assert_allclose(stack.encode_queries(["x", "xx"]), [[1, 0, 0, 1], [1, 0, -1, 0]], atol=1e-6)
    assert stack.fingerprint == f"turn 0.0+turn {np.pi / 2}"
    with pytest.raises(SettingError, match="No encoder was given; name at least one"):
        StackedEncoder([])


def test_folders_of_both_kinds(encoder: FrozenEncoder, encoder_folder: Path, transformer: Path) -> None:
    texts = ["red shoe", "cat"]
    frozen = open_query_encoder([encoder_folder])
    other = open_query_encoder([transformer], prefix="query: ", pooling="cls")
    both = open_query_encoder([encoder_folder, transformer], prefix="query: ", pooling="cls")
    assert isinstance(frozen, FrozenEncoder)
    assert isinstance(other, PretrainedEncoder)
    assert (other.prefix, other.pooling) == ("query: ", "cls")
    assert both.fingerprint == f"{encoder.fingerprint}+{other.fingerprint}"
    assert both.dim == encoder.dim + other.dim
    expected = np.hstack([frozen.encode_queries(texts), other.encode_queries(texts)])
    np.testing.assert_array_equal(both.encode_queries(texts), expected)


def test_tables_go_to_the_encoder_that_made_them(
    encoder: FrozenEncoder, other_encoder: FrozenEncoder, transformer: Path, tmp_path: Path
) -> None:
    (tmp_path / "queries.csv").write_text("query\nred shoes\nhat\n", encoding="utf-8")
    folders = []
    for name, one in (("first", encoder), ("second", other_encoder)):
        folders.append(one.save_pretrained(tmp_path / name))
        embed_queries(tmp_path / "queries.csv", tmp_path / f"{name}.parquet", encoder=one)
    tables = [str(tmp_path / "second.parquet"), str(tmp_path / "first.parquet")]
    texts = ["hat", "blue hat", "red shoes"]
    without = open_query_encoder([*folders, transformer])
    known = open_query_encoder([*folders, transformer], tables=tables)
    assert known.fingerprint == without.fingerprint
    assert known.dim == without.dim
    np.testing.assert_allclose(known.encode_queries(texts), without.encode_queries(texts), atol=1e-6)
    with pytest.raises(FingerprintError, match=r"second\.parquet was made by .*, which is none of .*first;"):
        open_query_encoder([folders[0]], tables=tables)


def test_bad_places(encoder_folder: Path, transformer: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="No encoder was given"):
        open_query_encoder([])
    with pytest.raises(SettingError, match="is named twice; name it once"):
        open_query_encoder([encoder_folder, transformer, str(encoder_folder)])
    with pytest.raises(EncoderError, match="There is no encoder folder"):
        open_query_encoder([tmp_path / "nowhere"])
    broken = shutil.copytree(transformer, tmp_path / "broken")
    (broken / "config.json").write_text("{")
    with pytest.raises(EncoderError, match=r"broken/config\.json cannot be read .*; give the folder of an encoder"):
        open_query_encoder([broken])
