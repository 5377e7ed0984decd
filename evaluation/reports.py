"""What studies write: one folder with JSON, Markdown and a picture, whole or not at all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evaluation.judged_means import NewMeans
from evaluation.plots import BarPanel, save_bars
from evaluation.relevance_study import RelevanceSettings, RelevanceStudy
from evaluation.tables import difference_cell, interval_cell, json_interval, markdown_table
from omnifeat.data.files import replace_when_whole
from omnifeat.data.publishing import refuse_taken, sweep_partials
from omnifeat.errors import OutputError

__all__ = [
    "PANELS",
    "ReportContext",
    "check_target",
    "encoder_lines",
    "interval_lines",
    "new_rows",
    "relevance_json",
    "relevance_markdown",
    "relevance_rows",
    "write_folder",
    "write_relevance",
]

NEW_MEANS_TOLD = (
    "Of new pairs: the pairs that the encoder was trained on are taken out of judgments and ranking, so that none of "
    "the query's training positives competes, and the measure is worked out on the rest; of new queries: on the "
    "queries that it was trained on with no entity. Queries without a positive judgment left are left out."
)
PANELS = 8  # groups in a picture beside the overall panel; the files hold all


@dataclass(frozen=True)
class ReportContext:
    """What was measured with: names and fingerprints that a reader needs to repeat it."""

    dataset: str
    encoder: str | None = None
    fingerprint: str | None = None
    pretrained: str | None = None
    corpus_tables: tuple[str, ...] = ()


def check_target(folder: Path, overwrite: bool) -> None:
    """Raise `OutputError` if the folder is there and not empty, unless it may be replaced, or if it is a file."""
    sweep_partials(folder.absolute())
    refuse_taken(folder.absolute(), folder, overwrite=True)  # a link, a pipe or a device
    if folder.is_file():
        raise OutputError(f"the output folder {folder} is a file; name another folder")
    if not overwrite and folder.is_dir() and any(folder.iterdir()):
        raise OutputError(f"the output folder {folder} is not empty; give --overwrite to replace it, or name another")


def write_folder(
    folder: Path, texts: dict[str, str], pictures: Sequence[tuple[str, dict[str, Any]]], overwrite: bool = True
) -> list[Path]:
    """Write files of text, and bar pictures from the arguments of `save_bars`, beside; rename when whole."""
    with replace_when_whole(folder, overwrite=overwrite) as partial:
        partial.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (partial / name).write_text(text, encoding="utf-8")
        for name, arguments in pictures:
            save_bars(partial / name, **arguments)
    return [folder / name for name in [*texts, *(name for name, _ in pictures)]]


def interval_lines(resamples: int, level: float, seed: int, *, drawn: str = "whole queries") -> list[str]:
    """A sentence on what intervals and differences are; none where nothing was resampled."""
    if not resamples:
        return []
    return [
        f"Intervals hold {level:.0%} of {resamples:,} bootstrap resamples of {drawn} (seed {seed}); differences are "
        "paired on the same resamples."
    ]


def encoder_lines(context: ReportContext) -> list[str]:
    """A sentence on each of the encoders."""
    lines = []
    if context.encoder is not None:
        lines.append(f"Encoder: `{context.encoder}`, fingerprint `{context.fingerprint}`.")
    if context.pretrained is not None:
        lines.append(f"Pretrained encoder: {context.pretrained}.")
    return lines


def write_relevance(
    folder: Path, study: RelevanceStudy, settings: RelevanceSettings, dataset: str, run: str, overwrite: bool = True
) -> list[Path]:
    """Write `relevance.json`, `relevance.md` and `relevance.png`."""
    main = settings.measures[0]
    queries = len(study.figures[study.reference].queries)
    panels = [BarPanel(f"all ({queries:,} queries)", tuple(means[main] for means in study.intervals.values()))]
    for name, (count, means) in list(study.groups.items())[:PANELS]:
        panels.append(BarPanel(f"{name} ({count:,} queries)", tuple(means.values())))
    level = f", {settings.level:.0%} intervals over queries" if settings.resamples else ""
    picture = {
        "names": list(study.intervals),
        "panels": panels,
        "title": f"{dataset}: relevance by judgments",
        "label": f"{main} in %{level}",
        "highlight": study.reference,
    }
    texts = {
        "relevance.json": json.dumps(relevance_json(study, settings, dataset, run), ensure_ascii=False, indent=2)
        + "\n",
        "relevance.md": relevance_markdown(study, settings, dataset, run),
    }
    return write_folder(folder, texts, [("relevance.png", picture)], overwrite)


def relevance_json(study: RelevanceStudy, settings: RelevanceSettings, dataset: str, run: str) -> dict[str, Any]:
    """All figures as plain dicts; intervals are `{"value", "low", "high"}`."""
    one = study.figures[study.reference]
    return {
        "dataset": dataset,
        "run": run,
        "settings": asdict(settings),
        "reference": study.reference,
        "queries": len(one.queries),
        "queries_without_positive": one.queries_without_positive,
        "queries_without_run": one.queries_without_run,
        "judged_pairs": study.judged_pairs,
        "judged_pairs_in_run": study.judged_pairs_in_run,
        "pairs_with_several_grades": one.conflicting,
        "notes": list(study.notes),
        "unjudged_rows": one.unjudged,
        "columns": {
            column: {
                "measures": {measure: json_interval(interval) for measure, interval in means.items()},
                "difference": json_interval(study.differences[column]),
                "unscored_rows": study.figures[column].unscored,
            }
            for column, means in study.intervals.items()
        },
        "groups": {
            name: {"queries": count, "columns": {column: json_interval(mean) for column, mean in means.items()}}
            for name, (count, means) in study.groups.items()
        },
        "trained_on": None if study.knowledge is None else study.knowledge.counts,
        "new": {name: group.as_json() for name, group in study.new.items()},
    }


def relevance_rows(study: RelevanceStudy, settings: RelevanceSettings) -> tuple[list[str], list[list[str]]]:
    """Column names and cells of the overall table."""
    columns = ["score", *(f"{measure} %" for measure in settings.measures)]
    columns += [f"{settings.measures[0]} less {study.reference}", "unscored"]
    cells = [
        [
            column,
            *(interval_cell(interval) for interval in means.values()),
            difference_cell(study.differences[column]),
            f"{study.figures[column].unscored:,}",
        ]
        for column, means in study.intervals.items()
    ]
    return columns, cells


def new_rows(
    all_queries: int, new: Mapping[str, NewMeans], measure: str, decimals: int = 1, scale: float = 100.0
) -> tuple[list[str], list[list[str]]]:
    """Column names and cells of the table of what is new to the encoder; `all_queries` are those of all pairs."""
    columns = ["of", "score", measure, "less the first", "pairs", "queries", "left out"]
    cells = []
    for name, group in new.items():
        for column, interval in group.intervals.items():
            cells.append(
                [
                    name,
                    column,
                    interval_cell(interval, decimals, scale),
                    difference_cell(group.differences[column], decimals, scale),
                    f"{group.rows:,}",
                    f"{group.queries:,}",
                    f"{all_queries - group.queries:,}",
                ]
            )
    return columns, cells


def relevance_markdown(study: RelevanceStudy, settings: RelevanceSettings, dataset: str, run: str) -> str:
    """The tables, and how it was measured."""
    one, main = study.figures[study.reference], settings.measures[0]
    parts = [
        f"# {main} of `{run}` against the judgments of {dataset}",
        markdown_table(*relevance_rows(study, settings)),
    ]
    if study.groups:
        parts.append(f"{main} in % by `{settings.by}`:")
        cells = [
            [name, f"{count:,}", *(interval_cell(mean) for mean in means.values())]
            for name, (count, means) in study.groups.items()
        ]
        parts.append(markdown_table([settings.by or "", "queries", *study.intervals], cells))
    parts.append(study.known)
    if study.new:
        parts.append(markdown_table(*new_rows(len(one.queries), study.new, f"{main} %")))
        parts.append(NEW_MEANS_TOLD)
    unjudged = "are left out" if settings.judged_only else f"count as irrelevant ({one.unjudged:,} rows)"
    lines = [
        f"{len(one.queries):,} queries with a positive judgment; {one.queries_without_positive:,} without one are left "
        f"out; {one.queries_without_run:,} that the run does not hold count as 0.",
        f"Equal scores are ordered by id, unscored rows stand last, and rows that were not judged {unjudged}.",
        f"The gain of a grade is {settings.gain}.",
        *(
            [f"{one.conflicting:,} pairs have several grades; the lower median of each counts."]
            if one.conflicting
            else []
        ),
        *(f"{note[0].upper()}{note[1:]}." for note in study.notes),
    ]
    if one.conflicting:
        lines.append(f"{one.conflicting:,} pairs have several grades; the lower median of each counts.")
    lines += interval_lines(settings.resamples, settings.level, settings.seed, drawn="the queries")
    parts.append("## How it was measured\n\n" + "\n".join(f"- {line}" for line in lines))
    return "\n\n".join(parts) + "\n"
