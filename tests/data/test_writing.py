import errno
import os
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from omnifeat.commands.console import check_free
from omnifeat.data import writing
from omnifeat.data.files import TableWriter, read_table, replace_when_whole
from omnifeat.errors import DataError, OmnifeatError, OutputError, SettingError


def fail(path: Path | str) -> None:
    """Write half a file and stop."""
    with TableWriter(path, TABLE.schema) as writer:
        writer.write(TABLE)
        raise RuntimeError("stop")


def fail_folder(path: Path) -> None:
    with replace_when_whole(path) as folder:
        folder.mkdir()
        (folder / "third").write_text("")
        raise RuntimeError("stop")


TABLE = pa.table({"id": ["a", "b"], "n": [1, 2]})


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "t.parquet"
    with TableWriter(target, TABLE.schema) as writer:
        writer.write(TABLE)
        writer.write(TABLE.to_batches()[0])
        assert not target.exists()
    assert read_table(target).num_rows == writer.rows == 4
    with pytest.raises(RuntimeError, match="stop"):
        fail(target)
    assert read_table(target).num_rows == 4  # what stood there still stands
    assert os.listdir(tmp_path / "new") == ["t.parquet"]


def test_a_url_appears_whole_or_not_at_all() -> None:
    files = fsspec.filesystem("memory")
    with pytest.raises(RuntimeError, match="stop"):
        fail("memory://w/t.csv")
    assert files.ls("memory://w") == []
    with TableWriter("memory://w/t.csv", TABLE.schema) as writer:
        writer.write(TABLE)
    assert files.cat("memory://w/t.csv") == b'"id","n"\n"a",1\n"b",2\n'


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for content in ("first", "second"):
        with replace_when_whole(target) as folder:
            folder.mkdir()
            (folder / content).write_text(content)
            (folder / "about").write_text("of both")
        assert sorted(os.listdir(target)) == ["about", content]
    with pytest.raises(RuntimeError, match="stop"):
        fail_folder(target)
    assert sorted(os.listdir(target)) == ["about", "second"]
    assert os.listdir(tmp_path) == ["out"]
    with pytest.raises(OutputError, match="a folder stands there"), replace_when_whole(target) as path:
        path.write_text("a file")
    assert sorted(os.listdir(target)) == ["about", "second"]


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "thesis"
    target.mkdir()
    (target / "chapter.txt").write_text("years of work")

    def write(**options: bool) -> None:
        with replace_when_whole(target, **options) as folder:
            folder.mkdir()
            (folder / "about").write_text("new")

    with pytest.raises(OutputError, match=r"a folder of something else stands there \(with 'chapter.txt'\)"):
        write()
    assert os.listdir(target) == ["chapter.txt"]
    assert os.listdir(tmp_path) == ["thesis"]
    write(whatever=True)
    assert os.listdir(target) == ["about"]
    (target / "about").unlink()
    write()  # an empty folder is anybody's
    assert os.listdir(target) == ["about"]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file/t.csv cannot be written: a file stands where a folder must be"):
        TableWriter(tmp_path / "file" / "t.csv", TABLE.schema).__enter__()
    with (
        pytest.raises(OutputError, match="the name is too long"),
        TableWriter(tmp_path / ("x" * 250 + ".csv"), TABLE.schema),
    ):
        pass
    with pytest.raises(OutputError, match="nothing was made"), replace_when_whole(tmp_path / "x"):
        pass
    with pytest.raises(SettingError, match="not on this machine"), replace_when_whole("memory://x/y"):
        pass
    with pytest.raises(DataError, match="has a suffix that is not known"):
        TableWriter(tmp_path / "t.xlsx", TABLE.schema)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("suffix", ["parquet", "csv", "csv.gz", "jsonl", "arrow"])
def test_a_full_disk(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / f"t.{suffix}"
    target.write_text("before")

    def full(path: Path, mode: str) -> Any:
        path.symlink_to("/dev/full")
        return open(path, mode)

    monkeypatch.setattr(Path, "open", full)
    rows = pa.table({"id": [f"{n * 7919 % 100_003}" for n in range(200_000)]})
    match = rf"t\.{suffix} cannot be written: no space is left on the disk"
    with pytest.raises(OutputError, match=match), TableWriter(target, rows.schema) as writer:
        writer.write(rows)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == [target.name]
    assert target.read_text() == "before"


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.EACCES, "no permission"), (errno.EROFS, "no permission"), (errno.EIO, "Input/output error")],
)
def test_what_the_system_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError, match=f"sub/out cannot be written: .*{reason}"):
        replace_when_whole(tmp_path / "sub" / "out").__enter__()


