"""The tree of interests: from a table, from a file of paths or from ids with their parents, checked, and as text."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.files import as_table, read_schema, read_table
from omnifeat.data.locations import one_line
from omnifeat.errors import DataError

__all__ = ["SEPARATOR", "Taxonomy"]

SEPARATOR = ">"
_PATH_FILES = (".txt", ".paths")
_NUMBERED = re.compile(r"([0-9]+)\s+-\s+(.+)")  # 166 - Apparel & Accessories > Clothing


@dataclass(frozen=True)
class Taxonomy:
    """Interests, each below one parent or at the root; any depth, any number of roots.

    `parents` maps each interest's id to its parent's id, or None at the root; `names` to its name. An id says which
    interest is meant wherever it stands, and stays when the table is sorted anew; names are for people, and differ
    among siblings.
    """

    parents: dict[str, str | None]
    names: dict[str, str]

    @classmethod
    def from_table(cls, interests: Any) -> Self:
        """The tree of a table with `interest_id`, `parent_id` (null at the root), [`name`, `level`].

        Raises
        ------
        DataError
            A column is missing; an id is null or stands twice; a parent is unknown; interests stand below themselves;
            siblings have one name; a level is not one more than its parent's.
        """
        table = as_table(interests)
        for column in ("interest_id", "parent_id"):
            if column not in table.column_names:
                raise DataError(
                    f"Table interests has no column {column!r}; it has {', '.join(table.column_names) or 'none'}."
                )
        ids, above = (_cast(table, column, pa.string()) for column in ("interest_id", "parent_id"))
        names = _cast(table, "name", pa.string()) if "name" in table.column_names else ids
        if not ids:
            raise DataError("Table interests is empty; give at least one interest.")
        parents: dict[str, str | None] = {}
        for row, (interest, parent) in enumerate(zip(ids, above, strict=True)):
            if not interest:
                raise DataError(f"Table interests has no interest_id in row {row + 1}; give every interest an id.")
            if interest in parents:
                raise DataError(f"Interest {interest!r} stands twice in table interests, again in row {row + 1}.")
            parents[interest] = parent or None
        tree = cls(parents, {interest: name or interest for interest, name in zip(ids, names, strict=True)})
        tree._check("table interests")
        if "level" in table.column_names:
            tree._check_levels(dict(zip(ids, _cast(table, "level", pa.int64()), strict=True)))
        return tree

    @classmethod
    def from_paths(cls, lines: Iterable[str], where: str = "the paths") -> Self:
        """The tree of lines such as `animals > birds > owls`; blank lines and those that begin with # are left out.

        Interests above need no line of their own. An id is the path, its names joined by " > ", so that `other` may
        stand below two parents and ids do not change with the order of lines. Where every line begins with an id, as in
        Google's product taxonomy (`166 - Apparel & Accessories`), that one is the id, and interests above need a line.

        Raises
        ------
        DataError
            A name is empty, a path or an id stands twice, there is no path, some lines have an id and some have none,
            or an interest above one with an id has no line.
        """
        lines = list(lines)
        numbered = _numbered_paths(lines, where)
        if numbered is not None:
            return cls._from_numbered(numbered, where)
        parents: dict[str, str | None] = {}
        names: dict[str, str] = {}
        given: dict[str, int] = {}
        for number, text in _path_lines(lines):
            parts = [" ".join(part.split()) for part in text.split(SEPARATOR)]
            if not all(parts):
                raise DataError(
                    f"Line {number} of {where} has an empty name in {text!r}; write a name on each side of >."
                )
            for depth in range(1, len(parts) + 1):
                interest = f" {SEPARATOR} ".join(parts[:depth])
                parents[interest] = f" {SEPARATOR} ".join(parts[: depth - 1]) or None
                names[interest] = parts[depth - 1]
            if interest in given:
                raise DataError(
                    f"Line {number} of {where} repeats {interest!r} of line {given[interest]}; leave one out."
                )
            given[interest] = number
        if not parents:
            raise DataError(f"There is no path in {where}; write one a line, such as animals > birds.")
        return cls(parents, names)

    @classmethod
    def _from_numbered(cls, lines: list[tuple[int, str, str]], where: str) -> Self:
        """The tree of line numbers, ids and paths."""
        by_path: dict[tuple[str, ...], str] = {}
        given: dict[object, int] = {}
        for number, interest, text in lines:
            path = tuple(" ".join(part.split()) for part in text.split(SEPARATOR))
            if not all(path):
                raise DataError(
                    f"Line {number} of {where} has an empty name in {text!r}; write a name on each side of >."
                )
            for known, shown in ((path, repr(f" {SEPARATOR} ".join(path))), (interest, f"the id {interest}")):
                if known in given:
                    raise DataError(f"Line {number} of {where} repeats {shown} of line {given[known]}; leave one out.")
                given[known] = number
            by_path[path] = interest
        for path in by_path:
            if path[:-1] and path[:-1] not in by_path:
                raise DataError(
                    f"Line {given[path]} of {where} lies below {f' {SEPARATOR} '.join(path[:-1])!r}, which has no line "
                    "and so no id; add it."
                )
        return cls(
            {interest: by_path.get(path[:-1]) for path, interest in by_path.items()},
            {interest: path[-1] for path, interest in by_path.items()},
        )

    @classmethod
    def from_parents(cls, parents: Mapping[str, str | None], names: Mapping[str, str] | None = None) -> Self:
        """The tree of ids with their parents' (None or "" at the root), and names where they differ from the ids.

        Raises
        ------
        DataError
            There is none, an id is empty, a parent is unknown, interests stand below themselves, siblings have one
            name, or a name is of an unknown id.
        """
        if not parents:
            raise DataError("There are no interests; give at least one id with its parent, None at the root.")
        if "" in parents:
            raise DataError("An interest has an empty id; give every interest one.")
        names = names or {}
        for interest in names:
            if interest not in parents:
                raise DataError(
                    f"There is a name for {interest!r}, which is no interest; add it or leave the name out."
                )
        tree = cls(
            {interest: parent or None for interest, parent in parents.items()},
            {interest: names.get(interest) or interest for interest in parents},
        )
        tree._check("the ids")
        return tree

    @classmethod
    def read(cls, source: str | Path) -> Self:
        """The tree of a dataset folder, of a table of interests, or of a file of paths (`.txt` or `.paths`).

        A table has `interest_id` (or `id`, `category_id`), `parent_id` (or `parent`, `parent_category_id`) and `name`.

        Raises
        ------
        DataError
            There is no such source, it is none of these, or its interests are no tree.
        """
        path = Path(source)
        if path.suffix.lower() in _PATH_FILES and not path.is_dir():
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except FileNotFoundError:
                raise DataError(
                    f"There is no file {path}; give a file of paths, a table or a dataset folder."
                ) from None
            except UnicodeDecodeError:
                raise DataError(f"File {path} is not text in UTF-8; write it anew in that encoding.") from None
            return cls.from_paths(lines, path.name)
        if (path / "dataset.json").is_file():
            from omnifeat.data.dataset import Dataset

            dataset = Dataset.open(str(source))
            dataset.require("interests", "interest_id", "parent_id")
            return cls.from_table(dataset.read("interests"))
        there = read_schema(str(source)).names
        chosen = {
            wanted: next((name for name in (wanted, *others) if name in there), None)
            for wanted, others in _OTHER_NAMES.items()
        }
        for wanted in ("interest_id", "parent_id"):
            if chosen[wanted] is None:
                raise DataError(
                    f"Table {source} has no column {wanted!r} (nor {', '.join(_OTHER_NAMES[wanted])}); it has "
                    f"{', '.join(there)}."
                )
        columns = {wanted: name for wanted, name in chosen.items() if name is not None}
        table = read_table(str(source), columns=list(columns.values()))
        return cls.from_table(table.rename_columns(list(columns)))

    def path(self, interest: str) -> tuple[str, ...]:
        """Ids from the root to the interest, itself included; raises `DataError` if it is unknown."""
        if interest not in self.parents:
            raise DataError(f"Interest {interest!r} is not in table interests; add it there or correct the id.")
        path: list[str] = []
        current: str | None = interest
        while current is not None:
            path.append(current)
            current = self.parents[current]
        return tuple(reversed(path))

    def level(self, interest: str) -> int:
        """Parents above the interest: 0 at the root; raises `DataError` if it is unknown."""
        return len(self.path(interest)) - 1

    def children(self, interest: str | None) -> tuple[str, ...]:
        """Interests right below one, or at the root for None, in the table's order."""
        return self._children.get(interest, ())

    @cached_property
    def _children(self) -> dict[str | None, tuple[str, ...]]:
        found: dict[str | None, list[str]] = {}
        for child, parent in self.parents.items():
            found.setdefault(parent, []).append(child)
        return {parent: tuple(children) for parent, children in found.items()}

    @cached_property
    def depth(self) -> int:
        """Number of levels."""
        return max(level for _, level in self.walk())

    def walk(self) -> Iterator[tuple[str, int]]:
        """Every interest with its level counted from 1, each before those below it, siblings in the table's order."""
        waiting = [(root, 1) for root in reversed(self.children(None))]
        while waiting:
            interest, level = waiting.pop()
            yield interest, level
            waiting += [(child, level + 1) for child in reversed(self.children(interest))]

    def counts(self) -> list[int]:
        """Interests of each level, from the root down."""
        found = [0] * self.depth
        for _, level in self.walk():
            found[level - 1] += 1
        return found

    def leaves(self) -> list[str]:
        """Interests without children, in the order of `walk`."""
        return [interest for interest, _ in self.walk() if interest not in self._children]

    def as_text(self, most: int | None = None) -> Iterator[str]:
        """Lines of the tree: names, indented by branches, ids behind them where they differ.

        `most` children of each interest at most are told; a line counts the others with all that lies below them.
        """
        below = self.below()

        def lines(parent: str | None, indent: str) -> Iterator[tuple[str, str, str | None]]:
            children = self.children(parent)
            shown = children if most is None or len(children) <= most + 1 else children[:most]
            for place, child in enumerate(shown):
                last = place == len(children) - 1
                branch = "" if parent is None else ("└── " if last else "├── ")
                name = self.names[child]
                told = (
                    name
                    if child == name or child.endswith((f"/{name}", f"{SEPARATOR} {name}"))
                    else f"{name} ({child})"
                )
                yield f"{indent}{branch}{told}", indent + ("" if parent is None else "    " if last else "│   "), child
            if len(shown) < len(children):
                left = children[len(shown) :]
                count = len(left) + sum(below[child] for child in left)
                yield f"{indent}{'' if parent is None else '└── '}... {count:,} more", "", None

        waiting = [lines(None, "")]
        while waiting:
            line = next(waiting[-1], None)
            if line is None:
                waiting.pop()
                continue
            yield line[0]
            if line[2] is not None:
                waiting.append(lines(line[2], line[1]))

    def below(self) -> dict[str, int]:
        """How many interests lie below each."""
        found = dict.fromkeys(self.parents, 0)
        for interest, _ in reversed(list(self.walk())):
            parent = self.parents[interest]
            if parent is not None:
                found[parent] += found[interest] + 1
        return found

    def _check(self, where: str) -> None:
        for interest, parent in self.parents.items():
            if parent is not None and parent not in self.parents:
                raise DataError(
                    f"Interest {interest!r} in {where} has the parent {parent!r}, which is no interest; "
                    "add it, or leave the parent null."
                )
        reached = {interest for interest, _ in self.walk()}
        lost = next((interest for interest in self.parents if interest not in reached), None)
        if lost is not None:
            above: list[str] = []  # going up from what is lost leads into the cycle, and round in it
            while lost not in above:
                above.append(lost)
                lost = self.parents[lost] or lost
            row = list(self.parents).index(lost)
            raise DataError(
                f"Interest {lost!r} in row {row + 1} of {where} stands below itself, by {self.parents[lost]!r}; break "
                "the cycle by a null parent."
            )
        for siblings in self._children.values():
            seen: dict[str, str] = {}
            for child in siblings:
                if self.names[child] in seen:
                    raise DataError(
                        f"Interests {seen[self.names[child]]!r} and {child!r} in {where} have one parent and one name, "
                        f"{self.names[child]!r}; name one of them otherwise."
                    )
                seen[self.names[child]] = child

    def _check_levels(self, levels: dict[str, Any]) -> None:
        for interest, parent in self.parents.items():
            if parent is None or levels[interest] is None or levels[parent] is None:
                continue
            if levels[interest] != levels[parent] + 1:
                raise DataError(
                    f"Interest {interest!r} in table interests is of level {levels[interest]} and its parent "
                    f"{parent!r} of level {levels[parent]}; a level is one more than its parent's."
                )


