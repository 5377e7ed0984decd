"""The comparison of rankers as `comparison.json`, `comparison.md` and `comparison.png`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evaluation.plots import BarPanel
from evaluation.ranking_comparison import (
    NO_EMBEDDINGS,
    TOLD_NEW,
    CompareSettings,
    GroupFigures,
    RankingComparison,
    StageComparison,
)
from evaluation.ranking_stages import COMPARED_STAGES, LOWER_IS_BETTER, NORMALISED_ENTROPY, WEIGHTED_RELEVANCE
from evaluation.reports import write_folder
from evaluation.seen_pairs import what_is_known
from evaluation.tables import difference_cell, interval_cell, json_interval, markdown_table, text_table

__all__ = ["comparison_json", "comparison_markdown", "comparison_rows", "headline", "new_lines", "write_comparison"]

_UNITS = {WEIGHTED_RELEVANCE: (3, 1.0), NORMALISED_ENTROPY: (4, 1.0)}  # decimals and scale; others are in percent


def write_comparison(
    folder: Path,
    comparison: RankingComparison,
    settings: CompareSettings,
    context: dict[str, str | None],
    overwrite: bool = True,
) -> list[Path]:
    """Write the three files, whole or not at all; the paths."""
    found = comparison_json(comparison, settings, context)
    texts = {
        "comparison.json": json.dumps(found, ensure_ascii=False, indent=2) + "\n",
        "comparison.md": comparison_markdown(comparison, settings, context),
    }
    arms = list(comparison.arms)
    panels = [
        BarPanel(
            f"{stage.stage}: {headline(stage)}",
            tuple(stage.overall.figures[headline(stage)][arm] for arm in arms),
        )
        for stage in comparison.stages
    ]
    picture = {
        "names": [_shown(arm) for arm in arms],
        "panels": panels,
        "title": "The same ranker with other embedding features",
        "label": f"percent, with {settings.level:.0%} bootstrap intervals over queries",
        "highlight": next((_shown(arm) for arm in arms if arm in comparison.fingerprints), None),
    }
    return write_folder(folder, texts, [("comparison.png", picture)], overwrite)


def headline(stage: StageComparison) -> str:
    """The figure that stands for a stage."""
    return next(iter(stage.overall.figures))


def comparison_json(
    comparison: RankingComparison, settings: CompareSettings, context: dict[str, str | None]
) -> dict[str, Any]:
    """All figures as plain dicts; intervals are `{"value", "low", "high"}`."""
    return {
        "context": context,
        "settings": asdict(settings),
        "encoders": comparison.fingerprints,
        "arms": {arm: list(columns) for arm, columns in comparison.arms.items()},
        "shared_features": list(comparison.shared),
        "skipped": comparison.skipped,
        "stages": {
            stage.stage: {
                "description": COMPARED_STAGES[stage.stage].description,
                "train_parts": list(stage.train_parts),
                "train_rows": stage.train_rows,
                "test_rows": stage.test_rows,
                "overall": _group_json(stage.overall),
                "groups": {
                    by: {name: _group_json(group) for name, group in some.items()} for by, some in stage.groups.items()
                },
                "importances": stage.importances,
                "trained_on": None if stage.knowledge is None else stage.knowledge.counts,
            }
            for stage in comparison.stages
        },
    }


def _group_json(group: GroupFigures) -> dict[str, Any]:
    return {
        "rows": group.rows,
        "queries": group.queries,
        "figures": {
            figure: {
                arm: {
                    **(json_interval(interval) or {}),
                    "less": {
                        other: json_interval(difference) for other, difference in group.differences[figure][arm].items()
                    },
                }
                for arm, interval in arms.items()
            }
            for figure, arms in group.figures.items()
        },
    }


def comparison_markdown(
    comparison: RankingComparison, settings: CompareSettings, context: dict[str, str | None]
) -> str:
    """The whole comparison for reading: each stage overall, arms against each other, and by group."""
    lines = [
        "# Rankers compared",
        "",
        f"Dataset {context.get('dataset')}. The same ranker with the same {len(comparison.shared)} features of text, "
        "counts and freshness, measured on the test part of the split. What differs is the embedding features:",
        "",
        markdown_table(
            ("arm", "columns", "encoder"),
            [
                (
                    _shown(arm),
                    ", ".join(columns) or "none",
                    comparison.fingerprints.get(arm, _origin(arm, context))[:12],
                )
                for arm, columns in comparison.arms.items()
            ],
        ),
        "",
        f"Intervals hold {settings.level:.0%} of {settings.resamples:,} resamples of the queries. Figures are in "
        "percent, but for the weighted relevance, which is in grades, and the normalised entropy, of which less is "
        "better. A difference stands in bold where its interval leaves zero out.",
    ]
    for name, why in comparison.skipped.items():
        lines += ["", f"Stage {name} was left out: {why}."]
    for stage in comparison.stages:
        lines += ["", f"## {stage.stage}: {COMPARED_STAGES[stage.stage].description}", ""]
        lines += [
            f"Learnt from {stage.train_rows:,} rows ({', '.join(stage.train_parts)}), measured on {stage.test_rows:,} "
            f"of {stage.overall.queries:,} queries.",
            "",
            markdown_table(*_stage_table(stage, settings)),
            "",
            what_is_known(stage.knowledge),
        ]
        arms = list(comparison.arms)
        if len(arms) > 2:
            figure = headline(stage)
            rows = [(_shown(arm), *(_difference(stage.overall, figure, arm, other) for other in arms)) for arm in arms]
            lines += ["", f"{figure}, each row less each column:", ""]
            lines.append(markdown_table(("", *(_shown(arm) for arm in arms)), rows))
        for by, groups in stage.groups.items():
            figure = headline(stage)
            lines += ["", f"{figure} by {by}, and the difference from {_shown(settings.reference)}:", ""]
            columns = ("", "queries", "rows", *(_shown(arm) for arm in arms))
            lines.append(
                markdown_table(
                    columns,
                    [
                        (name, group.queries, group.rows, *_group_cells(group, figure, arms, settings))
                        for name, group in groups.items()
                    ],
                )
            )
    return "\n".join(lines) + "\n"


def comparison_rows(comparison: RankingComparison, settings: CompareSettings) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the short table that a terminal shows."""
    rows = []
    for stage in comparison.stages:
        columns, of_stage = _stage_table(stage, settings)
        rows += [[stage.stage, *row] for row in of_stage]
    return ["stage", *columns], rows


