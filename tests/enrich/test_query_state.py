"""Incremental equals full: over random partitions, orders, repeats, late arrivals and kills at any step."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.data.splits import HashSplit, TimeSplit
from omnifeat.engines import LocalEngine
from omnifeat.enrich.queries import QuerySettings
from omnifeat.enrich.query_refresh import moved_days
from omnifeat.enrich.query_state import QueryState
from omnifeat.enrich.window import Window
from omnifeat.errors import DataError, OutputError, SettingError
from tests.enrich.query_reference import Row, moment, reference, run, write_log
from tests.enrich.test_queries import LOG, TOP, logs, splits


class Killed(BaseException):
    """The process is gone: nothing that it would still do happens."""


@contextmanager
def killed_at(step: int) -> Iterator[list[int]]:
    """End the run before its n-th step on the file system (after the one before); yields the count of steps begun.

    From then on every further step, such as cleaning up, ends it again, as if there were no process to take it.
    """
    begun = [0]

    def ends(real: Any) -> Any:
        def stepped(*args: Any, **named: Any) -> Any:
            begun[0] += 1
            if begun[0] >= step:
                raise Killed
            return real(*args, **named)

        return stepped

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            (os, "replace"), (os, "fsync"), (Path, "rename"), (Path, "unlink"), (Path, "write_text"),
            (Path, "mkdir"), (LocalEngine, "write"),
        ):  # fmt: skip
            patch.setattr(owner, name, ends(getattr(owner, name)))
        yield begun


def remembered(state: Path) -> tuple[Any, dict[str, list[Any]], dict[str, list[Any]]]:
    """Everything that a state folder holds: its manifest, its counts and its lists."""
    there = {path.name for path in state.iterdir()}
    assert there == {"manifest.json", "counts", "lists"}
    counts, lists = (
        {path.name: sorted(map(str, pq.read_table(path).to_pylist())) for path in (state / name).iterdir()}
        for name in ("counts", "lists")
    )
    assert len(lists) == 1
    return json.loads((state / "manifest.json").read_text()), counts, lists


@settings(max_examples=12, deadline=None)
@given(data=st.data(), rows=logs, split=splits, days=st.integers(1, 15))
def test_incremental_equals_full(
    data: st.DataObject, rows: list[Row], split: HashSplit | TimeSplit | None, days: int
) -> None:
    chosen = QuerySettings(top=3, window_days=days)
    owners = data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows)), "part of each row")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = {}
        for part in sorted(set(owners)):
            mine = [row for row, owner in zip(rows, owners, strict=True) if owner == part]
            parts[part] = (write_log(folder / f"{part}.parquet", mine), mine)
        order = data.draw(st.permutations(sorted(parts)), "order")
        repeats = data.draw(st.lists(st.sampled_from(order), max_size=2), "repeats")
        state, smooth = folder / "state", folder / "smooth"
        seen: dict[int, list[Row]] = {}
        for part in [*order, *repeats]:
            path, mine = parts[part]
            # another name, and the same content
            again = folder / f"again-{len(seen)}-{part}.parquet"
            shutil.copy(path, again)
            step = data.draw(st.integers(0, 22), "killed at")
            if step:
                # a run of fewer steps is not killed: then the next is a repeat
                with killed_at(step), contextlib.suppress(Killed):
                    run([path], folder / "work", split, chosen, state)
            found = run([again], folder / "work", split, chosen, state)
            seen[part] = mine
            everything = [row for part_rows in seen.values() for row in part_rows]
            assert found == reference(everything, split, chosen)
        for part in order:
            run([parts[part][0]], folder / "work", split, chosen, smooth)
        assert remembered(state) == remembered(smooth)


def test_killed_at_each_step_in_turn(tmp_path: Path) -> None:
    """Three parts, of which the first ages out: each step of the second run."""
    old = [Row("old", "p1", "pin", "save", moment("2023-12-01"))]
    logs_of = [old, LOG[:5], LOG[5:]]
    paths = [write_log(tmp_path / f"{i}.parquet", rows) for i, rows in enumerate(logs_of)]
    chosen = QuerySettings(window_days=30)
    two = tmp_path / "two"
    run([paths[0]], tmp_path / "work", settings=chosen, state=two)
    shutil.copytree(two, tmp_path / "whole")
    assert run(paths, tmp_path / "work", settings=chosen, state=tmp_path / "whole") == TOP
    end = remembered(tmp_path / "whole")
    assert [part["counts"] for part in end[0]["parts"]].count(False) == 1  # the old part was let go
    step, harmed = 0, True
    while harmed:
        step += 1
        state = tmp_path / f"state-{step}"
        shutil.copytree(two, state)
        with killed_at(step):
            try:
                run(paths[1:], tmp_path / "work", settings=chosen, state=state)
                harmed = False
            except Killed:
                pass
        # each part of the manifest has its counts, whenever the run was ended
        manifest = json.loads((state / "manifest.json").read_text())
        named = {f"{part['content']}.parquet" for part in manifest["parts"] if part["counts"]}
        assert named <= set(os.listdir(state / "counts"))
        assert run(paths[1:], tmp_path / "work", settings=chosen, state=state) == TOP
        assert remembered(state) == end
    assert step > 15  # two parts' counts and manifests, the result, the manifest without the old part, its removal


def test_killed_by_the_system(tmp_path: Path) -> None:
    parts = [
        [Row(f"query {i}", f"p{i % 7}", "pin", "click", moment(f"2024-03-{1 + i % 28:02}")) for i in range(n, n + 40)]
        for n in range(0, 1200, 40)
    ]
    folder = tmp_path / "log"
    for number, rows in enumerate(parts):
        write_log(folder / f"{number:02}.parquet", rows)
    code = (
        "import sys; from pathlib import Path; from tests.enrich.query_reference import run; "
        "run([Path(sys.argv[1])], Path(sys.argv[2]), state=Path(sys.argv[3]))"
    )
    state = tmp_path / "state"
    command = [sys.executable, "-c", code, str(folder), str(tmp_path / "work"), str(state)]
    # what a killed process leaves among the temporary files goes with the test's folder
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environment)
    counts = state / "counts"
    until = time.monotonic() + 30
    while process.poll() is None and not (counts.is_dir() and len(os.listdir(counts)) >= 5):
        assert time.monotonic() < until
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    applied = len(json.loads((state / "manifest.json").read_text())["parts"])
    assert 0 < applied < len(parts)
    assert run([folder], tmp_path / "work", state=state) == reference([row for rows in parts for row in rows])
    assert len(remembered(state)[0]["parts"]) == len(parts)


def test_only_new_parts_are_read(tmp_path: Path) -> None:
    first, second = write_log(tmp_path / "1.parquet", LOG[:4]), write_log(tmp_path / "2.parquet", LOG[4:])
    run([first], tmp_path / "work", state=tmp_path / "state")
    reads = []
    with pytest.MonkeyPatch.context() as patch:
        real = LocalEngine.write
        patch.setattr(
            LocalEngine,
            "write",
            lambda self, sql, tables, out: reads.append(dict(tables)) or real(self, sql, tables, out),
        )
        assert run([first, second], tmp_path / "work", state=tmp_path / "state") == TOP
    assert [tables["log_0"] for tables in reads if "log_0" in tables] == [[second]]


def test_what_aged_out_is_let_go_and_asked_for_in_vain(tmp_path: Path) -> None:
    old = write_log(tmp_path / "old.parquet", [Row("old", "p1", "pin", "save", moment("2024-01-01"))])
    new = write_log(tmp_path / "new.parquet", LOG)
    state, chosen = tmp_path / "state", QuerySettings(window_days=20)
    assert run([old], tmp_path / "work", settings=chosen, state=state) == {("pin", "p1"): ["old"]}
    # a day in the future shows what will be, and lets nothing go
    far = QuerySettings(window_days=20, as_of=date(2050, 1, 1))
    assert run([old, new], tmp_path / "work", settings=far, state=state) == {}
    assert len(remembered(state)[1]) == 2
    assert run([old, new], tmp_path / "work", settings=chosen, state=state) == TOP
    assert len(remembered(state)[1]) == 1
    # the old part comes late, after it was let go: it is known, and does no harm
    assert run([old], tmp_path / "work", settings=chosen, state=state) == TOP
    with pytest.raises(SettingError, match=r"keeps the days from 2024-01-02 on, but the window begins with 2022"):
        run([new], tmp_path / "work", state=state)


def test_a_split_by_hash_belongs_to_the_state(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.parquet", LOG)
    run([log], tmp_path / "work", HashSplit(), state=tmp_path / "state")
    with pytest.raises(
        SettingError, match=r"training part by a hash of 'query' \(development 0.1, test 0.1\), but .* all"
    ):
        run([log], tmp_path / "work", state=tmp_path / "state")
    with pytest.raises(SettingError, match=r"asks for .* with the salt 'x'"):
        run([log], tmp_path / "work", HashSplit(salt="x"), state=tmp_path / "state")


def test_two_runs_at_once(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.parquet", LOG)
    with QueryState.open(tmp_path / "state", None), pytest.raises(OutputError, match="another run .* is working in"):
        run([log], tmp_path / "work", state=tmp_path / "state")
    assert run([log], tmp_path / "work", state=tmp_path / "state") == TOP


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"manifest\.json' is not JSON"),
        ("[]", r"manifest\.json' must hold an object in JSON"),
        ('{"format_version": 2}', "has format_version 2, but this omnifeat reads 1"),
        ('{"parts": [{"content": "../x"}]}', r"wrong at 'parts\.0\.content'"),
    ],
)
def test_a_broken_manifest(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "manifest.json").write_text(content)
    log = write_log(tmp_path / "log.parquet", LOG)
    with pytest.raises(DataError, match=message):
        run([log], tmp_path / "work", state=tmp_path / "state")
    assert (tmp_path / "state" / "manifest.json").read_text() == content


def test_counts_that_are_missing_or_broken(tmp_path: Path) -> None:
    log, state = write_log(tmp_path / "log.parquet", LOG), tmp_path / "state"
    run([log], tmp_path / "work", state=state)
    (counts,) = (state / "counts").iterdir()
    counts.write_bytes(counts.read_bytes()[:-20])
    new = write_log(tmp_path / "new.parquet", [*LOG[:2], LOG[0]])
    with pytest.raises(DataError, match=rf"{counts.name} cannot be read: it is truncated"):
        run([log, new], tmp_path / "work", state=state)
    counts.unlink()
    with pytest.raises(DataError, match=rf"lacks counts/{counts.name}, which its manifest\.json names"):
        run([log], tmp_path / "work", state=state)


def test_lists_that_are_missing_or_broken(tmp_path: Path) -> None:
    log, state = write_log(tmp_path / "log.parquet", LOG), tmp_path / "state"
    assert run([log], tmp_path / "work", state=state) == TOP
    (lists,) = (state / "lists").iterdir()
    lists.unlink()
    assert run([log], tmp_path / "work", state=state) == TOP
    whole = lists.read_bytes()
    lists.write_bytes(whole[:-20])
    new = write_log(tmp_path / "new.parquet", LOG[:1])
    with pytest.raises(DataError, match=rf"{lists.name} cannot be read: it is truncated"):
        run([new], tmp_path / "work", state=state)
    lists.write_bytes(whole)
    assert run([new], tmp_path / "work", state=state) == reference([*LOG, LOG[0]])
    assert len(list((state / "lists").iterdir())) == 1


weights = st.fixed_dictionaries({}, optional={"click": st.integers(0, 9), "save": st.integers(0, 9)})
days_of_log = st.dates(date(2024, 2, 20), date(2024, 3, 25))


@settings(max_examples=25, deadline=None)
@given(data=st.data(), rows=logs, runs=st.integers(2, 5))
def test_windows_and_settings_that_move(data: st.DataObject, rows: list[Row], runs: int) -> None:
    """Each run has a window and weights of its own: the lists of the run before serve where they can, nowhere else."""
    owners = data.draw(st.lists(st.integers(0, runs - 1), min_size=len(rows), max_size=len(rows)), "run of each row")
    with tempfile.TemporaryDirectory() as name:
        folder, seen = Path(name), list[list[Row]]()
        for number in range(runs):
            mine = [row for row, owner in zip(rows, owners, strict=True) if owner == number] or rows[:1]
            seen += [] if mine in seen else [mine]
            log = write_log(folder / f"{number}.parquet", mine)
            chosen = QuerySettings(
                top=data.draw(st.sampled_from([2, 2, 2, 3]), "top"),
                window_days=data.draw(st.integers(1, 40), "days"),
                as_of=data.draw(st.none() | days_of_log, "as of"),
                weights=data.draw(st.just({}) | weights, "weights"),
            )
            try:
                found = run([log], folder / "work", settings=chosen, state=folder / "state")
            except SettingError as error:
                if "keeps the days from" not in str(error):
                    raise
                continue
            assert found == reference([row for part in seen for row in part], settings=chosen)


def test_only_those_are_counted_anew_that_something_happened_to(tmp_path: Path) -> None:
    """p0 has nothing new; p1's save of the 1st leaves the window; p2 is clicked again on the 5th."""
    rows = [
        Row("old", "p1", "pin", "save", moment("2024-03-01")),
        Row("kept", "p0", "pin", "save", moment("2024-03-02")),
        Row("kept", "p1", "pin", "click", moment("2024-03-03")),
        Row("kept", "p2", "pin", "click", moment("2024-03-04")),
    ]
    new = [Row("new", "p2", "pin", "save", moment("2024-03-05"))]
    paths = [write_log(tmp_path / "1.parquet", rows), write_log(tmp_path / "2.parquet", new)]
    chosen, state = QuerySettings(window_days=4), tmp_path / "state"
    first = run(paths[:1], tmp_path / "work", settings=chosen, state=state)
    assert first == {("pin", "p1"): ["old", "kept"], ("pin", "p0"): ["kept"], ("pin", "p2"): ["kept"]}
    counted: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        real = LocalEngine.batches

        def seen(self: LocalEngine, sql: str, tables: Any, size: int) -> Any:
            batches = list(real(self, sql, tables, size))
            if "counts" in tables:
                counted.extend(value for batch in batches for value in batch.column("entity_id").to_pylist())
            yield from batches

        patch.setattr(LocalEngine, "batches", seen)
        second = run(paths[1:], tmp_path / "work", settings=chosen, state=state)
        assert sorted(counted) == ["p1", "p2", "p2"]
        counted.clear()
        assert run(paths, tmp_path / "work", settings=chosen, state=state) == second
    assert second == {("pin", "p1"): ["kept"], ("pin", "p0"): ["kept"], ("pin", "p2"): ["new", "kept"]}
    assert counted == []


