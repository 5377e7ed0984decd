"""What is wrong with a dataset folder: a bounded list of sentences, and the full counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Problem", "ProblemList", "ValidationReport"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes
    ----------
    kind
        What sort of problem: "duplicate", "null", "not finite" and the like.
    table, column
        Where; None where it is not in one table or column.
    row
        Row in the file that the message names, from 1; None where it is not in one row.
    id
        The row's id, where the table has one.
    message
        One sentence: where, what was found, what to do.
    remedy
        Of a leak, the command that makes the column anew (see `omnifeat.data.leak_remedies`); None where there is none.
    """

    kind: str
    table: str | None
    column: str | None
    row: int | None
    id: str | None
    message: str
    remedy: str | None = None


@dataclass(frozen=True)
class ValidationReport:
    """What `validate` found.

    Attributes
    ----------
    problems
        The problems, the first few of each kind in each column.
    counts
        Rows of each table.
    found
        (table, column, kind) -> number of problems, those not listed as well.
    warnings
        One sentence each for what may be right but hardly is, such as times before 1990.
    """

    problems: list[Problem]
    counts: dict[str, int]
    found: dict[tuple[str | None, str | None, str], int]
    warnings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def total(self) -> int:
        """Number of problems, those not listed as well."""
        return sum(self.found.values())

    def unlisted(self) -> list[str]:
        """One sentence for each kind of which not all problems are listed."""
        listed = Counter((problem.table, problem.column, problem.kind) for problem in self.problems)
        sentences = []
        for (table, column, kind), count in self.found.items():
            more = count - listed[table, column, kind]
            if more > 0:
                where = f"table '{table}'" + (f", column '{column}'" if column else "")
                sentences.append(f"{where}: {more:,} more of the kind '{kind}' are not listed")
        return sentences

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "ok": self.ok,
            "counts": self.counts,
            "problems_total": self.total,
            "warnings": self.warnings,
            "problems": [asdict(problem) for problem in self.problems],
            "found": [
                {"table": table, "column": column, "kind": kind, "count": count}
                for (table, column, kind), count in self.found.items()
            ],
        }


@dataclass
class ProblemList:
    """Collects problems: lists the first `most` of each kind in each column, counts all.

    `doubts` are sentences on what may be right, by table and column, each with the number of rows.
    """

    most: int = 20
    listed: list[Problem] = field(default_factory=list)
    found: dict[tuple[str | None, str | None, str], int] = field(default_factory=dict)
    doubts: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)

    def doubt(self, table: str, column: str, first: str, rows: int) -> None:
        """Count rows of a column that may be right but hardly are; `first` says the first one."""
        said, before = self.doubts.get((table, column), (first, 0))
        self.doubts[table, column] = (said, before + rows)

    def warnings(self) -> list[str]:
        """One sentence for each column with rows in doubt."""
        return [
            f"{said}; {rows:,} row{'s' if rows > 1 else ''} of table '{table}' in all: check what wrote '{column}'"
            for (table, column), (said, rows) in self.doubts.items()
        ]

    def add(self, problem: Problem) -> None:
        """Count a problem, and list it if there is room."""
        self.add_all([problem], 1)

    def add_all(self, first: Sequence[Problem], count: int) -> None:
        """Count `count` problems of one kind and column, of which `first` are the first ones."""
        if not first:
            return
        key = (first[0].table, first[0].column, first[0].kind)
        before = self.found.get(key, 0)
        self.found[key] = before + count
        self.listed += first[: max(self.most - before, 0)]
