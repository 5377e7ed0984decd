"""What the page and the Markdown both show of a table: its lines in order, every number written out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from evaluation.reproduction.report_text import (
    clean,
    count,
    counted,
    estimate_interval,
    figure,
    finite,
    paper_figure,
    paper_signed,
    relative,
    signed,
)
from evaluation.reproduction.results import Cell, Difference, Row, StudyResults, Table

__all__ = [
    "MARKS",
    "VERDICTS",
    "Line",
    "LineCell",
    "Mark",
    "RowView",
    "TableView",
    "Verdict",
    "mark_of",
    "paper_difference",
    "row_named",
    "table_names",
    "table_view",
    "tables_of",
]


@dataclass(frozen=True)
class Mark:
    """How a difference lies to noise: a symbol, the words for it, and a name for its style."""

    symbol: str
    words: str
    name: Literal["above", "below", "within"]


_ABOVE = Mark("▲", "above, beyond noise", "above")
_BELOW = Mark("▼", "below, beyond noise", "below")
_WITHIN = Mark("≈", "within noise", "within")


MARKS = (_ABOVE, _BELOW, _WITHIN)


@dataclass(frozen=True)
class Verdict:
    """How a verdict is shown: symbol, name of its style, and what it means."""

    symbol: str
    name: str
    meaning: str


VERDICTS = {
    "shown": Verdict("✓", "shown", "as the paper finds it, beyond noise"),
    "not shown": Verdict("≈", "not-shown", "the interval holds both directions"),
    "contrary": Verdict("✕", "contrary", "the other way round, beyond noise"),
    "not measured": Verdict("○", "not-measured", "this study has no figure for it"),
}


@dataclass(frozen=True)
class LineCell:
    """One cell of one line: the figure, what stands after it in quieter writing, its interval, its mark."""

    main: str
    more: str = ""
    interval: str = ""
    mark: Mark | None = None
    title: str = ""


@dataclass(frozen=True)
class Line:
    """One line under a row's name; None where there is no figure."""

    kind: Literal["here", "seeds", "paper", "gain", "paper-gain", "pairs"]
    label: str
    cells: tuple[LineCell | None, ...]


@dataclass(frozen=True)
class RowView:
    """A system of a table, and its lines."""

    label: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class TableView:
    """A table as it is shown.

    `groups` are headings with the number of columns under each; `sizes` lie under the columns' labels, or one size of
    all columns is `measured`.
    """

    key: str
    heading: str
    caption: str
    groups: tuple[tuple[str, int], ...]
    labels: tuple[str, ...]
    names: tuple[str, ...]
    sizes: tuple[str, ...]
    measured: str
    rows: tuple[RowView, ...]
    notes: tuple[str, ...]
    paper: bool
    gains: bool


def mark_of(difference: Difference) -> Mark | None:
    """The mark of a difference; None where it has no interval."""
    if finite(difference.low) is None or finite(difference.high) is None:
        return None
    if not difference.beyond_noise:
        return _WITHIN
    return _ABOVE if difference.value > 0 else _BELOW


def row_named(table: Table, name: str) -> Row | None:
    """The row that a difference is to, by its key or its label."""
    by_key = next((row for row in table.rows if row.key == name), None)
    return by_key or next((row for row in table.rows if row.label == name), None)


def paper_difference(table: Table, cell: Cell, column: str) -> float | None:
    """What the paper's figures differ by where this cell has a difference, if it has both figures."""
    if cell.difference is None or cell.paper is None:
        return None
    other = row_named(table, cell.difference.to)
    there = other.cells.get(column) if other is not None else None
    return None if there is None or there.paper is None else cell.paper - there.paper


def tables_of(results: StudyResults) -> Iterator[Table]:
    """All tables in the order of the report, those of sections last."""
    yield from results.tables
    yield from (section.table for section in results.sections if section.table is not None)


def table_names(results: StudyResults) -> dict[str, str]:
    """Key of a table -> how it is spoken of: `Table 2`, or its title."""
    return {
        table.key: f"Table {table.key}" if table.key.isdigit() else clean(table.title) for table in tables_of(results)
    }


def _heading(table: Table) -> str:
    title = clean(table.title)
    if not table.key.isdigit() or title.lower().startswith("table"):
        return title
    return f"Table {table.key}: {title}"


def _size(cell: Cell) -> str:
    return f"{counted(cell.pairs, 'pair')} of {counted(cell.queries, 'query', 'queries')}"


