"""Files from strangers: names that are no paths, JSON that is not what it must be."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from omnifeat.data.artefacts import LibraryCall, checked, member, read_bytes, read_object, refuse_lfs_pointer
from omnifeat.errors import DataError, EncoderError


@pytest.mark.parametrize("name", ["model.txt", "ngrams/ngrams.json", "a b/ü.txt", "...", ".hidden"])
def test_a_name_in_the_folder_is_its_place(tmp_path: Path, name: str) -> None:
    assert member(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize(
    "name",
    [
        "../.bashrc",
        "a/../../b",
        "a/..",
        "..",
        ".",
        "",
        "/etc/passwd",
        "//host/share",
        "a//b",
        "a/",
        "./a",
        "~/a",
        "~root/a",
        "C:/a",
        "C:a",
        "a:stream",
        "..\\a",
        "\\\\host\\share",
        "a\0b",
        "a\nb",
        "a\x1b[2Jb",
        "\ud800",
        "x" * 300,
        "ü" * 150,
        "a/" * 900 + "a",
        None,
        3,
        True,
        ["a"],
        {"a": 1},
        b"a",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused_in_one_sentence(tmp_path: Path, name: object) -> None:
    with pytest.raises(EncoderError, match="names the file") as refused:
        member(tmp_path, name, error=EncoderError, remedy="fetch the encoder again")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400


def test_a_link_in_the_folder_may_not_lead_out_of_it(tmp_path: Path) -> None:
    folder, outside = tmp_path / "enc", tmp_path / "outside"
    (folder / "sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret").write_text("x")
    (folder / "file").symlink_to(outside / "secret")
    (folder / "up").symlink_to("..")
    (folder / "new").symlink_to(outside / "not-there-yet")
    (folder / "chain").symlink_to("file")
    (folder / "inner").symlink_to("sub")
    (folder / "loop").symlink_to("loop")
    for name in ("file", "up/outside/secret", "new", "chain"):
        with pytest.raises(DataError, match="link that leads out"):
            member(folder, name)
    assert member(folder, "inner/file") == folder / "inner" / "file"
    with pytest.raises(DataError, match="cannot be reached"):
        read_bytes(member(folder, "loop"), limit=10)


def test_a_folder_whose_name_begins_alike_is_outside(tmp_path: Path) -> None:
    (tmp_path / "enc").mkdir()
    (tmp_path / "enc-other").mkdir()
    (tmp_path / "enc" / "file").symlink_to(tmp_path / "enc-other" / "file")
    with pytest.raises(DataError, match="link that leads out"):
        member(tmp_path / "enc", "file")


def test_a_folder_that_is_itself_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert member(tmp_path / "link", "a/b") == tmp_path / "link" / "a" / "b"


def test_links_of_a_snapshot_lead_to_the_blobs_of_its_own_repository(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--owner--name" / "snapshots" / "0123"
    blobs = tmp_path / "models--owner--name" / "blobs"
    other = tmp_path / "models--owner--other" / "blobs"
    for folder in (snapshot / "sub", blobs, other):
        folder.mkdir(parents=True)
    (blobs / "abc").write_text("x")
    (other / "abc").write_text("y")
    (snapshot / "config.json").symlink_to("../../blobs/abc")
    (snapshot / "sub" / "config.json").symlink_to("../../../blobs/abc")
    (snapshot / "theirs").symlink_to("../../../models--owner--other/blobs/abc")
    for name in ("config.json", "sub/config.json"):
        assert read_bytes(member(snapshot, name), limit=1) == b"x"
    assert read_bytes(member(snapshot / "sub", "config.json"), limit=1) == b"x"
    with pytest.raises(DataError, match="link that leads out"):
        member(snapshot, "theirs")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b'{"a": NaN}', "finite"),
        (b'{"a": -Infinity}', "finite"),
        (b'{"a": 1e999}', "finite"),
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"b": {"a": 1, "c": 3, "a": 2}}', "'a' stands twice"),
        (b'{"a": "\\ud800"}', "not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"a": ' + b"[" * 150 + b"]" * 150 + b"}", "nested too deeply"),
        (b"[1]", "holds a list"),
        (b"null", "holds null"),
        (b'"text"', "holds a text"),
        (b"3", "holds a number"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "Git LFS pointer"),
    ],
)
def test_json_that_is_no_sound_object_is_one_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(EncoderError, match=said) as refused:
        read_object(path, error=EncoderError, remedy="fetch it again")
    assert "config.json" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_a_pipe_and_nothing_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, said in (("folder", "a folder"), ("pipe", "a pipe"), ("nothing", "has no file 'nothing'")):
        with pytest.raises(DataError, match=said):
            read_object(tmp_path / name)
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be reached"):
        read_object(tmp_path / "file" / "inner")


def test_a_file_larger_than_such_a_file_may_be_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse: reading it would end the process
    with pytest.raises(DataError, match="bytes, more than"):
        read_object(path)


def test_an_lfs_pointer_is_told_from_weights(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")
    with pytest.raises(EncoderError, match="git lfs pull"):
        refuse_lfs_pointer(path, error=EncoderError)
    path.write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    refuse_lfs_pointer(path)


class _Inner(BaseModel):
    dim: int
    names: tuple[str, ...] = ()


class _Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")
    encoder: _Inner
    share: float = 0.5


def test_what_is_right_comes_back_typed() -> None:
    found = checked(_Whole, {"encoder": {"dim": 3, "names": ["a"]}, "share": 1}, where="f.json")
    assert found == _Whole(encoder=_Inner(dim=3, names=("a",)), share=1.0)
    assert checked(dict[str, int], {"a": 1}, where="f.json") == {"a": 1}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "lacks 'encoder'"),
        ({"encoder": {}}, "lacks 'encoder.dim'"),
        ({"encoder": []}, "'encoder'"),
        ({"encoder": {"dim": True}}, "'encoder.dim'"),
        ({"encoder": {"dim": "3"}}, "'encoder.dim'.*'3'"),
        ({"encoder": {"dim": 3.5}}, "'encoder.dim'"),
        ({"encoder": {"dim": None}}, "'encoder.dim'"),
        ({"encoder": {"dim": 3, "names": "ab"}}, "'encoder.names'"),
        ({"encoder": {"dim": 3, "names": [1]}}, "'encoder.names.0'"),
        ({"encoder": {"dim": 3}, "more": 1}, "'more'"),
        ({"encoder": {"dim": 3}, "x\x1b[2J": 1}, "wrong at"),
        ([], "its content"),
        (None, "its content"),
        (object(), "JSON does not"),
    ],
)
def test_what_is_missing_or_of_another_type_is_one_sentence(values: Any, said: str) -> None:
    with pytest.raises(EncoderError, match=said) as refused:
        checked(_Whole, values, where="f.json", error=EncoderError, remedy="fetch it again")
    assert str(refused.value).startswith("'f.json' ")
    assert str(refused.value).isprintable()


def test_every_cut_of_a_sound_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    content = json.dumps({"encoder": {"dim": 3, "names": ["ü"]}, "share": 0.25}, ensure_ascii=False).encode()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(DataError, match="not JSON"):
            read_object(path)


class PanicException(BaseException):
    """Stands in for that of Rust's libraries."""


@pytest.mark.parametrize("fault", [Exception("bad\nmore"), KeyError("x"), PanicException("bad\x1b[2J"), MemoryError()])
def test_whatever_a_library_raises_is_one_sentence(fault: BaseException) -> None:
    with pytest.raises(EncoderError) as told:  # noqa: SIM117 - the order matters
        with LibraryCall("No tokenizer can be loaded from 'x'", error=EncoderError, remedy="give another"):
            raise fault
    assert str(told.value).startswith("No tokenizer can be loaded from 'x' (")
    assert str(told.value).endswith("); give another.")
    assert str(told.value).isprintable()


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), SystemExit(3), DataError("ours")])
def test_what_is_no_fault_of_a_library_passes(fault: BaseException) -> None:
    with pytest.raises(type(fault)) as passed, LibraryCall("No"):
        raise fault
    assert passed.value is fault
