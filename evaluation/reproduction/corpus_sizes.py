"""Differences of a study in random corpora of several sizes: which of them hold among the whole catalogue alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from evaluation.reproduction.figures import Measured
from evaluation.reproduction.results import CORPUS_SIZES, Cell, Column, Row, Table
from evaluation.reproduction.systems import BASELINES
from evaluation.reproduction.tables import Plan, build_table

__all__ = ["SIZES", "corpus_size_table"]

SIZES = (1_000, 3_000, 10_000, 30_000)
_QUESTIONS = ("pin/save", "product/save", "query/click")  # one of each kind: the table is to be read


def corpus_size_table(
    plans: Sequence[tuple[Plan, Mapping[str, npt.NDArray[np.bool_]] | None]], measured: Measured
) -> Table | None:
    """Each comparison of Tables 2 to 6, in a column for each size of the corpus; None where no corpus is larger.

    Parameters
    ----------
    plans
        The study's tables, each with the pairs that count in it, group -> bool (P,), or None for all.
    measured
        Of the whole corpus.
    """
    whole = max(group.pairs.corpus_count for group in measured.questions.groups.values())
    sizes = [size for size in SIZES if size < whole]
    if not sizes:
        return None
    asked = {key: question for key, question in measured.questions.questions.items() if key in _QUESTIONS}
    measured = replace(measured, questions=replace(measured.questions, questions=asked))
    rows: dict[str, dict[str, Cell]] = {}
    labels: dict[str, str] = {}
    columns = [Column(key=str(size), label=f"{size:,}", group="Random corpus of") for size in sizes]
    columns.append(Column(key="all", label="all", group="Random corpus of"))
    for column, size in zip(columns, [*sizes, None], strict=True):
        for plan, among in plans:
            if not plan.key.isdigit():
                continue
            table = build_table(plan, replace(measured, corpus=size), among)
            for row in table.rows:
                if row.key in BASELINES:
                    continue
                for key in _QUESTIONS:
                    cell = row.cells.get(key)
                    if cell is None or cell.difference is None:
                        continue
                    group = measured.questions.groups[measured.questions.questions[key].group]
                    if size is not None and size >= group.pairs.corpus_count:
                        continue
                    name = f"{plan.key} {row.key} {key}"
                    labels[name] = f"Table {plan.key}, {key.replace('/', ' ')}: {row.label}"
                    rows.setdefault(name, {})[column.key] = _without_paper(cell)
    return Table(
        key=CORPUS_SIZES,
        title="Differences by size of the corpus",
        caption="Recall@10, and the difference to what the row is compared with in its table, in random corpora of the "
        "catalogue as large as the column says, worked out exactly from the ranks among all. The paper ranks among a "
        "random million of billions: there the first ten places hold fewer entities that are all as good.",
        columns=columns,
        rows=[Row(key=name, label=labels[name], cells=cells) for name, cells in rows.items()],
        notes=[],
    )


def _without_paper(cell: Cell) -> Cell:
    return cell.model_copy(update={"paper": None, "paper_relative": None})
