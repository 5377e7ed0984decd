"""What `omnifeat enrich queries` remembers: the log's counts per day, which parts there were, and the last lists.

    state/
      manifest.json        which contents were applied, where their counts lie, and what the lists were made of
      counts/HASH.parquet  (entity_type, entity_id, query, action, day, times) of one part
      lists/HASH.parquet   (entity_type, entity_id, values), the lists of the last run
      .lock                held while a run uses the folder

A part is known by its content alone, so that its name, its place in the order and how often it comes don't matter. The
manifest is replaced in one step, after the files that it names are whole: a run that was killed left either the
manifest before or the one after, and files that no manifest names are removed by the next run. The manifest lists its
parts in the order of their contents, so that the same parts in any order end in the same state.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Literal, Self

import xxhash
from pydantic import BaseModel, ConfigDict, Field

from omnifeat.data.artefacts import checked, member, read_object, regular_file
from omnifeat.data.locations import PathLike, local_path
from omnifeat.data.locks import LOCK, working_in
from omnifeat.data.publishing import sweep_folder
from omnifeat.data.splits import HashSplit
from omnifeat.data.writing import output_error, replace_when_whole
from omnifeat.enrich.window import Window
from omnifeat.errors import DataError, OutputError, SettingError

__all__ = ["AppliedPart", "ListsMade", "QueryState"]

_MANIFEST, _COUNTS, _LISTS, _LOCK = "manifest.json", "counts", "lists", "lock"  # `lock` is of earlier versions
_BEGIN = "begin a new state with the whole log"


class AppliedPart(BaseModel):
    """A part of the log that was applied.

    Attributes
    ----------
    content
        Hash of the file's bytes.
    rows
        Rows of the part, of all entity types and splits.
    first_day, last_day
        The days of its first and last row, whether they count or not; None for a part without rows.
    counts
        Whether its counts are kept; they go when the whole part is older than the window.
    listed
        Whether it was there when the lists were made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    content: str = Field(pattern="^[0-9a-f]{32}$")
    rows: int = Field(ge=0)
    first_day: date | None
    last_day: date | None
    counts: bool = True
    listed: bool = False