def _path_lines(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Lines that hold a path, with their numbers from 1."""
    for number, line in enumerate(lines, start=1):
        text = line.strip().removeprefix("\ufeff").strip()
        if text and not text.startswith("#"):
            yield number, text


def _numbered_paths(lines: Iterable[str], where: str) -> list[tuple[int, str, str]] | None:
    """Line numbers, ids and paths where lines begin with ids, as Google's do; None where most do not."""
    paths = list(_path_lines(lines))
    matches = [_NUMBERED.fullmatch(text) for _, text in paths]
    found = [(number, match[1], match[2]) for (number, _), match in zip(paths, matches, strict=True) if match]
    if len(found) * 2 <= len(paths):
        return None
    for (number, text), match in zip(paths, matches, strict=True):
        if match is None:
            raise DataError(
                f"Line {number} of {where}, {text!r}, does not begin with an id as most lines do; write ids in front "
                "of all paths or of none."
            )
    return found


def _cast(table: pa.Table, column: str, kind: pa.DataType) -> list[Any]:
    try:
        return list(pc.cast(table[column], kind).to_pylist())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"Column {column!r} of table interests holds {table[column].type} that is no {kind} ({one_line(error)}); "
            f"write it as {kind}."
        ) from error


_OTHER_NAMES = {
    "interest_id": ("id", "category_id"),
    "parent_id": ("parent", "parent_category_id"),
    "name": ("category", "category_name"),
    "level": (),
}