@pytest.mark.parametrize(
    ("now", "before", "moved"),
    [
        ((3, 9), (3, 9), []),
        ((4, 10), (3, 9), [(3, 3), (10, 10)]),
        ((2, 9), (3, 9), [(2, 2)]),
        ((5, 7), (3, 9), [(3, 4), (8, 9)]),
        ((10, 12), (3, 9), [(3, 9), (10, 12)]),
        ((12, 13), (3, 9), [(12, 13), (3, 9)]),
    ],
)
def test_moved_days(now: tuple[int, int], before: tuple[int, int], moved: list[tuple[int, int]]) -> None:
    def window(days: tuple[int, int]) -> Window:
        return Window(date(2024, 3, days[0]), date(2024, 3, days[1]))

    assert sorted(moved_days(window(now), window(before)), key=str) == sorted(map(window, moved), key=str)


def test_a_folder_that_is_no_state(tmp_path: Path) -> None:
    log = write_log(tmp_path / "mine" / "log.parquet", LOG)
    with pytest.raises(SettingError, match=r"is no state folder, for it holds 'log\.parquet'"):
        run([log], tmp_path / "work", state=tmp_path / "mine")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file stands where a folder must be"):
        run([log], tmp_path / "work", state=tmp_path / "file")


def test_a_part_that_grows_while_it_is_read(tmp_path: Path) -> None:
    log, state = write_log(tmp_path / "log.parquet", LOG), tmp_path / "state"
    with pytest.MonkeyPatch.context() as patch:
        real = LocalEngine.rows

        def grows(self: LocalEngine, sql: str, tables: Any) -> Any:
            write_log(log, [*LOG, LOG[0]])
            return real(self, sql, tables)

        patch.setattr(LocalEngine, "rows", grows)
        with pytest.raises(DataError, match=r"log\.parquet was changed while it was read"):
            run([log], tmp_path / "work", state=state)
    assert run([log], tmp_path / "work", state=state) == reference([*LOG, LOG[0]])


@pytest.mark.parametrize("name", ["counts", "lists", ".lock", "manifest.json"])
def test_a_link_that_leads_out_of_a_state_is_refused_and_nothing_behind_it_is_touched(
    name: str, tmp_path: Path
) -> None:
    """The state is cleaned when it is opened, and its lock is written: a link would have done that elsewhere."""
    state, mine = tmp_path / "state", tmp_path / "mine"
    state.mkdir()
    mine.mkdir()
    (mine / "letter.txt").write_text("dear all")
    (state / name).symlink_to(mine if name in ("counts", "lists") else mine / "letter.txt")
    with pytest.raises(DataError, match="is a link that leads out of"), QueryState.open(state, None):
        pass
    assert (mine / "letter.txt").read_text() == "dear all"
    assert [path.name for path in mine.iterdir()] == ["letter.txt"]
