"""What a study of human relevance writes, and the records that a study's report is made from."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from evaluation.bootstrap import Interval
from evaluation.human_results import FIGURES, HumanRelevance, HumanSettings, StratumRelevance
from evaluation.plots import BarPanel, save_bars
from evaluation.reports import ReportContext, encoder_lines, interval_lines
from evaluation.reproduction.results import Cell, Column, Difference, Estimate, Query, Retrieved, Row, Section, Table
from evaluation.study_rows import ROWS
from evaluation.tables import difference_cell, interval_cell, json_interval, markdown_table
from omnifeat.data.files import replace_when_whole

__all__ = [
    "gallery_queries",
    "human_json",
    "human_markdown",
    "human_rows",
    "human_section",
    "write_humans",
]

_NOT_A_SHARE = "mean grade"


def human_json(result: HumanRelevance, settings: HumanSettings, context: ReportContext) -> dict[str, Any]:
    """All figures and examples as plain dicts; intervals are `{"value", "low", "high"}`."""

    def stratum(one: StratumRelevance) -> dict[str, Any]:
        return {
            "queries": one.queries,
            "of_queries": one.population,
            "share_of_engagements": one.mass,
            "systems": {
                name: {
                    "figures": {figure: json_interval(interval) for figure, interval in system.figures.items()},
                    "differences": None
                    if system.differences is None
                    else {figure: json_interval(interval) for figure, interval in system.differences.items()},
                    "retrieved": system.retrieved,
                    "judged": system.judged,
                    "empty_places": system.empty,
                }
                for name, system in one.systems.items()
            },
        }

    agreement = None
    if result.agreement is not None:
        figures = ("alpha", "same_grade", "same_side")
        agreement = {name: json_interval(getattr(result.agreement, name)) for name in figures} | {
            name: getattr(result.agreement, name) for name in ("pairs", "judgments", "raters", "of_one_rater")
        }
    return {
        "context": asdict(context),
        "settings": asdict(settings),
        "judge": result.judge,
        "reference": result.reference,
        "relevant_grade": result.relevant_grade,
        "corpus": result.corpus,
        "strata": {name: stratum(one) for name, one in result.strata.items()},
        "agreement": agreement,
        "examples": [asdict(example) for example in result.examples],
    }


def human_rows(result: HumanRelevance, stratum: str) -> tuple[list[str], list[list[str]]]:
    """Column names and cells of one stratum's table."""
    columns = ["system", "relevant %", f"less {result.reference}", "mean grade", f"less {result.reference}"]
    columns += ["found %", f"less {result.reference}", "retrieved", "not judged", "empty places"]
    cells = []
    for name, system in result.strata[stratum].systems.items():
        line = [name]
        for figure in FIGURES:
            decimals, scale = (2, 1.0) if figure == _NOT_A_SHARE else (1, 100.0)
            line.append(interval_cell(system.figures[figure], decimals, scale))
            less = None if system.differences is None else system.differences[figure]
            line.append(difference_cell(less, decimals, scale))
        counts = (system.retrieved, system.retrieved - system.judged, system.empty)
        cells.append([*line, *(f"{count:,}" for count in counts)])
    return columns, cells