def new_lines(comparison: RankingComparison, settings: CompareSettings) -> list[str]:
    """For a terminal: what the encoders knew of the test rows, and each stage's headline over what was new to them."""
    known = dict.fromkeys(what_is_known(stage.knowledge) for stage in comparison.stages)
    arms = list(comparison.arms)
    rows = [
        (
            *(stage.stage, headline(stage), name, f"{group.rows:,}", f"{group.queries:,}"),
            *_group_cells(group, headline(stage), arms, settings),
        )
        for stage in comparison.stages
        for name, group in stage.groups.get(TOLD_NEW, {}).items()
    ]
    if not rows:
        return list(known)
    columns = ("stage", "figure", "of", "rows", "queries", *(_shown(arm) for arm in arms))
    return [*known, text_table(columns, rows)]


def _stage_table(stage: StageComparison, settings: CompareSettings) -> tuple[list[str], list[list[str]]]:
    columns = ["figure", "arm", "value", f"less {_shown(settings.reference)}"]
    rows = []
    for figure, arms in stage.overall.figures.items():
        decimals, scale = _UNITS.get(figure, (1, 100.0))
        for arm, interval in arms.items():
            cells = [figure + (" (less is better)" if figure in LOWER_IS_BETTER else ""), _shown(arm)]
            cells += [interval_cell(interval, decimals, scale)]
            rows.append([*cells, _difference(stage.overall, figure, arm, settings.reference)])
    return columns, rows


def _difference(group: GroupFigures, figure: str, arm: str, other: str) -> str:
    difference = group.difference(figure, arm, other)
    decimals, scale = _UNITS.get(figure, (1, 100.0))
    cell = difference_cell(difference, decimals, scale)
    return f"**{cell}**" if difference is not None and difference.excludes_zero else cell


def _group_cells(group: GroupFigures, figure: str, arms: Sequence[str], settings: CompareSettings) -> list[str]:
    decimals, scale = _UNITS.get(figure, (1, 100.0))
    cells = []
    for arm in arms:
        interval = group.figures[figure][arm]
        value = f"{interval.value * scale:.{decimals}f}" if interval.value == interval.value else "–"
        shown = "" if arm == settings.reference else f" ({_difference(group, figure, arm, settings.reference)})"
        cells.append(value + shown)
    return cells


def _origin(arm: str, context: dict[str, str | None]) -> str:
    return "" if arm == NO_EMBEDDINGS else context.get("pretrained") or ""


def _shown(arm: str) -> str:
    return "no embeddings" if arm == NO_EMBEDDINGS else arm
