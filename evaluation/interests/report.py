"""A comparison of interest classifiers as one folder: JSON, Markdown with the table of section 5.4, pictures."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from evaluation.interests.figures import COVERAGES, RECALLS
from evaluation.interests.plots import interval_of, save_plots
from evaluation.interests.systems import OURS_OVER
from evaluation.tables import difference_cell, interval_cell, markdown_table
from omnifeat.data.files import replace_when_whole

__all__ = ["comparison_markdown", "write_comparison"]


def write_comparison(folder: Path, found: dict[str, Any], overwrite: bool = True) -> list[str]:
    """Write `comparison.json`, `comparison.md` and the pictures; the folder appears when it is whole."""
    with replace_when_whole(folder, overwrite=overwrite) as partial:
        partial.mkdir(parents=True, exist_ok=True)
        text = json.dumps(found, ensure_ascii=False, indent=2, default=str)
        (partial / "comparison.json").write_text(text + "\n", encoding="utf-8")
        pictures = save_plots(partial, found)
        (partial / "comparison.md").write_text(comparison_markdown(found, pictures), encoding="utf-8")
    return ["comparison.json", "comparison.md", *pictures]


def comparison_markdown(found: dict[str, Any], pictures: list[str]) -> str:
    """The report: what was compared, the table level by level, and what else was measured."""
    names, reference = list(found["systems"]), found["reference"]
    sizes = found["sizes"]
    about = found.get("about", {})
    parts = [
        "# Classifiers of queries by interest",
        "",
        *[f"- {name}: {value}" for name, value in about.items()],
        f"- queries: {sizes['training']:,} to learn from, {sizes['development']:,} to choose settings by, "
        f"{sizes['test']:,} to measure on",
        f"- interests of the training queries, by level: {', '.join(f'{one:,}' for one in sizes['interests'])}; "
        f"paths end in {sizes['places_where_paths_end']:,} places",
        f"- seed {found['seed']}; 95% intervals from {found['resamples']:,} resamples of the test queries, paired for "
        "gains",
        *[f"- `{name}`: {facts['what']}" for name, facts in found["systems"].items()],
        "",
        "## Precision level by level",
        "",
        "Each classifier answers its surest queries, as many as have an interest at the level. All figures in percent; "
        f"a gain is in points over `{reference}`, the relative gain a share of its precision.",
        "",
        _table(found, "precision_at_coverage_1"),
    ]
    for name in OURS_OVER:
        if name in names and reference != name:
            parts += ["", _verdict(found, name)]
    parts += ["", "## Precision at equal coverage", ""]
    parts.append(
        _grid(found, [f"precision_at_coverage_{one:g}" for one in COVERAGES], [f"{one:.0%}" for one in COVERAGES])
    )
    parts += ["", "## Precision at equal recall", "", "A dash: the recall is not reached.", ""]
    parts.append(_grid(found, [f"precision_at_recall_{one:g}" for one in RECALLS], [f"{one:.0%}" for one in RECALLS]))
    parts += ["", "## Averages and calibration", "", _other(found), "", "## Whole paths", "", _whole(found)]
    parts += [
        "",
        "## Head, tail, and training queries",
        "",
        "Share of queries whose interest is named, all answered.",
        "",
    ]
    parts.append(_groups(found))
    for curve in found["curves"]:
        parts += ["", f"## Learning curve of level {curve['level']}", "", _curve(curve, reference)]
    trials = found["systems"].get("fasttext", {}).get("trials", [])
    if trials:
        rows = [(_settings(trial["settings"]), _precision(trial)) for trial in trials]
        parts += ["", "## Trials of FastText", "", "Mean precision over levels on development queries.", ""]
        parts.append(markdown_table(("settings", "precision"), rows))
    parts += ["", *[f"![{name.removesuffix('.png').replace('_', ' ')}]({name})" for name in pictures], ""]
    return "\n".join(parts)


def _precision(trial: dict[str, Any]) -> str:
    return "diverged" if trial["precision"] is None else f"{100 * trial['precision']:.2f}"


def _table(found: dict[str, Any], figure: str) -> str:
    names, reference = list(found["systems"]), found["reference"]
    others = [name for name in names if name != reference]
    columns = ["level", "interests", "queries", *names]
    columns += [f"{kind} of {name}" for name in others for kind in ("gain", "relative gain")]
    rows = []
    for level in found["levels"]:
        cells = [level["level"], f"{level['interests']:,}", f"{level['queries']:,}"]
        cells += [interval_cell(interval_of(level["systems"][name][figure])) for name in names]
        for name in others:
            gains = level["gains"][name]
            cells += [difference_cell(interval_of(gains[kind])) for kind in (figure, f"relative_{figure}")]
        rows.append(cells)
    mean = next(one for one in found["averages"] if one["coverage"] == 1.0)["systems"]
    cells = ["mean", "", "", *[interval_cell(interval_of(mean[name]["precision"])) for name in names]]
    for name in others:
        cells += [difference_cell(interval_of(mean[name][kind])) for kind in ("gain", "relative_gain")]
    return markdown_table(columns, [*rows, cells])


def _verdict(found: dict[str, Any], name: str) -> str:
    """Whether the gain of one of ours holds, level by level, in words that follow from the intervals."""
    gains = [interval_of(level["gains"][name]["precision_at_coverage_1"]) for level in found["levels"]]
    above = [place for place, gain in enumerate(gains) if gain.low > 0]
    below = [place for place, gain in enumerate(gains) if gain.high < 0]
    values = [gain.value for gain in gains]
    grows = all(later >= earlier for earlier, later in pairwise(values))
    said = [f"`{name}` is above `{found['reference']}`, with an interval that leaves out zero, at {_levels(above)}"]
    said.append(f"below it at {_levels(below)}")
    if len(values) > 1:
        said.append("the gain grows with each level" if grows else "the gain does not grow with each level")
    return "; ".join(said) + "."


def _levels(places: list[int]) -> str:
    return f"level {', '.join(map(str, places))}" if places else "no level"


def _grid(found: dict[str, Any], figures: list[str], heads: list[str]) -> str:
    rows = []
    for level in found["levels"]:
        for name in found["systems"]:
            cells = [interval_cell(interval_of(level["systems"][name][figure])) for figure in figures]
            rows.append([f"{level['level']}: {name}", *cells])
    return markdown_table(["level", *heads], rows)


def _other(found: dict[str, Any]) -> str:
    rows = []
    for level in found["levels"]:
        for name in found["systems"]:
            mine = level["systems"][name]
            cells = [
                _percent(mine[kind][figure]) for kind in ("micro", "macro") for figure in ("precision", "recall", "f1")
            ]
            rows.append([f"{level['level']}: {name}", *cells, interval_cell(interval_of(mine["calibration_error"]))])
    heads = [f"{kind} {figure}" for kind in ("micro", "macro") for figure in ("precision", "recall", "F1")]
    return "Every query is answered.\n\n" + markdown_table(["level", *heads, "calibration error"], rows)


def _whole(found: dict[str, Any]) -> str:
    rows = [
        [name, *[interval_cell(interval_of(mine[kind])) for kind in ("whole_path", "precision", "recall")]]
        for name, mine in found["whole_paths"].items()
    ]
    return markdown_table(["classifier", "whole path right", "hierarchical precision", "hierarchical recall"], rows)


def _groups(found: dict[str, Any]) -> str:
    rows = []
    for level in found["levels"]:
        for group, queries in level["groups"].items():
            cells = [
                interval_cell(interval_of(level["systems"][name][f"accuracy_of_{group}"])) for name in found["systems"]
            ]
            rows.append([f"{level['level']}: {group}", f"{queries:,}", *cells])
    return markdown_table(["level: training queries", "test queries", *found["systems"]], rows)


def _curve(curve: dict[str, Any], reference: str) -> str:
    names = list(curve["points"][0]["precision"])
    others = [name for name in names if name != reference and "gain" in curve["points"][0]]
    rows = []
    for point in curve["points"]:
        cells = [point["examples"], f"{point['queries']:,}"]
        cells += [interval_cell(interval_of(point["precision"][name])) for name in names]
        cells += [difference_cell(interval_of(point["gain"][name])) for name in others]
        rows.append(cells)
    return markdown_table(["examples", "queries", *names, *[f"gain of {name}" for name in others]], rows)


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"
