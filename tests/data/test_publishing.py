"""Kills, races and things that stand in the way, where an output takes its place."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from omnifeat import owned
from omnifeat.data import publishing
from omnifeat.data.files import TableWriter, read_table, replace_when_whole
from omnifeat.data.locations import locate
from omnifeat.data.locks import LOCK, working_in
from omnifeat.errors import OutputError
from omnifeat.scratch import temporary_folder

TABLE = pa.table({"id": ["a", "b"], "n": [1, 2]})

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def write_folder(target: Path, content: str, **options: bool) -> None:
    with replace_when_whole(target, **options) as folder:
        folder.mkdir()
        (folder / "about").write_text(content)


@contextmanager
def another_process(work: Callable[[Callable[[], None]], Any]) -> Iterator[int]:
    """A process that does the work up to where it calls what it is given, and waits there; killed in the end."""
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            work(lambda: (os.write(write, b"x"), signal.pause()))  # type: ignore[arg-type,return-value]
        finally:
            os._exit(1)
    os.close(write)
    try:
        assert os.read(read, 1) == b"x"
        yield process
    finally:
        os.close(read)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def write_table_twice(path: Path | str) -> None:
    """A second run begins before the first and ends after it."""
    with TableWriter(path, TABLE.schema, overwrite=False), TableWriter(path, TABLE.schema, overwrite=False) as first:
        first.write(TABLE)


def write_folder_twice(path: Path) -> None:
    with replace_when_whole(path, overwrite=False) as place:
        place.mkdir()
        (place / "about").write_text("second")
        write_folder(path, "first", overwrite=False)


def half_written(target: Path) -> Callable[[Callable[[], None]], None]:
    def work(wait: Callable[[], None]) -> None:
        with replace_when_whole(target) as folder:
            folder.mkdir()
            (folder / "about").write_text("half")
            wait()

    return work


def test_what_a_killed_run_left_is_swept_by_the_next_and_what_a_living_one_makes_is_not(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with another_process(half_written(target)):
        (partial,) = os.listdir(tmp_path)
        assert partial.startswith(".out.partial-")
        write_folder(target, "mine")
        assert sorted(os.listdir(tmp_path)) == [partial, "out"]
    write_folder(target, "again")
    assert os.listdir(tmp_path) == ["out"]


def test_temporary_folders_of_killed_runs_are_swept(tmp_path: Path) -> None:
    mine = tmp_path / "omnifeat-tmp-notes"  # no name of ours
    mine.mkdir()

    def work(wait: Callable[[], None]) -> None:
        with temporary_folder(tmp_path):
            wait()

    with another_process(work):
        with temporary_folder(tmp_path):
            assert len(os.listdir(tmp_path)) == 3
        assert len(os.listdir(tmp_path)) == 2
    with temporary_folder(tmp_path) as folder:
        assert sorted(os.listdir(tmp_path)) == sorted([folder.name, mine.name])
    assert os.listdir(tmp_path) == [mine.name]


@pytest.mark.parametrize("moment", ["before it is opened", "before it is locked"])
def test_a_folder_that_a_sweep_takes_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    owner, call = (os, "mkdir") if moment == "before it is opened" else (owned, "_open_folder")
    before, swept = getattr(owner, call), []

    def swept_after(path: Path, *more: Any) -> Any:
        made = before(path, *more)
        if not swept:
            swept.append(path)
            os.rmdir(path)
        return made

    monkeypatch.setattr(owner, call, swept_after)
    with temporary_folder(tmp_path) as folder:
        assert folder.is_dir()
        assert swept
        assert folder not in swept


@pytest.mark.parametrize("step", [1, 2])
def test_a_kill_between_the_renames_of_a_swap_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Where the system can't exchange two folders, the next run finishes what was begun."""
    target = tmp_path / "out"
    write_folder(target, "first")
    rename, done = os.rename, []

    def killed_after(source: Any, place: Any) -> None:
        rename(source, place)
        done.append(source)
        if len(done) == step:
            os._exit(9)

    if process := os.fork():
        os.waitpid(process, 0)
    else:
        monkeypatch.setattr(publishing, "_flagged_rename", lambda how: None)
        monkeypatch.setattr(os, "rename", killed_after)
        write_folder(target, "second")
        os._exit(1)
    assert target.exists() == (step == 2)
    assert locate(target).kind().name == "Directory"
    assert (target / "about").read_text() == "second"
    write_folder(target, "third")
    assert (target / "about").read_text() == "third"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("by_flag", [True, False])
