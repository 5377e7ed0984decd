"""The tree of interests, from the table `interests` of a dataset folder."""

from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.files import as_table
from omnifeat.errors import DataError

__all__ = ["Taxonomy"]


@dataclass(frozen=True)
class Taxonomy:
    """Interests, each below one parent or at the root.

    `parents` maps each interest's id to its parent's id, or None at the root; `names` to its name.
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
            a level is not one more than its parent's.
        """
        table = as_table(interests)
        for column in ("interest_id", "parent_id"):
            if column not in table.column_names:
                raise DataError(
                    f"Table interests has no column {column!r}; it has {', '.join(table.column_names) or 'none'}."
                )
        ids = pc.cast(table["interest_id"], pa.string()).to_pylist()
        above = pc.cast(table["parent_id"], pa.string()).to_pylist()
        names = pc.cast(table["name"], pa.string()).to_pylist() if "name" in table.column_names else ids
        if not ids:
            raise DataError("Table interests is empty; give at least one interest.")
        parents: dict[str, str | None] = {}
        for row, (interest, parent) in enumerate(zip(ids, above, strict=True)):
            if not interest:
                raise DataError(f"Table interests has no interest_id in row {row}; give every interest an id.")
            if interest in parents:
                raise DataError(f"Interest {interest!r} stands twice in table interests, again in row {row}.")
            parents[interest] = parent or None
        tree = cls(parents, {interest: name or interest for interest, name in zip(ids, names, strict=True)})
        for row, interest in enumerate(ids):
            tree._check(interest, row)
        if "level" in table.column_names:
            tree._check_levels(dict(zip(ids, table["level"].to_pylist(), strict=True)))
        return tree

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
        return tuple(child for child, parent in self.parents.items() if parent == interest)

    @property
    def depth(self) -> int:
        """Number of levels."""
        return max(len(self.path(interest)) for interest in self.parents)

    def _check(self, interest: str, row: int) -> None:
        seen = {interest}
        current = interest
        while (parent := self.parents[current]) is not None:
            if parent not in self.parents:
                raise DataError(
                    f"Interest {current!r} in table interests has the parent {parent!r}, which is no interest; "
                    "add it, or leave the parent null."
                )
            if parent in seen:
                raise DataError(
                    f"Interest {interest!r} in row {row} of table interests stands below itself, by {parent!r}; "
                    "break the cycle by a null parent."
                )
            seen.add(parent)
            current = parent

    def _check_levels(self, levels: dict[str, Any]) -> None:
        for interest, parent in self.parents.items():
            if parent is None or levels[interest] is None or levels[parent] is None:
                continue
            if levels[interest] != levels[parent] + 1:
                raise DataError(
                    f"Interest {interest!r} in table interests is of level {levels[interest]} and its parent "
                    f"{parent!r} of level {levels[parent]}; a level is one more than its parent's."
                )