def human_markdown(result: HumanRelevance, settings: HumanSettings, context: ReportContext) -> str:
    """The tables of the strata, how it was measured, and the examples side by side."""
    parts = [f"# Human relevance of {settings.entity_type}s retrieved on {context.dataset}", _agreement_text(result)]
    for name, one in result.strata.items():
        parts.append(f"## {name.capitalize()} queries\n\n{_stratum_text(one)}")
        parts.append(markdown_table(*human_rows(result, name)))
    systems = list(next(iter(result.strata.values())).systems)
    parts.append("## Systems\n\n" + "\n".join(f"- `{name}`: {ROWS.get(name, name)}" for name in systems))
    parts.append("## How it was measured\n\n" + "\n".join(f"- {line}" for line in _method(result, settings, context)))
    if result.examples:
        parts.append("## Examples\n\nEach place: text, grade (raters), and whether people engaged with it.")
    for example in result.examples:
        lines = []
        for place in range(settings.k):
            shown = [entities[place : place + 1] for entities in example.systems.values()]
            lines.append([str(place + 1), *(_shown(one[0]) if one else "–" for one in shown)])
        parts.append(f"### {example.query} ({example.stratum})\n\n{markdown_table(['place', *example.systems], lines)}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _shown(one: Any) -> str:
    grade = "not judged" if one.grade is None else f"{one.grade:g} ({', '.join(f'{grade:g}' for grade in one.raters)})"
    return f"{one.text or one.entity_id}: {grade}{', engaged' * one.engaged}"


def _stratum_text(one: StratumRelevance) -> str:
    return f"{one.queries:,} queries, drawn of {one.population:,} that together make {one.mass:.0%} of the engagements."


def _agreement_text(result: HumanRelevance) -> str:
    one = result.agreement
    if one is None:
        return ""
    return (
        f"Agreement of the raters: alpha {interval_cell(one.alpha, 3, 1.0)} (Krippendorff, ordinal); two raters of a "
        f"pair agree on whether it is relevant in {interval_cell(one.same_side)}%, on the grade in "
        f"{interval_cell(one.same_grade)}%."
    )


def _method(result: HumanRelevance, settings: HumanSettings, context: ReportContext) -> list[str]:
    lines = [
        f"Each system retrieves {settings.k} of {result.corpus:,} entities for a query. {result.judge}",
        f"`relevant` is the share of judged pairs with a median grade of {result.relevant_grade:g} or more (the lower "
        "of two in the middle); `mean grade` is over the raters, then over the judged pairs; `found` is relevant pairs "
        "over all places, of which those that are empty or not judged count as not relevant.",
        "Head queries are the most frequent ones that together make "
        f"{settings.share:.0%} of the engagements of split {settings.split}, tail queries the least frequent ones that "
        "do; queries are drawn uniformly.",
        f"Token-based systems see what an entity has of {', '.join(settings.token_fields)}; they retrieve nothing "
        "that shares no token with the query.",
    ]
    lines += interval_lines(settings.resamples, settings.level, settings.seed, drawn="the queries")
    return lines + encoder_lines(context)


def write_humans(
    folder: Path, result: HumanRelevance, settings: HumanSettings, context: ReportContext, overwrite: bool = True
) -> list[Path]:
    """Write `humans.json`, `humans.md`, `humans.png`, and `judgments.parquet` with every judgment that was used."""
    panels = [
        BarPanel(f"{name} ({one.queries:,} queries)", tuple(s.figures["relevant"] for s in one.systems.values()))
        for name, one in result.strata.items()
    ]
    systems = list(next(iter(result.strata.values())).systems)
    level = f", {settings.level:.0%} intervals over queries" if settings.resamples else ""
    with replace_when_whole(folder, overwrite=overwrite) as partial:
        partial.mkdir(parents=True, exist_ok=True)
        said = json.dumps(human_json(result, settings, context), ensure_ascii=False, indent=2, allow_nan=False)
        (partial / "humans.json").write_text(said + "\n", encoding="utf-8")
        (partial / "humans.md").write_text(human_markdown(result, settings, context), encoding="utf-8")
        pq.write_table(result.judgments, partial / "judgments.parquet")
        save_bars(
            partial / "humans.png",
            systems,
            panels,
            title=f"{context.dataset}: relevance of retrieved {settings.entity_type}s",
            label=f"judged pairs that are relevant, in %{level}",
            highlight=next((name for name in systems if name != result.reference), None),
        )
    return [folder / name for name in ("humans.json", "humans.md", "humans.png", "judgments.parquet")]


def human_section(result: HumanRelevance, settings: HumanSettings) -> Section:
    """Section 5.1 as a record of a study's results: what was done in sentences, and a row for each system."""
    columns = [
        Column(
            key=f"{name}/{figure}",
            label=figure,
            group=f"{name} queries",
            unit="plain" if figure == _NOT_A_SHARE else "share",
        )
        for name in result.strata
        for figure in FIGURES
    ]
    systems = list(next(iter(result.strata.values())).systems)
    rows = []
    for name in systems:
        cells = {}
        for stratum, one in result.strata.items():
            system, against = one.systems[name], one.systems[result.reference]
            for figure in FIGURES:
                less = None
                if system.differences is not None:
                    less = _difference(result.reference, system.differences[figure], against.figures[figure])
                pairs = system.judged if figure != "found" else system.retrieved + system.empty
                ours = _estimate(system.figures[figure])
                if ours is not None:
                    cells[f"{stratum}/{figure}"] = Cell(ours=ours, difference=less, pairs=pairs, queries=one.queries)
        rows.append(Row(key=name, label=ROWS.get(name, name), cells=cells))
    notes = [
        f"{name.capitalize()} queries: {_stratum_text(one)} "
        + " ".join(
            f"{system} retrieved {found.retrieved:,}, of which {found.retrieved - found.judged:,} were not judged, and "
            f"left {found.empty:,} places empty."
            for system, found in one.systems.items()
        )
        for name, one in result.strata.items()
    ]
    method = _method(result, settings, ReportContext(""))
    table = Table(
        key="5.1",
        title="Human relevance",
        caption=" ".join(method[1:]),
        columns=columns,
        rows=rows,
        notes=notes,
    )
    paragraphs = [method[0], _agreement_text(result)]
    return Section(
        key="human-relevance",
        title="Human relevance (section 5.1)",
        paragraphs=[text for text in paragraphs if text],
        table=table,
    )


def gallery_queries(result: HumanRelevance, settings: HumanSettings) -> list[Query]:
    """The examples as records of a study's gallery."""
    return [
        Query(
            query=example.query,
            kind=example.stratum,
            systems={
                name: [
                    Retrieved(
                        entity_id=one.entity_id,
                        entity_type=settings.entity_type,
                        text=one.text,
                        score=one.score,
                        grade=one.grade,
                        engaged=one.engaged,
                    )
                    for one in entities
                ]
                for name, entities in example.systems.items()
            },
        )
        for example in result.examples
    ]


def _estimate(interval: Interval) -> Estimate | None:
    said = json_interval(interval)
    if said is None or said["value"] is None:
        return None
    return Estimate(value=said["value"], low=said["low"], high=said["high"])


def _difference(to: str, interval: Interval, against: Interval) -> Difference | None:
    said = _estimate(interval)
    if said is None:
        return None
    relative = said.value / against.value if against.value else None
    return Difference(to=to, value=said.value, low=said.low, high=said.high, relative=relative)