def test_without_overwrite_the_second_of_two_runs_is_refused_and_the_first_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_flag: bool
) -> None:
    if not by_flag:
        monkeypatch.setattr(publishing, "_flagged_rename", lambda how: None)
    table, folder = tmp_path / "t.csv", tmp_path / "out"
    with pytest.raises(OutputError, match=r"t\.csv exists already"):
        write_table_twice(table)
    assert read_table(table).num_rows == 2
    with pytest.raises(OutputError, match="out exists already"):
        write_folder_twice(folder)
    assert (folder / "about").read_text() == "first"
    with pytest.raises(OutputError, match="out exists already"), replace_when_whole(folder, overwrite=False):
        raise AssertionError("refused before any work")
    assert sorted(os.listdir(tmp_path)) == ["out", "t.csv"]


def test_a_place_taken_on_another_file_system_meanwhile_is_refused() -> None:
    with pytest.raises(OutputError, match="exists already"):
        write_table_twice("memory://races/t.csv")
    assert read_table("memory://races/t.csv").num_rows == 2


@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "link to nowhere", "pipe", "device"])
def test_links_pipes_and_devices_are_never_replaced(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    target = tmp_path / "out"
    match kind:
        case "pipe":
            os.mkfifo(target)
        case "device":
            target = Path("/dev/null")
        case _:
            target.symlink_to(tmp_path / kind.rsplit(maxsplit=1)[-1])
    before, there = os.lstat(target), sorted(os.listdir(tmp_path))
    what = "link to" if "link" in kind else "a pipe or a device"
    with pytest.raises(OutputError, match=f"{target} cannot be written: it is {'a ' if 'link' in kind else ''}{what}"):
        write_folder(target, "new")
    with pytest.raises(OutputError, match="exists already"):
        write_folder(target, "new", overwrite=False)
    assert os.path.samestat(os.lstat(target), before)
    assert sorted(os.listdir(tmp_path)) == there


def test_what_is_published_was_brought_to_the_disk_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.readlink(f"/proc/self/fd/{number}")))
    write_folder(tmp_path / "out", "new")
    names = [os.path.basename(path) for path in synced]
    assert names == ["about", "out", tmp_path.name]
    synced.clear()
    with temporary_folder(tmp_path) as folder:
        write_folder(folder / "out", "new")
    assert synced == []  # it goes anyway


def test_an_output_inside_another_is_named_as_the_user_knows_it(tmp_path: Path) -> None:
    def write() -> None:
        with replace_when_whole(tmp_path / "out") as folder:
            (folder / "t.csv").mkdir(parents=True)
            with TableWriter(folder / "t.csv", TABLE.schema):
                pass

    with pytest.raises(OutputError, match=rf"^{tmp_path}/out/t.csv cannot be written: a folder stands there"):
        write()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at inline_container.cc:664] PytorchStreamWriter failed writing file data/1"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"),
        OSError("17600 requested and 5088 written"),
        ValueError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_as_libraries_say_it(tmp_path: Path, error: Exception) -> None:
    with (
        pytest.raises(OutputError, match="out cannot be written: no space is left"),
        replace_when_whole(tmp_path / "out"),
    ):
        raise error
    assert os.listdir(tmp_path) == []


def test_one_run_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "work"

    def work(wait: Callable[[], None]) -> None:
        with working_in(folder):
            (folder / "mine").write_text("")
            wait()

    match = r"another run \(process {} on .*, since .*\) is working in .*work"
    with (
        another_process(work) as process,
        pytest.raises(OutputError, match=match.format(process)),
        working_in(folder),
    ):
        pass
    with working_in(folder):  # the other was killed, and keeps nobody out
        assert sorted(os.listdir(folder)) == [LOCK, "mine"]
    assert os.listdir(folder) == ["mine"]
    with working_in(tmp_path / "new"):
        pass
    assert os.listdir(tmp_path) == ["work"]