def table_view(table: Table) -> TableView:
    """Write out a table. A count of pairs that all rows share stands with the column, else on a line of each row."""
    keys = [column.key for column in table.columns]
    found = {key: [row.cells[key] for row in table.rows if key in row.cells] for key in keys}
    shared = {key: len({(cell.pairs, cell.queries) for cell in cells}) <= 1 for key, cells in found.items()}
    sizes = tuple(_size(found[key][0]) if found[key] and shared[key] else "" for key in keys)
    one_size = len(sizes) > 1 and len(set(sizes)) == 1 and sizes[0] != ""
    groups = [
        (clean(group), len(list(columns))) for group, columns in groupby(table.columns, lambda column: column.group)
    ]
    cells = [cell for several in found.values() for cell in several]
    return TableView(
        key=table.key,
        heading=_heading(table),
        caption=clean(table.caption),
        groups=tuple(groups) if any(group for group, _ in groups) else (),
        labels=tuple(clean(column.label) for column in table.columns),
        names=tuple(clean(f"{column.group} {column.label}") for column in table.columns),
        sizes=() if not any(sizes) or one_size else sizes,
        measured=sizes[0] if one_size else "",
        rows=tuple(_row_view(table, row, own_sizes=not all(shared.values())) for row in table.rows),
        notes=tuple(clean(note) for note in table.notes),
        paper=any(cell.paper is not None or cell.paper_relative is not None for cell in cells),
        gains=any(cell.difference is not None for cell in cells),
    )


def _row_view(table: Table, row: Row, *, own_sizes: bool) -> RowView:
    columns = [(column, row.cells.get(column.key)) for column in table.columns]
    there = [cell for _, cell in columns if cell is not None]
    lines = [Line("here", "here", tuple(_here(cell, column.unit) if cell else None for column, cell in columns))]
    if any(len(cell.per_seed) > 1 for cell in there):
        lines.append(Line("seeds", "each seed", tuple(_seeds(cell, column.unit) for column, cell in columns)))
    if own_sizes and there:
        lines.append(
            Line(
                "pairs",
                "pairs",
                tuple(LineCell(count(cell.pairs), title=_size(cell)) if cell else None for _, cell in columns),
            )
        )
    if any(finite(cell.paper) is not None for cell in there):
        lines.append(
            Line(
                "paper",
                "paper",
                tuple(
                    LineCell(paper_figure(cell.paper, column.unit)) if cell and finite(cell.paper) is not None else None
                    for column, cell in columns
                ),
            )
        )
    for other in dict.fromkeys(cell.difference.to for cell in there if cell.difference is not None):
        lines.append(
            Line(
                "gain",
                _less(table, row, other),
                tuple(
                    _gain(cell.difference, column.unit)
                    if cell and cell.difference is not None and cell.difference.to == other
                    else None
                    for column, cell in columns
                ),
            )
        )
    if any(finite(cell.paper_relative) is not None for cell in there):
        lines.append(
            Line("paper-gain", "paper’s gain", tuple(_paper_gain(table, cell, column.key) for column, cell in columns))
        )
    return RowView(clean(row.label), tuple(lines))


def _less(table: Table, row: Row, other: str) -> str:
    """How a difference is named; a long name of the row above needs not be said again."""
    named = row_named(table, other)
    label = clean(named.label if named is not None else other)
    above = table.rows.index(row) - 1
    if named is not None and len(label) > 16 and above >= 0 and table.rows[above].key == named.key:
        return "less the row above"
    return f"less {label}"


def _here(cell: Cell, unit: str) -> LineCell:
    return LineCell(figure(cell.ours.value, unit), interval=estimate_interval(cell.ours, unit), title=_size(cell))


def _seeds(cell: Cell | None, unit: str) -> LineCell | None:
    if cell is None or len(cell.per_seed) < 2:
        return None
    return LineCell(" · ".join(figure(value, unit) for value in cell.per_seed))


def _gain(difference: Difference, unit: str) -> LineCell:
    share = finite(difference.relative)
    return LineCell(
        signed(difference.value, unit),
        more="" if share is None else relative(share),
        interval=estimate_interval(difference, unit),
        mark=mark_of(difference),
    )


def _paper_gain(table: Table, cell: Cell | None, column: str) -> LineCell | None:
    if cell is None or finite(cell.paper_relative) is None:
        return None
    difference = paper_difference(table, cell, column)
    return LineCell("" if difference is None else paper_signed(difference), more=relative(cell.paper_relative))
