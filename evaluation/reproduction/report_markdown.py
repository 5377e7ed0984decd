"""The report as Markdown, with its plots as pictures beside it: the same tables, claims and figures as the page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from evaluation.reproduction.report_facts import (
    TRAINING_HEADS,
    data_rows,
    fact_rows,
    grade_text,
    machine_rows,
    marked,
    summary_sentences,
    system_note,
    training_numbers,
)
from evaluation.reproduction.report_plots import (
    Figures,
    Plot,
    corpus_plot,
    histogram_plot,
    table_plots,
    training_plot,
)
from evaluation.reproduction.report_svg import drawing, picture_svg
from evaluation.reproduction.report_text import ABSENT, clean, figure
from evaluation.reproduction.report_view import MARKS, VERDICTS, LineCell, TableView, table_names, table_view
from evaluation.reproduction.results import Query, Retrieved, StudyResults, Table, Trained

__all__ = ["markdown_report", "markdown_text"]

_SPECIAL = re.compile(r"([\\`*_\[\]|~$@])")


def markdown_text(text: str) -> str:
    """Anyone's text on one line, in which nothing is markup, a link or HTML, wherever on a line it stands."""
    line = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = _SPECIAL.sub(r"\\\1", line)
    # what begins a heading, a list or a rule does so only at the start of a line
    line = re.sub(r"^(\d+)([.)])(?= |$)", r"\1\\\2", re.sub(r"^([-+=#])", r"\\\1", line))
    # no address that becomes a link by itself
    return re.sub(
        r"(?i)(https?|ftp|mailto|xmpp):", r"\1\\:", re.sub(r"(?i)www\.", lambda www: www.group()[:3] + "\\.", line)
    )


def _code(text: str) -> str:
    """Text as code on one line, within more backticks than it holds."""
    line = clean(text)
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    inner = f" {line} " if line.startswith("`") or line.endswith("`") else line
    return f"{fence}{inner}{fence}" if line else ABSENT


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table of cells that are Markdown already; the first `left` columns are left-aligned, the others right."""
    rules = ["---" if place < left else "---:" for place in range(len(heads))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [heads, rules, *rows])


def _texts(figures: Figures) -> str:
    return _table(
        [markdown_text(head) for head in figures.heads],
        [[markdown_text(text) for text in row] for row in figures.rows],
        left=len(figures.heads),
    )


def _cell(cell: LineCell | None) -> str:
    if cell is None:
        return ABSENT
    more = f"({cell.more})" if cell.main and cell.more else cell.more
    mark = cell.mark.symbol if cell.mark is not None else ""
    # figures alone: nothing in them is markup
    return " ".join(part for part in (mark, cell.main, more, cell.interval) if part)


def _study_table(view: TableView) -> list[str]:
    rows = []
    for row in view.rows:
        for place, line in enumerate(row.lines):
            name = f"**{markdown_text(row.label)}**" if place == 0 and row.label else ""
            rows.append([name, markdown_text(line.label), *(_cell(cell) for cell in line.cells)])
    parts = [markdown_text(view.caption)] if view.caption else []
    parts.append(_table(["", "", *(markdown_text(name) for name in view.names)], rows, left=2))
    if view.measured:
        parts.append(f"Measured on {view.measured} in every column.")
    if view.sizes:
        sizes = [f"{name}: {size}" for name, size in zip(view.names, view.sizes, strict=True) if size]
        parts.append("Measured on " + markdown_text("; ".join(sizes)) + ".")
    if view.notes:
        parts.append("\n".join(f"- {markdown_text(note)}" for note in view.notes))
    return parts


class _Pictures:
    """The pictures of a report, by their path beside it."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}

    def show(self, plots: Iterable[Plot]) -> list[str]:
        parts = []
        for plot in plots:
            path, again = f"images/{plot.key}.svg", 1
            while path in self.files:
                again += 1
                path = f"images/{plot.key}-{again}.svg"
            self.files[path] = picture_svg(plot.panels, plot.title)
            parts.append(f"![{markdown_text(plot.title)}]({path})")
            parts.append(f"*{markdown_text(plot.title)}.* {markdown_text(plot.caption)}")
            if plot.figures is not None:
                parts.append(_texts(plot.figures))
        return parts


def markdown_report(results: StudyResults) -> tuple[str, dict[str, str]]:
    """The text, and its pictures: path beside it -> SVG. The same results give the same of both."""
    pictures = _Pictures()
    with drawing():
        parts = [f"# {markdown_text(results.title)}", *_summary(results)]
        of_tables = table_plots(results)
        if results.tables:
            parts += ["## Tables", *_legend(results.tables)]
        for table in results.tables:
            view = table_view(table)
            parts += [f"### {markdown_text(view.heading)}", *_study_table(view), *pictures.show(of_tables[table.key])]
        for section in results.sections:
            parts.append(f"## {markdown_text(section.title)}")
            parts += [markdown_text(text) for text in section.paragraphs if clean(text)]
            if section.table is not None:
                parts += _study_table(table_view(section.table))
        plots = [plot for plot in (histogram_plot(results), corpus_plot(results)) if plot is not None]
        if plots:
            parts += ["## Cosines and corpus size", *pictures.show(plots)]
        if results.gallery:
            parts += _gallery(results.gallery)
        parts += _how(results, pictures)
    return "\n\n".join(parts) + "\n", pictures.files


