"""Arrays of a stranger's file: what NumPy writes comes back, and a header that does not fit its bytes is refused."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnifeat.data.array_files import read_array, read_arrays
from omnifeat.errors import DataError


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.arange(5, dtype=np.int32),
        np.array("a key"),
        np.array([True, False]),
        np.empty((0, 4), np.float32),
        np.ones((2, 1, 3), np.uint8),
    ],
)
def test_what_numpy_writes_comes_back(array: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    found = read_array(tmp_path / "a.npy")
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    np.savez_compressed(tmp_path / "a.npz", one=array, two=array)
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.npz", limit=10_000)["two"], array)


def _saved(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("found", "to"),
    [
        (b"(3, 4)", b"(99999999999, 99999999999)"),
        (b"(3, 4)", b"(3, 5)"),
        (b"(3, 4)", b"(-3, -4)"),
        (b"'<f4'", b"'|O'"),
        (b"'<f4'", b"[('a', '<f4')]"),
        (b"'<f4'", b"'<f4'*9**9**9"),
        (b"False", b"True "),
        (b"\x93NUMPY\x01", b"\x93NUMPY\x03"),
        (b"{'descr'", b"(" * 40),
    ],
)
def test_a_header_that_does_not_fit_is_refused(found: bytes, to: bytes, tmp_path: Path) -> None:
    content = _saved(np.ones((3, 4), np.float32))
    assert found in content
    (tmp_path / "a.npy").write_bytes(content.replace(found, to, 1))
    with pytest.raises(DataError, match=r"a\.npy is no array that NumPy wrote"):
        read_array(tmp_path / "a.npy")


def test_a_pickle_a_zip_and_a_cut_file_are_refused(tmp_path: Path) -> None:
    whole = _saved(np.ones((3, 4), np.float32))
    np.savez(tmp_path / "zip.npz", a=np.ones(3))
    for content in (_saved(np.array([{}]), allow_pickle=True), (tmp_path / "zip.npz").read_bytes(), whole[:-1], b""):
        (tmp_path / "a.npy").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.npy is no array that NumPy wrote"):
            read_array(tmp_path / "a.npy")


def test_an_archive_that_unpacks_to_more_than_is_wanted_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(10**6))
    assert (tmp_path / "a.npz").stat().st_size < 10_000
    with pytest.raises(DataError, match="more than 100000 bytes"):
        read_arrays(tmp_path / "a.npz", limit=100_000)


def test_an_archive_that_is_damaged_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.arange(1000))
    content = (tmp_path / "a.npz").read_bytes()
    for length in range(0, len(content), 50):
        (tmp_path / "a.npz").write_bytes(content[:length])
        with pytest.raises(DataError, match="holds no arrays that NumPy wrote"):
            read_arrays(tmp_path / "a.npz", limit=100_000)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", b"text")
    with pytest.raises(DataError, match="its header is another"):
        read_arrays(tmp_path / "a.npz", limit=100_000)
