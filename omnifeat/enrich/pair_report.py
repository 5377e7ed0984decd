"""The counts of pairs, in the form of Table 1 of the paper, as Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omnifeat.data.splits import SPLITS, HashSplit, TimeSplit
from omnifeat.data.tasks import PAIR_TASKS
from omnifeat.enrich.pair_settings import PairSettings

__all__ = ["PairCounts", "as_json", "left_out_rows", "split_sentence", "table_1", "write_report"]

_PAIR = {"pin": "Query-Pin", "product": "Query-Product", "query": "Query-Query"}
HEADINGS = ("Pair", "Source", "Actions", "Size", "Train", "Development", "Test")


@dataclass(frozen=True)
class PairCounts:
    """What came of the log.

    Attributes
    ----------
    log_rows
        Rows of the log: those written, and all of `left_out`.
    rows_written
        Rows of `engagements`: a pair stands there once for each part and action.
    pairs, before_caps
        Set of pairs -> part -> distinct (query, entity) pairs, those written and those there were before caps and
        samples.
    left_out
        Reason -> rows of the log. "repeated": the pair stands there by another row; "over the cap" and "over the
        number of evaluation pairs" count a pair's rows of one action as one.
    test_pairs_seen_in_training
        Set -> pairs of the test part that the training part of the log has too.
    corpus
        Entity type -> entities in the random sample.
    """

    log_rows: int
    rows_written: int
    pairs: dict[str, dict[str, int]]
    before_caps: dict[str, dict[str, int]]
    left_out: dict[str, int]
    test_pairs_seen_in_training: dict[str, int]
    corpus: dict[str, int]

    def total(self, part: str) -> int:
        """Pairs of all sets in one part."""
        return sum(parts[part] for parts in self.pairs.values())


def table_1(counts: PairCounts, actions: Mapping[str, tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Rows under `HEADINGS`; the size is that of the three parts together."""
    rows = []
    for name, parts in counts.pairs.items():
        source = "Offsite logs" if name.endswith("_offsite") else "Query logs"
        numbers = [sum(parts.values()), *(parts[part] for part in SPLITS)]
        shown = ", ".join(actions[name]).replace("_", " ")
        rows.append((_PAIR[PAIR_TASKS[name][0]], source, shown, *(f"{number:,}" for number in numbers)))
    return rows


def left_out_rows(counts: PairCounts) -> list[tuple[str, str]]:
    """What became of the log's rows, reasons that have none left out; the numbers add up to the log."""
    rows = [("written", f"{counts.rows_written:,}")]
    rows += [(f"left out: {reason}", f"{count:,}") for reason, count in counts.left_out.items() if count]
    return [*rows, ("rows of the log", f"{counts.log_rows:,}")]


def split_sentence(split: HashSplit | TimeSplit) -> str:
    """How the parts are told apart."""
    if isinstance(split, HashSplit):
        return f"Split by a hash of {split.column}: {split.development:g} for development, {split.test:g} for testing."
    days = f"{split.gap_days:g} day{'' if split.gap_days == 1 else 's'}"
    start, end = (f"{moment:%Y-%m-%d %H:%M}" for moment in (split.development_from, split.test_from))
    return f"Split by time: development from {start}, test from {end}, with a gap of {days} before each."


def as_json(split: HashSplit | TimeSplit, settings: PairSettings, counts: PairCounts) -> dict[str, Any]:
    """Everything that the report says, as plain values."""
    return {
        "split": split.model_dump(mode="json"),
        "settings": {**asdict(settings), "actions": {name: list(names) for name, names in settings.actions.items()}},
        **asdict(counts),
    }


def write_report(
    folder: Path, name: str, split: HashSplit | TimeSplit, settings: PairSettings, counts: PairCounts
) -> None:
    """Write `pairs.json` and `pairs.md` into a folder."""
    text = json.dumps(as_json(split, settings, counts), indent=2, ensure_ascii=False)
    (folder / "pairs.json").write_text(text + "\n", encoding="utf-8")
    caps = ", ".join(f"{kind} {cap or 'none'}" for kind, cap in settings.caps.items())
    seen = ", ".join(f"{task} {count:,}" for task, count in counts.test_pairs_seen_in_training.items()) or "none"
    lines = [
        f"# Pairs of {name}", "",
        *_markdown(HEADINGS, table_1(counts, settings.actions)), "",
        f"{split_sentence(split)} Pairs are distinct within a part; the same pair may stand in several.", "",
        f"Most pairs of an entity in a training set: {caps}. Test pairs that the log has before the split too: {seen}.",
        "", "## Rows of the log", "",
        *_markdown(("rows", "number"), left_out_rows(counts)), "",
        "## Random corpus", "",
        *_markdown(("type", "entities"), [(kind, f"{count:,}") for kind, count in counts.corpus.items()]),
    ]  # fmt: skip
    (folder / "pairs.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _markdown(headings: tuple[str, ...], rows: list[Any]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (headings, ("---",) * len(headings), *rows)]
