"""What a recall study writes and prints: figures of all pairs, and of new ones with training positives left out."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evaluation.groups import SEEN
from evaluation.plots import BarPanel
from evaluation.recall_figures import GroupResult
from evaluation.recall_settings import REFERENCE, RecallSettings
from evaluation.recall_study import LeftOut, RecallStudy
from evaluation.reports import PANELS, ReportContext, encoder_lines, interval_lines, write_folder
from evaluation.run_rows import RUN_ROW
from evaluation.seen_pairs import NEW_PAIRS, what_is_known
from evaluation.study_rows import ROWS
from evaluation.tables import difference_cell, interval_cell, json_interval, markdown_table

__all__ = ["measured_parts", "pairs_name", "recall_json", "recall_markdown", "recall_rows", "write_recall"]

WITHOUT, AMONG_ALL = "without training positives", "all"
"""What new pairs are ranked among: the corpus less what the query led to in training, or all of it."""

NEW_PAIRS_TOLD = (
    "Compare systems on new pairs in the corpus without the query's training positives, which is the same for every "
    "row. Among all, a new pair competes with what its query led to before: a row that remembers these better finds "
    "new ones later."
)


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
                "without_training_positives": None if study.left_out is None else _left_out_json(study.left_out),
                "hybrids": study.hybrids,
            }
            | ({} if study.positives is None else {"positives": study.positives})
            | ({} if study.average is None else {"average_of_groups": _group_json(study.average)})
            for study in studies
        ],
    }


def _left_out_json(left: LeftOut) -> dict[str, Any]:
    figures = left.figures
    return {
        "told_by": list(left.positives.told_by),
        "left_out": len(left.positives.entities.candidates),
        "overall": _group_json(figures.overall),
        "groups": {name: _group_json(group) for name, group in figures.groups.items()},
        "new": {name: _group_json(group) for name, group in figures.new.items()},
    } | ({} if figures.average is None else {"average_of_groups": _group_json(figures.average)})


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


def recall_rows(group: GroupResult, settings: RecallSettings) -> tuple[list[str], list[list[str]]]:
    """Column names and cells of a table of all rows on one group of pairs."""
    references = list(next(iter(group.rows.values())).differences) if len(group.rows) > 1 else []
    columns = ["row", *(f"Recall@{k} %" for k in settings.ks), _mrr(settings)]
    columns += [f"Recall@{settings.ks[0]} less {other}" for other in references]
    cells = []
    for name, row in group.rows.items():
        line = [name, *(interval_cell(row.recall[k]) for k in settings.ks), interval_cell(row.mean_reciprocal_rank)]
        cells.append(line + [difference_cell(row.differences[other]) for other in references])
    return columns, cells


def measured_parts(
    study: RecallStudy,
    settings: RecallSettings,
    encoder: str | None,
    table: Callable[[Sequence[str], Sequence[Sequence[object]]], str],
    heading: str = "",
) -> list[str]:
    """The tables of a study but for its groups, and what they are of; `table` sets columns and cells."""
    parts = [table(*recall_rows(study.overall, settings))]
    if encoder is not None:
        parts.append(what_is_known(study.knowledge, encoder))
    if study.left_out is not None:
        parts.append(study.left_out.told)
    headline = _new_pairs_headline(study, settings)
    if headline is not None:
        parts += [f"{heading}{headline[0]}", table(*recall_rows(headline[1], settings)), NEW_PAIRS_TOLD]
    columns, cells = _new_recall_rows(study, settings)
    return [*parts, table(columns, cells)] if cells else parts


def _new_pairs_headline(study: RecallStudy, settings: RecallSettings) -> tuple[str, GroupResult] | None:
    """The figures of new pairs without the query's training positives, and what they are of; None where unknown.

    New pairs are those by the encoder's record, or those by the log where the groups are made by it.
    """
    if study.left_out is None:
        return None
    figures = study.left_out.figures
    groups = figures.new or (figures.groups if settings.by == SEEN else {})
    if NEW_PAIRS not in groups:
        return None
    group = groups[NEW_PAIRS]
    by = "" if figures.new else " by the log"
    told = f"{group.pairs:,} pairs of {group.queries:,} queries"
    return f"New pairs{by}, without the query's training positives in the corpus: {told}", group


def _new_recall_rows(study: RecallStudy, settings: RecallSettings) -> tuple[list[str], list[list[str]]]:
    """Column names and cells of the table of new pairs and queries, without training positives and among all.

    No cells where nobody knows which pairs are new.
    """
    columns = ["of", "ranked among", "pairs", "queries"]
    columns += [f"{name} Recall@{settings.ks[0]} %" for name in study.overall.rows]
    by_log = {f"{name}, by the log": name for name in study.groups} if settings.by == SEEN else {}
    corpora: list[tuple[str, dict[str, GroupResult]]] = []
    if study.left_out is not None:
        left = study.left_out.figures
        of_log = {shown: left.groups[name] for shown, name in by_log.items()}
        corpora.append((WITHOUT, {**left.new, **of_log, "all pairs": left.overall}))
    of_log = {shown: study.groups[name] for shown, name in by_log.items()}
    corpora.append((AMONG_ALL, {**study.new, **of_log, "all pairs": study.overall}))
    if not study.new and not by_log:
        return columns, []
    cells = [
        [
            *(name, among, f"{groups[name].pairs:,}", f"{groups[name].queries:,}"),
            *(interval_cell(row.recall[settings.ks[0]]) for row in groups[name].rows.values()),
        ]
        for name in corpora[0][1]
        for among, groups in corpora
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
        parts += measured_parts(study, settings, context.encoder, markdown_table, heading="### ")
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
    lines = [f"- `{name}`: {text}" for name in shown for text in _what_it_is(name, studies)]
    parts.append("## Rows\n\n" + "\n".join(lines))
    parts.append("## How it was measured\n\n" + "\n".join(f"- {line}" for line in _method(settings, context)))
    return "\n\n".join(parts) + "\n"


def _what_it_is(name: str, studies: Sequence[RecallStudy]) -> list[str]:
    """What a row is; of a hybrid for each entity type, which may have other weights."""
    fused = {study.entity_type: study.hybrids[name] for study in studies if name in study.hybrids}
    if len(fused) > 1:
        return [f"of type {entity_type}, {told}" for entity_type, told in fused.items()]
    return [*fused.values()] or [ROWS.get(name, RUN_ROW)]


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
            "New pairs by the log are those whose query and entity stand together in no row of its training part."
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
    headline = _new_pairs_headline(study, settings)
    new = {} if headline is None else {f"new pairs, {WITHOUT}": headline[1]}
    groups = {"all": study.overall, **new, **averaged, **dict(list(study.groups.items())[:PANELS])}
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
