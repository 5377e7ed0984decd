"""A `.bin` file is checked before fastText, which allocates what its header says, reads it."""

import struct
from pathlib import Path

import pytest

from classifiers.fasttext_classifier import LABEL, FastTextClassifier
from classifiers.fasttext_file import check_fasttext_file
from omnifeat.errors import DataError

QUERIES = ["red shoes", "blue shoes", "green hat", "dog food", "cat food"] * 3
PATHS = [("a", "x"), ("a", "x"), ("a", "y"), ("b", "z"), ("b", "z")] * 3
SETTINGS = ("dim", "window", "epochs", "least", "negatives", "words", "loss", "model", "buckets", "shortest", "longest")
_SETTINGS_AT, _SIZES_AT = 8, 8 + 48 + 8
_ENTRIES_AT = _SIZES_AT + 28


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small model of three classes."""
    folder = tmp_path_factory.mktemp("fasttext") / "saved"
    FastTextClassifier(epochs=2, dim=3, buckets=20).fit(QUERIES, PATHS).save(folder)
    return (folder / "model_0.bin").read_bytes()


def _check(content: bytes, folder: Path, classes: int = 3, loss: str = "softmax") -> None:
    file = folder / "model_0.bin"
    file.write_bytes(content)
    check_fasttext_file(file, classes=classes, loss=loss, label=LABEL)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"loss": "hierarchical-softmax"},
        {"loss": "one-vs-all", "char_ngrams": (0, 0), "word_ngrams": 1},
        {"char_ngrams": (1, 1), "buckets": 1},
    ],
)
def test_what_fasttext_writes_passes(settings: dict[str, object], tmp_path: Path) -> None:
    FastTextClassifier(**{"epochs": 2, "dim": 3, "buckets": 20, **settings}).fit(QUERIES, PATHS).save(
        tmp_path / "saved"
    )
    content = (tmp_path / "saved" / "model_0.bin").read_bytes()
    _check(content, tmp_path, loss=str(settings.get("loss", "softmax")))


def _with(content: bytes, at: int, form: str, *values: int | float) -> bytes:
    changed = bytearray(content)
    struct.pack_into(form, changed, at, *values)
    return bytes(changed)


@pytest.mark.parametrize("value", [0, -1, 2**31 - 1, -(2**31), 1_000_000])
@pytest.mark.parametrize("name", ["dim", "loss", "model", "buckets"])
def test_a_setting_beyond_the_bytes_is_refused(name: str, value: int, content: bytes, tmp_path: Path) -> None:
    at = _SETTINGS_AT + 4 * SETTINGS.index(name)
    with pytest.raises(DataError, match=r"model_0\.bin is no model that fastText wrote \(.*\); train"):
        _check(_with(content, at, "<i", value), tmp_path)


@pytest.mark.parametrize("place", [0, 1, 2, 4])  # the number of tokens allocates nothing
@pytest.mark.parametrize("value", [0, -2, 2**31 - 1, 5])
def test_a_size_of_the_dictionary_that_does_not_fit_is_refused(
    place: int, value: int, content: bytes, tmp_path: Path
) -> None:
    at, form = (_SIZES_AT + 4 * place, "<i") if place < 3 else (_SIZES_AT + 12 + 8 * (place - 3), "<q")
    with pytest.raises(DataError, match="no model that fastText wrote"):
        _check(_with(content, at, form, value), tmp_path)


def test_counts_kinds_and_texts_of_entries_are_checked(content: bytes, tmp_path: Path) -> None:
    end = content.index(b"\0", _ENTRIES_AT)
    for changed in (
        _with(content, end + 1, "<q", 10**15),
        _with(content, end + 1, "<q", -1),
        _with(content, end + 9, "<B", 1),
        _with(content, end + 9, "<B", 7),
        content.replace(b"__label__000000001\0", b"__label__000000002\0"),
        content.replace(b"__label__000000001\0", b"__label__00000001x\0"),
        content.replace(b"\0", b"\1"),
    ):
        with pytest.raises(DataError, match="no model that fastText wrote"):
            _check(changed, tmp_path)


def test_matrices_must_fill_the_rest_with_finite_numbers(content: bytes, tmp_path: Path) -> None:
    for changed in (
        content + b"\0",
        content[:-1],
        _with(content, len(content) - 4, "<f", float("nan")),
        _with(content, len(content) - 4 * 9 - 17, "<B", 1),
        _with(content, len(content) - 4 * 9 - 16, "<q", 2**62),
        _with(content, len(content) - 4 * 9 - 8, "<q", 2**62),
    ):
        with pytest.raises(DataError, match="no model that fastText wrote"):
            _check(changed, tmp_path)


def test_a_file_that_is_cut_anywhere_is_refused(content: bytes, tmp_path: Path) -> None:
    for length in range(0, len(content), 7):
        with pytest.raises(DataError, match="no model that fastText wrote"):
            _check(content[:length], tmp_path)


def test_a_folder_in_place_of_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model_0.bin").mkdir()
    with pytest.raises(DataError, match="is a folder where a file must be"):
        check_fasttext_file(tmp_path / "model_0.bin", classes=3, loss="softmax", label=LABEL)
