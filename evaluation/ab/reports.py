"""What a simulated A/B test writes: figures as JSON, a report, and a picture of the gains."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.ab.arms import CONTROL
from evaluation.ab.settings import FULFILLING, PAPER, PLACES, QUALITY, AbSettings
from evaluation.ab.study import AA_MOOD, AA_SAME, AbResult
from evaluation.bootstrap import Interval
from evaluation.tables import difference_cell, interval_cell, json_interval, markdown_table
from omnifeat.data.files import replace_when_whole

__all__ = ["FIGURES", "ab_json", "ab_markdown", "ab_rows", "write_ab"]

FIGURES = {
    "organic": {
        "fulfilment": "search fulfilment rate",
        "relevance": "relevance of the first pins",
        "expected_fulfilment": "expected fulfilment rate",
        "engaged": "searches with any action",
    },
    "ads": {
        "gctr": "gCTR",
        "relevance": "relevance of shown ads",
        "expected_gctr": "expected gCTR",
        "shown": "ads shown a search",
        "good_clicks": "good clicks a search",
    },
}
"""Kind -> figure -> as the report names it; those of the paper's table first."""

_MAIN = {"organic": ("fulfilment", "relevance"), "ads": ("gctr", "relevance")}
_SHARES = ("fulfilment", "relevance", "expected_fulfilment", "engaged", "gctr", "expected_gctr")
_TITLES = {"organic": "Organic search (Table 7)", "ads": "Ads in search (Table 8)"}


def _label(kind: str, arm: str) -> str:
    return PLACES[kind].get(arm, arm)


def ab_json(result: AbResult, settings: AbSettings, context: Mapping[str, str]) -> dict[str, Any]:
    """All figures as plain dicts; intervals are `{"value", "low", "high"}`, gains are shares of the control's value."""
    return {
        "context": dict(context),
        "settings": asdict(settings),
        "sessions": result.sessions,
        "queries": result.queries,
        "candidates": result.candidates,
        "advertised": result.advertised,
        "arms": {
            arm: {
                figure: {
                    "value": json_interval(one.value),
                    "difference": json_interval(one.difference),
                    "gain": json_interval(one.gain),
                    "paper_gain": PAPER[settings.kind].get(arm, {}).get(figure),
                }
                for figure, one in figures.items()
            }
            for arm, figures in result.arms.items()
        },
        "null_tests": {
            "tests": len(result.nulls.differences),
            "excluding_zero": result.nulls.excluding_zero,
            "differences": [json_interval(one) for one in result.nulls.differences],
        },
        "interleaved": {
            arm: {
                "wins": json_interval(one.wins),
                "credit": json_interval(one.credit),
                "decided": one.decided,
                "sessions": one.sessions,
            }
            for arm, one in result.interleaved.items()
        },
        "counterfactual": {
            "exponent": result.exponent,
            "requests": result.requests,
            "orders": {
                name: {
                    "truth": one.truth,
                    "estimates": {key: json_interval(interval) for key, interval in one.estimates.items()},
                }
                for name, one in result.counterfactual.items()
            },
        },
        "latency_ms": {stage: dict(values) for stage, values in result.latency.items()},
        "traces": list(result.traces),
    }


def ab_rows(result: AbResult, settings: AbSettings) -> tuple[list[str], list[list[str]]]:
    """Column names and cells of the table beside the paper's: gains in percent of the control."""
    kind = settings.kind
    columns = ["replaced"]
    for figure in _MAIN[kind]:
        columns += [f"{FIGURES[kind][figure]}, gain %", "paper %"]
    cells = []
    for arm, figures in result.arms.items():
        if arm == CONTROL:
            continue
        line = [_label(kind, arm)]
        for figure in _MAIN[kind]:
            paper = PAPER[kind].get(arm, {}).get(figure)
            line += [difference_cell(figures[figure].gain, 2), "–" if paper is None else f"{paper * 100:+.2f}"]
        cells.append(line)
    return columns, cells


def _value_rows(result: AbResult, settings: AbSettings) -> tuple[list[str], list[list[str]]]:
    kind = settings.kind
    cells = []
    for arm, figures in result.arms.items():
        line = [_label(kind, arm)]
        for figure in FIGURES[kind]:
            share = figure in _SHARES
            line.append(interval_cell(figures[figure].value, 2 if share else 3, 100.0 if share else 1.0))
        cells.append(line)
    names = [f"{name}{', %' if figure in _SHARES else ''}" for figure, name in FIGURES[kind].items()]
    return ["arm", *names], cells


def _gain_rows(result: AbResult, settings: AbSettings) -> tuple[list[str], list[list[str]]]:
    kind = settings.kind
    others = [figure for figure in FIGURES[kind] if figure not in _MAIN[kind]]
    cells = [
        [_label(kind, arm), *(difference_cell(figures[figure].gain, 2) for figure in others)]
        for arm, figures in result.arms.items()
        if arm != CONTROL
    ]
    return ["replaced", *(f"{FIGURES[kind][figure]}, gain %" for figure in others)], cells


