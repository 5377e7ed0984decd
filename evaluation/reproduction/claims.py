"""The directions that the paper finds, each held against the figures of a study.

A claim of a gain is `shown` where the interval of the difference lies above zero, and `contrary` where it lies below.
A claim that little is lost ("within 5%") is `shown` where even the lower end of the interval is less than that margin
below the other figure, and `contrary` where even the upper end is more; "no worse" has no margin and is `contrary`
where the interval lies below zero, `shown` where it reaches zero from above or beyond it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evaluation.reproduction.results import Cell, Claim, Difference, Table
from evaluation.reproduction.systems import EXISTING
from evaluation.reproduction.variations import BASE

__all__ = ["claims_of"]

_PIN_MARGIN, _COMPATIBILITY_MARGIN = 0.05, 0.03


def claims_of(tables: Sequence[Table]) -> list[Claim]:
    """The claims of Tables 2 to 6 that the given tables can tell about, and what they tell."""
    claims: list[Claim] = []
    for table in tables:
        claims += {"2": _baselines, "3": _captions, "4": _texts, "5": _tasks, "6": _compatibility}.get(
            table.key, _nothing
        )(table)
    return claims


def _nothing(_: Table) -> Iterator[Claim]:
    yield from ()


def _baselines(table: Table) -> Iterator[Claim]:
    for name, cell in _cells(table, BASE):
        yield _gain(table, f"OmniSearchSage finds more than SearchSage: {name}", cell)


def _captions(table: Table) -> Iterator[Claim]:
    for name, cell in _cells(table, "captions"):
        if "relevance" in name:  # the paper finds no change
            continue
        yield _gain(table, f"Captions help where title or description is missing: {name}", cell)


def _texts(table: Table) -> Iterator[Claim]:
    for row in table.rows:
        for name, cell in _cells(table, row.key):
            yield _gain(table, f"{row.label} helps: {name}", cell)


def _tasks(table: Table) -> Iterator[Claim]:
    for name, cell in _cells(table, BASE):
        if name.startswith("pin"):
            yield _within(table, f"All tasks together lose at most 5% against one: {name}", cell, _PIN_MARGIN)
        else:
            yield _no_worse(table, f"All tasks together are no worse than one: {name}", cell)


def _compatibility(table: Table) -> Iterator[Claim]:
    for name, cell in _cells(table, BASE):
        text = f"Compatibility encoders cost the learned embeddings at most 3%: {name}"
        yield _within(table, text, cell, _COMPATIBILITY_MARGIN)
    for name, cell in _cells(table, f"{BASE}{EXISTING}"):
        text = f"Against existing embeddings at most 3% below SearchSage: {name}"
        yield _within(table, text, cell, _COMPATIBILITY_MARGIN)


def _cells(table: Table, system: str) -> Iterator[tuple[str, Cell]]:
    """The cells of a row, each with what it is about in words, such as "pin, save"."""
    row = next((row for row in table.rows if row.key == system), None)
    for column in table.columns:
        cell = None if row is None else row.cells.get(column.key)
        if cell is not None and cell.difference is not None:
            yield f"{column.group.lower()}, {column.label}", cell


def _gain(table: Table, text: str, cell: Cell) -> Claim:
    found = cell.difference
    if found is None or found.low is None or found.high is None:
        return _claim(table, text, "not measured", cell)
    return _claim(table, text, "shown" if found.low > 0 else "contrary" if found.high < 0 else "not shown", cell)


def _within(table: Table, text: str, cell: Cell, margin: float) -> Claim:
    found = cell.difference
    if found is None or found.low is None or found.high is None:
        return _claim(table, text, "not measured", cell)
    other = cell.ours.value - found.value
    least = -margin * other
    return _claim(
        table, text, "shown" if found.low > least else "contrary" if found.high < least else "not shown", cell
    )


def _no_worse(table: Table, text: str, cell: Cell) -> Claim:
    found = cell.difference
    if found is None or found.high is None:
        return _claim(table, text, "not measured", cell)
    return _claim(table, text, "contrary" if found.high < 0 else "shown", cell)


def _claim(table: Table, text: str, verdict: str, cell: Cell) -> Claim:
    evidence = "not measured" if cell.difference is None else _evidence(cell, cell.difference)
    return Claim.model_validate({"table": table.key, "text": text, "verdict": verdict, "evidence": evidence})


def _evidence(cell: Cell, found: Difference) -> str:
    relative = "" if found.relative is None else f" ({found.relative:+.1%})"
    bounds = "" if found.low is None or found.high is None else f" [{found.low:+.3f}, {found.high:+.3f}]"
    return (
        f"{cell.ours.value:.3f} against {cell.ours.value - found.value:.3f}: {found.value:+.3f}{bounds}{relative}, "
        f"{cell.pairs:,} pairs of {cell.queries:,} queries"
    )
