"""Differences of a study in random corpora of several sizes: which of them hold among the whole catalogue alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from evaluation.reproduction.figures import Measured
from evaluation.reproduction.questions import QuestionSet
from evaluation.reproduction.results import CORPUS_SIZES, Cell, Column, Row, Table
from evaluation.reproduction.systems import BASELINES
from evaluation.reproduction.tables import Plan, build_table, without_paper

__all__ = ["SIZES", "corpus_size_table"]

SIZES = (1_000, 3_000, 10_000, 30_000)

Counted = tuple[Plan, Mapping[str, npt.NDArray[np.bool_]] | None]


def corpus_size_table(plans: Sequence[Counted], measured: Measured) -> Table | None:
    """Each comparison of Tables 2 to 6, in a column for each size of the corpus.

    Parameters
    ----------
    plans
        The study's tables, each with the pairs that count in it, group -> bool (P,), or None for all.
    measured
        Of the whole corpus.

    Returns
    -------
    None where no corpus is larger than the smallest of `SIZES`, or where nothing is compared.
    """
    whole = max(group.pairs.corpus_count for group in measured.questions.groups.values())
    sizes = [size for size in SIZES if size < whole]
    measured = replace(measured, questions=_first_of_each_kind(measured.questions))
    plans = [(plan, among) for plan, among in plans if plan.key.isdigit()]  # the paper's
    cells: dict[str, dict[str, Cell]] = {}
    labels: dict[str, str] = {}
    for size in (*sizes, None):
        for name, label, cell in _differences(plans, replace(measured, corpus=size)):
            labels[name] = label
            cells.setdefault(name, {})["all" if size is None else str(size)] = cell
    if not sizes or not cells:
        return None
    columns = [(str(size), f"{size:,}") for size in sizes] + [("all", "all")]
    return Table(
        key=CORPUS_SIZES,
        title="Differences by size of the corpus",
        caption="Recall@10, and the difference to what the row is compared with in its table, in random corpora of the "
        "catalogue as large as the column says, worked out exactly from the ranks among all. The paper ranks among a "
        "random million of billions: there the first ten places hold fewer entities that are all as good.",
        columns=[Column(key=key, label=label, group="Random corpus of") for key, label in columns],
        rows=[Row(key=name, label=labels[name], cells=of_row) for name, of_row in cells.items()],
        notes=[],
    )


def _first_of_each_kind(asked: QuestionSet) -> QuestionSet:
    """The first question about pins, about products and about queries: the table is to be read."""
    chosen = {question.key.partition("/")[0]: question for question in reversed(asked.questions.values())}
    return replace(asked, questions={question.key: question for question in reversed(chosen.values())})


def _differences(plans: Sequence[Counted], measured: Measured) -> Iterator[tuple[str, str, Cell]]:
    """Name, label and cell of each comparison of trained systems, where the corpus of its question is large enough."""
    for plan, among in plans:
        for row in build_table(plan, measured, among).rows:
            if row.key in BASELINES:
                continue
            for key, cell in row.cells.items():
                whole = measured.questions.groups[measured.questions.questions[key].group].pairs.corpus_count
                if cell.difference is None or (measured.corpus is not None and measured.corpus >= whole):
                    continue
                label = f"Table {plan.key}, {key.replace('/', ' ')}: {row.label}"
                yield f"{plan.key} {row.key} {key}", label, without_paper(cell)
