"""What studies write: one folder with JSON, Markdown and a picture, whole or not at all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evaluation.groups import SEEN
from evaluation.judged_means import NewMeans
from evaluation.plots import BarPanel, save_bars
from evaluation.recall_study import REFERENCE, GroupResult, RecallSettings, RecallStudy
from evaluation.relevance_study import RelevanceSettings, RelevanceStudy
from evaluation.run_rows import RUN_ROW
from evaluation.seen_pairs import what_is_known
from evaluation.study_rows import ROWS
from evaluation.tables import difference_cell, interval_cell, json_interval, markdown_table
from omnifeat.data.files import replace_when_whole
from omnifeat.data.publishing import refuse_taken, sweep_partials
from omnifeat.errors import OutputError

__all__ = [
    "ReportContext",
    "check_target",
    "encoder_lines",
    "interval_lines",
    "new_recall_rows",
    "new_rows",
    "pairs_name",
    "recall_json",
    "recall_markdown",
    "recall_rows",
    "relevance_json",
    "relevance_markdown",
    "relevance_rows",
    "write_folder",
    "write_recall",
    "write_relevance",
]

NEW_MEANS_TOLD = (
    "Of new pairs: the pairs that the encoder was trained on are taken out of judgments and ranking, and the measure "
    "is worked out on the rest; of new queries: on the queries that it was trained on with no entity. Queries without "
    "a positive judgment left are left out."
)
_PANELS = 8  # groups in a picture beside the overall panel; the files hold all


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


def write_recall(
    folder: Path,
    studies: Sequence[RecallStudy],
    settings: RecallSettings,
    context: ReportContext,
    overwrite: bool = True,
) -> list[Path]:
    """Write `recall.json`, `recall.md` and `recall.png` (with more entity types, `recall-<type>.png`)."""
    pictures = []
    for study in studies:
        name = "recall.png" if len(studies) == 1 else f"recall-{study.entity_type}.png"
        pictures.append((name, _picture(study, settings, context)))
    texts = {
        "recall.json": json.dumps(recall_json(studies, settings, context), ensure_ascii=False, indent=2) + "\n",
        "recall.md": recall_markdown(studies, settings, context),
    }
    return write_folder(folder, texts, pictures, overwrite)


def recall_json(studies: Sequence[RecallStudy], settings: RecallSettings, context: ReportContext) -> dict[str, Any]:
    """All figures as plain dicts; intervals are `{"value", "low", "high"}`."""
    return {
        "metric": "Recall@k as a hit rate per pair; ties by (-score, id); the positive does not count against itself",
        "context": asdict(context),
        "settings": asdict(settings),
        "studies": [
            {
                "entity_type": study.entity_type,
                "corpus": study.corpus,
                "corpus_source": study.corpus_source,
                "grouped_by": study.grouped_by,
                "overall": _group_json(study.overall),
                "groups": {name: _group_json(group) for name, group in study.groups.items()},
                "trained_on": None if study.knowledge is None else study.knowledge.counts,
                "new": {name: _group_json(group) for name, group in study.new.items()},
            }
            | ({} if study.positives is None else {"positives": study.positives})
            | ({} if study.average is None else {"average_of_groups": _group_json(study.average)})
            for study in studies
        ],
    }


def _group_json(group: GroupResult) -> dict[str, Any]:
    return {
        "pairs": group.pairs,
        "queries": group.queries,
        "rows": {
            name: {
                "recall": {str(k): json_interval(interval) for k, interval in row.recall.items()},
                "mean_reciprocal_rank": json_interval(row.mean_reciprocal_rank),
                "differences": {other: json_interval(found) for other, found in row.differences.items()},
            }
            for name, row in group.rows.items()
        },
    }


def recall_rows(study: RecallStudy, settings: RecallSettings) -> tuple[list[str], list[list[str]]]:
    """Column names and cells of the overall table."""
    references = list(next(iter(study.overall.rows.values())).differences) if len(study.overall.rows) > 1 else []
    columns = ["row", *(f"Recall@{k} %" for k in settings.ks), _mrr(settings)]
    columns += [f"Recall@{settings.ks[0]} less {other}" for other in references]
    cells = []
    for name, row in study.overall.rows.items():
        line = [name, *(interval_cell(row.recall[k]) for k in settings.ks), interval_cell(row.mean_reciprocal_rank)]
        cells.append(line + [difference_cell(row.differences[other]) for other in references])
    return columns, cells


def new_recall_rows(study: RecallStudy, settings: RecallSettings) -> tuple[list[str], list[list[str]]]:
    """Column names and cells of the table of pairs and queries that are new to the encoder."""
    columns = ["of", "pairs", "queries", *(f"{name} Recall@{settings.ks[0]} %" for name in study.overall.rows)]
    cells = [
        [
            *(name, f"{group.pairs:,}", f"{group.queries:,}"),
            *(interval_cell(row.recall[settings.ks[0]]) for row in group.rows.values()),
        ]
        for name, group in study.new.items()
    ]
    return columns, cells


def _mrr(settings: RecallSettings) -> str:
    return "MRR %" if settings.most is None else f"MRR@{settings.most} %"


def recall_markdown(studies: Sequence[RecallStudy], settings: RecallSettings, context: ReportContext) -> str:
    """The tables, what the rows are, and how it was measured."""
    main = settings.ks[0]
    parts = [f"# Recall@{main} on {context.dataset}, {pairs_name(settings)}"]
    for study in studies:
        pairs = f"{study.overall.pairs:,} pairs of {study.overall.queries:,} queries"
        said = f" {study.positives}" if study.positives else ""
        among = f"{study.corpus:,} entities ({study.corpus_source})"
        parts.append(f"## Entity type {study.entity_type}\n\n{pairs}, among {among}.{said}")
        parts.append(markdown_table(*recall_rows(study, settings)))
        if context.encoder is not None:
            parts.append(what_is_known(study.knowledge, context.encoder))
        if study.new:
            parts.append(markdown_table(*new_recall_rows(study, settings)))
        if study.groups:
            parts.append(f"Recall@{main} in % by `{study.grouped_by}`; a pair may belong to several groups:")
            columns = [(study.grouped_by or "").split(".")[-1], "pairs", *study.overall.rows]
            averaged = {} if study.average is None else {"mean of these": study.average}
            cells = [
                [name, f"{group.pairs:,}", *(interval_cell(row.recall[main]) for row in group.rows.values())]
                for name, group in {**study.groups, **averaged}.items()
            ]
            parts.append(markdown_table(columns, cells))
    shown = list(dict.fromkeys(name for study in studies for name in study.overall.rows))
    parts.append("## Rows\n\n" + "\n".join(f"- `{name}`: {ROWS.get(name, RUN_ROW)}" for name in shown))
    parts.append("## How it was measured\n\n" + "\n".join(f"- {line}" for line in _method(settings, context)))
    return "\n\n".join(parts) + "\n"


def pairs_name(settings: RecallSettings) -> str:
    """Which pairs are evaluated, in a few words for a heading."""
    return "relevant judged pairs" if settings.positives == "judgments" else f"split {settings.split}"


def _method(settings: RecallSettings, context: ReportContext) -> list[str]:
    others = "are left out" if settings.leave_out_other_positives else "count as competitors"
    lines = [
        "Recall@k is the share of pairs whose entity is among the first k (a hit rate per pair); MRR is the mean of "
        "1 / rank.",
        "Equal scores are ordered by id; the positive does not count against itself; the query's other positives "
        f"{others}.",
    ]
    lines.append("A positive outside the corpus is ranked among its entities and counts against no other positive.")
    if settings.most is not None:
        lines.append(f"Ranks are told apart to {settings.most:,}; those beyond count as 0 in MRR@{settings.most}.")
    if settings.corpus_size is not None:
        lines.append(f"The corpus is a uniform sample of {settings.corpus_size:,} entities (seed {settings.seed}).")
    if settings.by == SEEN:
        lines.append(
            "New pairs are those whose query and entity stand together in no row of the training part of the log."
        )
    if context.corpus_tables:
        lines.append(
            "Row `learned`: embeddings of the corpus from tables of that encoder; scores are dot products rounded to "
            "float32 once."
        )
    lines += interval_lines(settings.resamples, settings.level, settings.seed)
    return lines + encoder_lines(context)


def _picture(study: RecallStudy, settings: RecallSettings, context: ReportContext) -> dict[str, Any]:
    main = settings.ks[0]
    averaged = {} if study.average is None else {"mean of groups": study.average}
    groups = {"all": study.overall, **averaged, **dict(list(study.groups.items())[:_PANELS])}
    panels = [
        BarPanel(f"{name} ({group.pairs:,} pairs)", tuple(row.recall[main] for row in group.rows.values()))
        for name, group in groups.items()
    ]
    level = f", {settings.level:.0%} intervals over queries" if settings.resamples else ""
    return {
        "names": list(study.overall.rows),
        "panels": panels,
        "title": f"{context.dataset}: {study.entity_type}s, {pairs_name(settings)}, {study.corpus:,} entities",
        "label": f"Recall@{main} in %{level}",
        "highlight": REFERENCE,
    }


def write_relevance(
    folder: Path, study: RelevanceStudy, settings: RelevanceSettings, dataset: str, run: str, overwrite: bool = True
) -> list[Path]:
    """Write `relevance.json`, `relevance.md` and `relevance.png`."""
    main = settings.measures[0]
    queries = len(study.figures[study.reference].queries)
    panels = [BarPanel(f"all ({queries:,} queries)", tuple(means[main] for means in study.intervals.values()))]
    for name, (count, means) in list(study.groups.items())[:_PANELS]:
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