def test_an_input_that_is_missing_is_not_the_outputs_fault(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replace_when_whole(tmp_path / "out"):
        (tmp_path / "input").read_text()


def test_batches_must_fit_the_schema(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="a batch has the columns id, but the table has id, n"),
        TableWriter(tmp_path / "t.csv", TABLE.schema) as writer,
    ):
        writer.write(TABLE.select(["id"]))
    with (
        pytest.raises(DataError, match="does not have the table's types"),
        TableWriter(tmp_path / "t.csv", TABLE.schema) as writer,
    ):
        writer.write(pa.table({"id": ["a"], "n": ["x"]}))
    with pytest.raises(SettingError, match="inside its `with` block"):
        TableWriter(tmp_path / "t.csv", TABLE.schema).write(TABLE)
    assert os.listdir(tmp_path) == []


def test_small_batches_share_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "ROW_GROUP", 5)
    with TableWriter(tmp_path / "t.parquet", TABLE.schema) as writer:
        for _ in range(4):
            writer.write(TABLE)
    metadata = pq.ParquetFile(tmp_path / "t.parquet").metadata
    # 2 rows at a time: after three the 6 waiting rows go out in groups of at most 5, the last 2 at the end
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [5, 1, 2]


def test_others_can_read_vectors_with_nulls(tmp_path: Path) -> None:
    vectors = pa.array([[1, 2], None, [3, 4]], pa.list_(pa.float32(), 2))
    table = pa.table({"id": ["a", "b", "c"], "pinsage": vectors}).replace_schema_metadata({"made": "by hand"})
    with TableWriter(tmp_path / "t.parquet", table.schema) as writer:
        writer.write(table)
    frame = pd.read_parquet(tmp_path / "t.parquet")
    assert [None if value is None else list(value) for value in frame["pinsage"]] == [[1, 2], None, [3, 4]]
    assert read_table(tmp_path / "t.parquet").equals(table, check_metadata=True)


def test_gzip_writes_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz"):
        with TableWriter(tmp_path / name, TABLE.schema) as writer:
            writer.write(TABLE)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "has no name: name a file"),
        (" ", "has no name: name a file"),
        ("http://example.org/t.csv", "web addresses can only be read; name a local file"),
        ("s3://bucket/t.csv", "cannot be reached: Install s3fs to access S3; install that, or use a file on this"),
        ("nowhere://bucket/t.csv", "no file system is known for nowhere://; use a file on this machine"),
        ("/proc/none/t.csv", "/proc/none/t.csv cannot be written: .*choose another place"),
        ("/proc/t.csv", "/proc/t.csv cannot be written: .*choose another place"),
        ("a\0b.csv", "the path 'a.x00b.csv' holds a NUL character"),
        ("/dev/null/t.csv", "cannot be written: a file stands where a folder must be"),
    ],
)
def test_an_output_that_is_no_place_is_one_sentence(
    path: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pafs, "FileSystem", NoNetwork)  # Arrow would ask for the bucket's region
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OmnifeatError, match=said) as caught, TableWriter(path, TABLE.schema) as writer:
        writer.write(TABLE)
    assert "\n" not in str(caught.value)
    if "nowhere" not in path and "://" not in path:
        with pytest.raises(OmnifeatError), replace_when_whole(path) as folder:
            folder.mkdir()
    assert list(tmp_path.iterdir()) == []


class NoNetwork:
    @staticmethod
    def from_uri(uri: str) -> None:
        raise OSError(f"no network for {uri}")


@pytest.mark.parametrize("place", ["", ".", "s3://bucket/new", "https://example.org/new", "new\0"])
def test_a_folder_that_is_no_place_is_refused_before_any_work(
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="name a new|name a file or|name a local place|choose another name"):
            check_free(Path(place), overwrite)
    assert list(tmp_path.iterdir()) == []
