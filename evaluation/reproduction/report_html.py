"""The report as one HTML page that fetches nothing and runs no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import jinja2
from markupsafe import Markup

from evaluation.reproduction.report_facts import (
    data_rows,
    fact_rows,
    grade_text,
    machine_rows,
    marked,
    summary_sentences,
    system_note,
    training_numbers,
)
from evaluation.reproduction.report_plots import Plot, corpus_plot, histogram_plot, table_plots, training_plot
from evaluation.reproduction.report_svg import drawing, page_svg
from evaluation.reproduction.report_text import clean, figure, slug
from evaluation.reproduction.report_view import MARKS, VERDICTS, TableView, table_names, table_view
from evaluation.reproduction.results import StudyResults, Trained

__all__ = ["html_page"]

_Drawn = tuple[Plot, list[tuple[Any, Markup]]]


@dataclass(frozen=True)
class _Section:
    id: str
    title: str
    paragraphs: tuple[str, ...]
    view: TableView | None


@dataclass(frozen=True)
class _Training:
    name: str
    what: str
    changes: str
    tasks: str
    fingerprint: str
    numbers: tuple[str, ...]
    uses: tuple[tuple[str, str | None], ...]


class _Ids:
    """Ids that no other element of the page has."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, wanted: str) -> str:
        name, again = wanted, 1
        while name in self._taken:
            again += 1
            name = f"{wanted}-{again}"
        self._taken.add(name)
        return name


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("evaluation.reproduction"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(clean=clean, note=system_note, grade=grade_text, figure=figure)
    return environment


def html_page(results: StudyResults) -> str:
    """The whole page; the same results give the same text."""
    environment = _environment()
    loader = environment.loader
    style = loader.get_source(environment, "report.css")[0] if loader is not None else ""
    names, ids = table_names(results), _Ids()
    table_ids = {table.key: ids.take(f"table-{slug(table.key)}") for table in results.tables}
    with drawing():
        of_tables = table_plots(results)
        tables = [
            (table_view(table), table_ids[table.key], _drawn(of_tables.get(table.key, []), ids))
            for table in results.tables
        ]
        plots = _drawn([plot for plot in (histogram_plot(results), corpus_plot(results)) if plot is not None], ids)
        curves = _drawn([plot for plot in (training_plot(results),) if plot is not None], ids)
    sections = [
        _Section(
            ids.take(f"section-{slug(section.key)}"),
            clean(section.title),
            tuple(clean(text) for text in section.paragraphs),
            table_view(section.table) if section.table is not None else None,
        )
        for section in results.sections
    ]
    context = {
        "style": Markup(style),
        "title": clean(results.title),
        "facts": fact_rows(results),
        "contents": _contents(results, [(view, name) for view, name, _ in tables], sections, bool(plots)),
        "summary": summary_sentences(results),
        "claims": _claims(results, names, table_ids),
        "tally": [
            {"word": word, "verdict": verdict, "number": sum(claim.verdict == word for claim in results.claims)}
            for word, verdict in VERDICTS.items()
        ],
        "tables": tables,
        "any_paper": any(view.paper for view, _, _ in tables),
        "any_gains": any(view.gains for view, _, _ in tables),
        "marks": MARKS,
        "sections": sections,
        "plots": plots,
        "gallery": [{"place": place, "query": query} for place, query in enumerate(results.gallery, 1)],
        "gallery_marked": any(marked(query) for query in results.gallery),
        "command": clean(results.command),
        "data": data_rows(results),
        "settings": [(clean(name), clean(text)) for name, text in results.settings.items()],
        "trained": _trained(results.trained, names, table_ids),
        "curves": curves,
        "machine": machine_rows(results),
        "finished": clean(results.finished),
    }
    return environment.get_template("report.html.j2").render(context).strip() + "\n"


def _drawn(plots: Iterable[Plot], ids: _Ids) -> list[_Drawn]:
    """The plots with the SVG of each panel; titles in it are escaped by the XML writer."""
    drawn = []
    for plot in plots:
        panels = []
        for panel in plot.panels:
            svg = Markup(page_svg(panel, ids.take(f"{plot.key}-panel")))
            panels.append((panel, svg))
        drawn.append((plot, panels))
    return drawn


def _claims(results: StudyResults, names: dict[str, str], ids: dict[str, str]) -> list[tuple[Any, ...]]:
    grouped = []
    for key, several in groupby(results.claims, lambda claim: claim.table):
        name = names.get(key) or (f"Table {key}" if key.isdigit() else clean(key))
        grouped.append((name, ids.get(key), [(claim, VERDICTS[claim.verdict]) for claim in several]))
    return grouped


def _contents(
    results: StudyResults, tables: list[tuple[TableView, str]], sections: list[_Section], plots: bool
) -> list[tuple[str, str, str]]:
    """Id, name and short name of what the page holds."""
    found = [("summary", "Summary", "Summary")]
    found += [
        (name, view.heading, f"Table {view.key}" if view.key.isdigit() else view.heading) for view, name in tables
    ]
    found += [(section.id, section.title, section.title) for section in sections]
    if plots:
        found.append(("plots", "Cosines and corpus size", "Plots"))
    if results.gallery:
        found.append(("gallery", "Queries", "Queries"))
    found.append(("how", "How it was made", "How"))
    if results.trained:
        found.append(("trainings", "Trainings", "Trainings"))
    return found


def _trained(found: Sequence[Trained], names: dict[str, str], ids: dict[str, str]) -> list[list[_Training]]:
    """The trainings in groups of seeds that are alike in all that is said of them once."""
    alike = groupby(found, lambda one: (one.name, one.what, one.changes, one.tasks, one.used_by))
    return [[_training(one, names, ids) for one in several] for _, several in alike]


def _training(one: Trained, names: dict[str, str], ids: dict[str, str]) -> _Training:
    return _Training(
        name=clean(one.name),
        what=clean(one.what),
        changes=", ".join(f"{clean(name)} = {clean(text)}" for name, text in one.changes.items()),
        tasks=", ".join(clean(task) for task in one.tasks),
        fingerprint=clean(one.fingerprint),
        numbers=training_numbers(one),
        uses=tuple((names.get(key) or clean(key), ids.get(key)) for key in one.used_by),
    )