def _summary(results: StudyResults) -> list[str]:
    parts = [" · ".join(f"{name}: {markdown_text(text)}" for name, text in fact_rows(results)), "## Summary"]
    parts += [markdown_text(sentence) for sentence in summary_sentences(results)]
    if not results.claims:
        return parts
    names = table_names(results)
    parts.append("### Each direction that the paper finds")
    rows = []
    for key, several in groupby(results.claims, lambda claim: claim.table):
        name = names.get(key) or (f"Table {key}" if key.isdigit() else key)
        for place, claim in enumerate(several):
            verdict = f"{VERDICTS[claim.verdict].symbol} {claim.verdict}"
            first = markdown_text(name) if place == 0 else ""
            rows.append([first, verdict, markdown_text(claim.text), markdown_text(claim.evidence)])
    parts.append(_table(["", "verdict", "direction", "evidence"], rows, left=4))
    parts.append("; ".join(f"{one.symbol} {word}: {one.meaning}" for word, one in VERDICTS.items()) + ".")
    return parts


def _legend(tables: Sequence[Table]) -> list[str]:
    views = [table_view(table) for table in tables]
    text = "Every system has its figures *here*, with the interval over queries in brackets"
    if any(view.paper for view in views):
        text += ", and *the paper’s*, of other data, beside them"
    if any(view.gains for view in views):
        text += (
            ". A difference is to the row that its line names, on the same pairs, with what it is of that row’s "
            "figure in percent: " + "; ".join(f"{mark.symbol} {mark.words}" for mark in MARKS)
        )
    return [text + "."]


def _gallery(gallery: Sequence[Query]) -> list[str]:
    parts = ["## Queries, and what each system retrieves"]
    if any(marked(query) for query in gallery):
        parts.append(
            "★ is an entity that the query’s users engaged with in the test part; grades are what raters judged."
        )
    for query in gallery:
        tags = ", ".join(markdown_text(tag) for tag in (query.kind, query.country or "") if tag)
        parts.append(f"### {markdown_text(query.query)}" + (f" ({tags})" if tags else ""))
        heads = []
        for name, found in query.systems.items():
            note = system_note(found)
            heads.append(markdown_text(name) + (f" ({note})" if note else ""))
        length = max((len(found) for found in query.systems.values()), default=0)
        rows = [
            [
                str(rank + 1),
                *(_retrieved(found[rank]) if rank < len(found) else ABSENT for found in query.systems.values()),
            ]
            for rank in range(length)
        ]
        parts.append(_table(["", *heads], rows, left=len(heads) + 1) if rows else "No system retrieves anything.")
    return parts


def _retrieved(one: Retrieved) -> str:
    parts = ["★"] if one.engaged else []
    parts.append(markdown_text(one.text) or markdown_text(one.entity_id))
    parts.append(f"({markdown_text(one.entity_type)} {markdown_text(one.entity_id)}, {figure(one.score)}")
    grade = f", grade {grade_text(one.grade)}" if one.grade is not None else ""
    return " ".join(parts) + grade + ")"


def _how(results: StudyResults, pictures: _Pictures) -> list[str]:
    parts = ["## How it was made", "The command that makes it again:", _code(results.command)]
    for title, rows in (
        ("Data", data_rows(results)),
        ("Settings of all trainings and measurements", list(results.settings.items())),
    ):
        if rows:
            parts += [f"### {title}", _pairs(rows)]
    if results.trained:
        names = table_names(results)
        parts.append("### Trainings")
        heads = ["training", "what", "used by", "fingerprint", *TRAINING_HEADS]
        parts.append(_table(heads, [_training(one, names) for one in results.trained], left=4))
        plot = training_plot(results)
        parts += pictures.show([plot] if plot is not None else [])
    parts += ["### Machine and versions", _pairs(machine_rows(results)), f"Finished {markdown_text(results.finished)}."]
    return parts


def _pairs(rows: Iterable[tuple[str, str]]) -> str:
    return _table(["", ""], [[markdown_text(name), markdown_text(text)] for name, text in rows])


def _training(one: Trained, names: dict[str, str]) -> list[str]:
    what = [markdown_text(one.what)] if one.what else []
    what += [_code(f"{name} = {text}").replace("|", "\\|") for name, text in one.changes.items()]
    if one.tasks:
        what.append("tasks " + markdown_text(", ".join(one.tasks)))
    uses = ", ".join(names.get(key) or key for key in one.used_by)
    return [
        markdown_text(one.name),
        "; ".join(what),
        markdown_text(uses),
        _code(one.fingerprint).replace("|", "\\|"),
        *training_numbers(one),
    ]