def ab_markdown(result: AbResult, settings: AbSettings, context: Mapping[str, str]) -> str:
    """The report: the table beside the paper's, all figures, the other judges, and how it was done."""
    kind = settings.kind
    parts = [
        f"# {_TITLES[kind]}: simulated A/B on {context['dataset']}",
        f"`{context['encoder']}` in the place of `{context['reference']}`, one place at a time. Gains are percent of "
        "the control, which has the reference everywhere; those of the paper are of its own people and products.",
        markdown_table(*ab_rows(result, settings)),
        _null_text(result, settings),
        "## All figures",
        markdown_table(*_value_rows(result, settings)),
        markdown_table(*_gain_rows(result, settings)),
    ]
    if result.interleaved:
        rows = [
            [_label(kind, arm), interval_cell(one.wins), difference_cell(one.credit, 2), f"{one.decided:,}"]
            for arm, one in result.interleaved.items()
        ]
        parts += [
            "## Interleaving",
            "Team-draft of each arm with the control on one page. `won` is the share of decided searches in which "
            "more fulfilling actions went to what the arm had put there; `credit` is the arm's share of these actions "
            "less one half. Half means a draw. Two rankings that share most of their results share most of the credit "
            "by chance, so that these figures say who is better, not by how much.",
            markdown_table(["arm", "won, %", "credit, points", "decided"], rows),
        ]
    if result.counterfactual:
        parts += _counterfactual_text(result)
    parts += ["## How it was done", "\n".join(f"- {line}" for line in _method(result, settings, context))]
    latency = [[stage, f"{one['p50']:.1f}", f"{one['p90']:.1f}"] for stage, one in result.latency.items()]
    parts += [
        "## The control's stack",
        f"Milliseconds of a query, one by one; {result.candidates:.0f} candidates of a query on average.",
        markdown_table(["stage", "p50", "p90"], latency),
        "How the first results of the most frequent query got their places:",
        "\n".join(f"- {line}" for line in result.traces),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _null_text(result: AbResult, settings: AbSettings) -> str:
    main = _MAIN[settings.kind][0]
    same, other = result.arms[AA_SAME][main], result.arms[AA_MOOD][main]
    nothing = all(one.difference.value == 0 for one in result.arms[AA_SAME].values())
    told = (
        "finds no difference in any figure, as it must" if nothing
        else "FINDS A DIFFERENCE: something in the stack is not repeatable, and no figure here can be trusted"
    )  # fmt: skip
    covers = "leaves zero inside" if not other.difference.excludes_zero else "LEAVES ZERO OUT"
    return (
        f"A/A: the control run anew with the same random numbers {told} ({same.difference.value * 100:+.2f} points). "
        "The control with other numbers of the same searches differs by "
        f"{difference_cell(other.difference, 2)} points, which {covers}.{_nulls_text(result, settings)}"
    )


def _nulls_text(result: AbResult, settings: AbSettings) -> str:
    tests = len(result.nulls.differences)
    if not tests or not settings.resamples:
        return ""
    widest = max(abs(one.value) for one in result.nulls.differences)
    return (
        f" Of {tests} more A/A tests, each with other numbers on both sides, {result.nulls.excluding_zero} leave zero "
        f"out; intervals of {settings.level:.0%} let {tests * (1 - settings.level):.1f} of them do so by luck. The "
        f"largest difference among them is {widest * 100:.2f} points."
    )


def _counterfactual_text(result: AbResult) -> list[str]:
    names = list(next(iter(result.counterfactual.values())).estimates)
    rows = [
        [name, f"{one.truth:.4f}", *(interval_cell(one.estimates[key], 4, 1.0) for key in names)]
        for name, one in result.counterfactual.items()
    ]
    return [
        "## What the log alone says",
        f"Fulfilling actions a request, if the pages of {result.requests:,} logged requests of the test part had the "
        "same results in another order: `logged` as they were, `reference` and `encoder` by the L2 and relevance "
        "models of each. The truth is by the world's law; the estimates see the log alone, with an exponent of the "
        f"looks of {result.exponent:.3f} that the log of the training part tells. `naive` forgets that what stood high "
        "was looked at more; weights are clipped at 2 in the last two.",
        markdown_table(["order", "truth", *names], rows),
    ]


def _method(result: AbResult, settings: AbSettings, context: Mapping[str, str]) -> list[str]:
    lines = [
        f"{result.sessions:,} searches in the days of the test part, {result.queries:,} distinct queries, drawn as the "
        "world's own are; every arm has the same searches and common random numbers. No model reads the world's truth.",
        f"The reference's entities are {settings.reference_entities} embeddings"
        f"{' (PinSage of pins, ItemSage of products)' if settings.reference_entities == 'existing' else ''}; ours are "
        "those of its entity encoder. Each encoder gives the stack one feature, `cosine`; text and counts are shared.",
        f"Models learn from the impressions of the {settings.rankers_from} part and from the judgments; each arm's are "
        "trained with the features of the encoder that stands in its place.",
    ]
    if settings.kind == "organic":
        lines += [
            f"Token-based and embedding retrieval ({settings.index}) find {settings.retrieved_pins} pins and "
            f"{settings.retrieved_products} products each; L1 keeps {settings.l1_keep} of each type; L2 orders by its "
            f"score and {settings.relevance_weight:g} times the expected grade; every "
            f"{settings.products_every}. place is a product's; a page has {settings.page}.",
            f"A search is fulfilled by a {', '.join(FULFILLING)}.",
            f"Relevance is the mean grade (0 to 1) of the first {settings.graded} pins of a query's list by three of "
            "nine raters of the world; a query weighs as its searches, which makes it the average over segments of "
            "queries weighted by their share of the searches.",
        ]
    else:
        lines += [
            f"{result.advertised:,} products are advertised ({settings.ad_share:.0%}, by a hash of the id); "
            f"token-based and embedding retrieval ({settings.index}) find {settings.retrieved_products} of them each; "
            "ads are ordered by probability of a good click times expected grade, and one below an expected grade of "
            f"{settings.ad_least_grade:g} is not shown. Ads stand at places "
            f"{', '.join(map(str, settings.ad_places))}. There are no bids.",
            f"gCTR is shown ads with a {', '.join(QUALITY)} over shown ads. An arm that shows fewer ads can raise it "
            "by that alone: see good clicks a search.",
        ]
    if settings.resamples:
        lines.append(
            f"Intervals hold {settings.level:.0%} of {settings.resamples:,} bootstrap resamples of the queries (seed "
            f"{settings.seed}), all arms on the same ones. They hold the models fixed: another seed of training would "
            "give other models."
        )
    lines.append("Expected figures are by the world's law, without the luck of the draw.")
    lines.append(
        f"Encoder `{context['encoder']}`, fingerprint `{context['fingerprint']}`; reference `{context['reference']}`, "
        f"fingerprint `{context['reference_fingerprint']}`."
    )
    return lines


def write_ab(
    folder: Path, result: AbResult, settings: AbSettings, context: Mapping[str, str], overwrite: bool = True
) -> list[Path]:
    """Write `ab.json`, `ab.md` and `ab.png`; the folder appears when it is whole."""
    with replace_when_whole(folder, overwrite=overwrite) as partial:
        partial.mkdir(parents=True, exist_ok=True)
        said = json.dumps(ab_json(result, settings, context), ensure_ascii=False, indent=2, allow_nan=False)
        (partial / "ab.json").write_text(said + "\n", encoding="utf-8")
        report = ab_markdown(result, settings, context) + "\n![Gains of each arm over the control](ab.png)\n"
        (partial / "ab.md").write_text(report, encoding="utf-8")
        _draw(partial / "ab.png", result, settings, context["dataset"])
    return [folder / name for name in ("ab.json", "ab.md", "ab.png")]


def _draw(path: Path, result: AbResult, settings: AbSettings, dataset: str) -> None:
    """Gains with their intervals, a panel a figure, the paper's as hollow points."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kind = settings.kind
    arms = [arm for arm in result.arms if arm not in (CONTROL, AA_SAME)]
    figure = Figure(figsize=(10.5, 1.6 + 0.45 * len(arms)), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(_MAIN[kind]), squeeze=False, sharey=True)[0]
    places = np.arange(len(arms))
    for axis, name in zip(axes, _MAIN[kind], strict=True):
        gains: Sequence[Interval] = [result.arms[arm][name].gain for arm in arms]
        axis.axvline(0, color="#9aa5b1", linewidth=0.8)
        for place, arm, gain in zip(places, arms, gains, strict=True):
            axis.plot([gain.low * 100, gain.high * 100], [place, place], color="#1f6feb", linewidth=2)
            axis.plot(gain.value * 100, place, "o", color="#1f6feb", markersize=6, label="here" if place == 0 else None)
            paper = PAPER[kind].get(arm, {}).get(name)
            if paper is not None:
                label = "paper" if place == 0 else None
                axis.plot(paper * 100, place, "D", mfc="none", mec="black", markersize=6, label=label)
        axis.set_title(FIGURES[kind][name], fontsize=10)
        axis.set_xlabel("gain over the control, %", fontsize=9)
        axis.set_yticks(places, [_label(kind, arm) for arm in arms], fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    axes[0].legend(fontsize=8, loc="lower right")
    figure.suptitle(f"{dataset}: {_TITLES[kind]}", fontsize=11)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a dataset may be named in any script
        figure.savefig(path, format="png", metadata={"Software": None})