class ListsMade(BaseModel):
    """How the lists of the last run were made: two runs alike in this, over the same parts, give the same lists."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_day: date
    last_day: date
    top: int
    weights: dict[str, int]

    @property
    def window(self) -> Window:
        """The days that counted."""
        return Window(self.first_day, self.last_day)


class _Manifest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    # the split by which rows were chosen before they were counted; a split by time chooses among the counts instead
    row_split: HashSplit | None = None
    # days before this one were let go
    kept_from: date | None = None
    parts: list[AppliedPart] = Field(default_factory=list)
    lists: ListsMade | None = None


class QueryState:
    """The state folder, open. Make one with `QueryState.open`."""

    def __init__(self, folder: Path, name: str, manifest: _Manifest) -> None:
        self._folder = folder
        self._name = name
        self._manifest = manifest
        self._parts = {part.content: part for part in manifest.parts}

    @classmethod
    @contextmanager
    def open(cls, path: PathLike, row_split: HashSplit | None) -> Iterator[Self]:
        """Open a state folder, made if there is none, and keep other runs out of it.

        Raises
        ------
        SettingError
            The folder is none of this machine, is no state folder, or its counts are of rows chosen by another split.
        DataError
            The manifest is not what it must be, or counts that it names are missing.
        OutputError
            Another run is working in the folder, or it cannot be written.
        """
        folder = local_path(path)
        if folder.is_dir():
            foreign = [
                name for name in os.listdir(folder)
                if name not in (_MANIFEST, _COUNTS, _LISTS, _LOCK) and name[0] != "."
            ]  # fmt: skip
            if foreign:
                raise SettingError(f"{path} is no state folder, for it holds '{min(foreign)}': give an empty folder.")
        try:
            # A link that leads out of the folder would have this write there, and clean up what it finds.
            for name in (_MANIFEST, _COUNTS, _LISTS, LOCK):
                member(folder, name, remedy=_BEGIN)
            (folder / _COUNTS).mkdir(parents=True, exist_ok=True)
            (folder / _LISTS).mkdir(exist_ok=True)
            with working_in(folder, path):
                state = cls(folder, os.fspath(path), _read(folder / _MANIFEST, os.fspath(path)))
                state._check_split(row_split)
                state._clean()
                yield state
        except OSError as error:
            if isinstance(error, OutputError) or not str(error.filename or "").startswith(str(folder)):
                raise
            raise output_error(path, error) from error

    @property
    def last_day(self) -> date | None:
        """The last day that any part has had; None before the first row."""
        return max((part.last_day for part in self._parts.values() if part.last_day), default=None)

    @property
    def rows(self) -> int:
        """Rows of all parts that were ever applied."""
        return sum(part.rows for part in self._parts.values())

    def __len__(self) -> int:
        return len(self._parts)

    def has(self, content: str) -> bool:
        """Whether a part of this content was applied."""
        return content in self._parts

    def apply(self, content: str, count: Callable[[Path], tuple[int, date | None, date | None]]) -> None:
        """Take a new part in: `count` writes its counts to the path it is given, and says its rows and days.

        When this returns, the part is applied; when it doesn't, for whatever reason, the state is as it was.
        """
        path = self._counts(content)
        rows, first_day, last_day = count(path)
        _to_disk(path)
        part = AppliedPart(content=content, rows=rows, first_day=first_day, last_day=last_day)
        self._commit({**self._parts, content: part})

    @property
    def lists(self) -> tuple[ListsMade, Path] | None:
        """How the lists of the last run were made, and their file; None where there are none."""
        made = self._manifest.lists
        return None if made is None else (made, self._lists(made, self._listed()))

    def take_lists(self, made: ListsMade, write: Callable[[Path], None]) -> Path:
        """Take new lists in, made of all parts that are applied: `write` writes them to the path it is given.

        When this returns, they are the state's lists; when it doesn't, for whatever reason, the lists before are.
        """
        before = self.lists
        path = self._lists(made, self._parts)
        if before is None or before[1] != path:
            write(path)
            _to_disk(path)
        listed = {content: part.model_copy(update={"listed": True}) for content, part in self._parts.items()}
        self._commit(listed, lists=made)
        if before is not None and before[1] != path:
            before[1].unlink()
        return path

    def unlisted_counts(self, window: Window) -> list[Path]:
        """The files of counts of the window that came after the lists."""
        return [self._counts(part.content) for part in self._within(window) if not part.listed]

    def counts(self, window: Window) -> list[Path]:
        """The files of counts that may have days of the window.

        Raises
        ------
        SettingError
            The window begins before the days that are kept.
        """
        kept_from = self._manifest.kept_from
        if kept_from is not None and window.first < kept_from:
            raise SettingError(
                f"{self._name} keeps the days from {kept_from} on, but the window begins with {window.first}: choose a "
                "later --as-of or fewer --window-days, or begin a new state with the whole log."
            )
        return [self._counts(part.content) for part in self._within(window)]

    def forget_before(self, day: date) -> None:
        """Let go of the counts of parts that lie wholly before a day; that they were applied is not forgotten."""
        old = [part for part in self._kept() if part.last_day is None or part.last_day < day]
        if not old:
            return
        days = [part.last_day for part in old if part.last_day is not None]
        kept_from = self._manifest.kept_from
        for last in days:
            after = date.fromordinal(last.toordinal() + 1)
            kept_from = after if kept_from is None else max(kept_from, after)
        gone = {part.content: part.model_copy(update={"counts": False}) for part in old}
        self._commit({**self._parts, **gone}, kept_from=kept_from)
        for content in gone:
            self._counts(content).unlink()

    def _within(self, window: Window) -> list[AppliedPart]:
        return [
            part
            for part in self._kept()
            if part.first_day and part.last_day and part.first_day <= window.last and part.last_day >= window.first
        ]

    def _listed(self) -> list[str]:
        return [content for content, part in self._parts.items() if part.listed]

    def _kept(self) -> list[AppliedPart]:
        return [part for part in self._parts.values() if part.counts]

    def _counts(self, content: str) -> Path:
        return self._folder / _COUNTS / f"{content}.parquet"

    def _lists(self, made: ListsMade, contents: Iterable[str]) -> Path:
        """Another file for other lists, so that those before stand until the manifest names the new ones."""
        text = "\n".join([made.model_dump_json(), *sorted(contents)])
        return self._folder / _LISTS / f"{xxhash.xxh3_128_hexdigest(text.encode())}.parquet"

    def _commit(self, parts: dict[str, AppliedPart], **changed: object) -> None:
        ordered = [parts[content] for content in sorted(parts)]
        manifest = self._manifest.model_copy(update={"parts": ordered, **changed})
        with replace_when_whole(self._folder / _MANIFEST) as partial:
            partial.write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
            _to_disk(partial)
        self._manifest, self._parts = manifest, {part.content: part for part in ordered}

    def _check_split(self, row_split: HashSplit | None) -> None:
        if not self._parts:
            self._manifest = self._manifest.model_copy(update={"row_split": row_split})
        elif self._manifest.row_split != row_split:
            raise SettingError(
                f"{self._name} holds counts of {_of_split(self._manifest.row_split)}, but the dataset asks for "
                f"{_of_split(row_split)}: begin a new state with the whole log."
            )

    def _clean(self) -> None:
        """Remove what runs that were killed left, and make sure that all counts are there.

        Lists that are not there are made anew; counts can't be.
        """
        for folder in (self._folder / _COUNTS, self._folder / _LISTS):
            sweep_folder(folder)
        kept = {self._counts(part.content).name for part in self._kept()}
        there = set(os.listdir(self._folder / _COUNTS))
        for name in there - kept:
            if not name.startswith("."):
                (self._folder / _COUNTS / name).unlink()
        if kept - there:
            raise DataError(
                f"{self._name} lacks {_COUNTS}/{min(kept - there)}, which its {_MANIFEST} names: begin a new state "
                "with the whole log"
            )
        for name in kept:
            regular_file(member(self._folder, f"{_COUNTS}/{name}", remedy=_BEGIN), remedy=_BEGIN)
        named = self.lists
        for path in (self._folder / _LISTS).iterdir():
            if not path.name.startswith(".") and (named is None or path != named[1]):
                path.unlink()
        if named is not None and not named[1].exists():
            self._manifest = self._manifest.model_copy(update={"lists": None})


def _of_split(split: HashSplit | None) -> str:
    if split is None:
        return "all rows"
    salt = f" with the salt '{split.salt}'" if split.salt else ""
    shares = f"development {split.development:g}, test {split.test:g}"
    return f"the training part by a hash of '{split.column}'{salt} ({shares})"


def _read(path: Path, name: str) -> _Manifest:
    if not path.exists():
        return _Manifest()
    content = read_object(path, remedy=_BEGIN)
    version = content.get("format_version")
    if isinstance(version, int) and version != 1:
        raise DataError(f"{name}/{_MANIFEST} has format_version {version}, but this omnifeat reads 1: {_BEGIN}")
    return checked(_Manifest, content, where=path, remedy=_BEGIN)


def _to_disk(path: Path) -> None:
    """Make sure that the bytes are on the disk before a name or a manifest says so."""
    with contextlib.closing(path.open("rb")) as file:
        os.fsync(file.fileno())
