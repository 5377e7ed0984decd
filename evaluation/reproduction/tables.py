"""The tables of a study, ours beside the paper's (Tables 2 to 6), and tables beyond it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.reproduction.figures import Measured, question_cells
from evaluation.reproduction.paper import PAPER, PAPER_RELATIVE
from evaluation.reproduction.questions import PairGroup, Question
from evaluation.reproduction.results import Cell, Column, Row, Table
from evaluation.reproduction.systems import BASELINES, EXISTING, FUSED, SEARCHSAGE
from evaluation.reproduction.variations import BASE, TABLES, VARIATIONS

__all__ = ["LABELS", "Plan", "build_table", "lacking_text", "plan_of", "without_paper"]

BoolArray = npt.NDArray[np.bool_]

LABELS = {name: variation.label for name, variation in VARIATIONS.items()} | BASELINES
LABELS |= {
    SEARCHSAGE: "SearchSage",
    f"{BASE}{EXISTING}": "OmniSearchSage, existing embeddings",
    f"no-compatibility{EXISTING}": "Without compatibility encoders, existing embeddings",
    "captions": "Title, description and captions",
    "pretrained": "Pretrained encoder, untrained here",
    f"{FUSED}pretrained": "BM25 and the pretrained encoder, by reciprocal rank",
    f"{FUSED}{BASE}": "BM25 and OmniSearchSage, by reciprocal rank",
}
_TITLES = {
    "2": "Table 2: comparison with baselines",
    "3": "Table 3: captions, on pins without title or description",
    "4": "Table 4: what each text adds, on pins",
    "5": "Table 5: one task against all",
    "6": "Table 6: compatibility encoders",
    "matryoshka": "Matryoshka prefixes",
    "logq": "Correction by frequency",
    "negatives": "Random negatives",
    "hashes": "Number of hashes",
}
_CAPTIONS = {
    "2": "Recall@10 of held-out pairs. SearchSage ranks by PinSage and ItemSage and is not trained on query-query "
    "pairs; gains are over it. An entity without such an embedding cannot be found by it. Two systems by reciprocal "
    "rank fusion (k 60, equal weights) are compared with BM25, which is one of them.",
    "3": "Recall@10 of pairs whose pin has no title or no description. Both models read continuous features and native "
    "text, one of them captions too.",
    "4": "Recall@10 of pairs of pins. Each row adds a source of text to the row above, with which it is compared.",
    "5": "Recall@10 of models that were trained on one kind of pair alone, with the same batch and number of steps; "
    "the model of all tasks is compared with each on its own pairs.",
    "6": "Recall@10. Above, the learned entity embeddings of a model that was trained with compatibility encoders and "
    "of one without. Below, queries against existing embeddings: of that model, and of SearchSage, which was trained "
    "for nothing else.",
    "matryoshka": "Recall@10 of a model that trains prefixes of a half and a quarter of the width too, and of the "
    "base, whose prefixes were never trained: at full width, and of the first dimensions alone.",
    "logq": "Recall@10 of a model whose loss is corrected by frequency, and of one whose is not.",
    "negatives": "Recall@10 of a model with random negatives beside those of the batch, and of one without.",
    "hashes": "Recall@10 of a model with two hashes in the embedding of n-grams, and of one with one.",
}


@dataclass(frozen=True)
class Plan:
    """A table: its systems in order, with what each is compared with on which questions, and which questions it has.

    Attributes
    ----------
    compared
        System -> the system that it is compared with, or None.
    questions
        Beginnings of the keys of its questions.
    only
        System -> beginnings of the keys that it is shown on, where it is not shown on all.
    compared_by
        Beginning of a key -> the system that the base is compared with there, before `compared`.
    countries
        Whether it has columns of countries or other groups.
    labels
        System -> how its row is named, where that depends on the data.
    """

    key: str
    compared: Mapping[str, str | None]
    questions: tuple[str, ...] = ("pin/", "product/", "query/")
    only: Mapping[str, tuple[str, ...]] | None = None
    compared_by: Mapping[str, str] | None = None
    countries: bool = False
    labels: Mapping[str, str] | None = None

    @property
    def systems(self) -> list[str]:
        """All systems that are to be measured."""
        return list(self.compared)


def plan_of(
    key: str,
    baselines: Sequence[str],
    trained: Collection[str] = tuple(VARIATIONS),
    dim: int = 256,
    texts: Mapping[str, Sequence[str]] | None = None,
) -> Plan:
    """What a table compares.

    Parameters
    ----------
    key
        Of `TABLES`.
    baselines
        Baselines of Table 2, names of `BASELINES` and `pretrained`.
    trained
        Variations that the data allow: a row of Table 4 is compared with the last one above it that there is.
    dim
        Width of the embeddings, whose half and quarter the table of prefixes shows.
    texts
        Variation -> the text columns that it reads of those that the data have, which name the rows of Table 4.
    """
    if key == "2":
        rows: dict[str, str | None] = dict.fromkeys(baselines, SEARCHSAGE)
        encoders = [name for name in ("pretrained", BASE) if name in (*baselines, BASE)]
        fused = {f"{FUSED}{name}": "bm25" for name in encoders if "bm25" in baselines}
        return Plan(key, {**rows, SEARCHSAGE: None, BASE: SEARCHSAGE, **fused}, countries=True)
    if key == "3":
        return Plan(key, {"native-text": None, "captions": "native-text"}, ("pin/",))
    if key == "4":
        order = [name for name in TABLES["4"] if name in trained]
        labels = None if texts is None else _what_texts_add([(name, texts[name]) for name in order])
        return Plan(key, dict(zip(order, (None, *order), strict=False)), ("pin/",), labels=labels)
    if key == "5":
        own = {"pin-only": ("pin/",), "product-only": ("product/",), "query-only": ("query/",)}
        by = {start: name for name, (start,) in own.items()}
        return Plan(key, {**dict.fromkeys(own), BASE: None}, only=own, compared_by=by)
    if key == "6":
        plan: dict[str, str | None] = {
            "no-compatibility": None, BASE: "no-compatibility", SEARCHSAGE: None, f"{BASE}{EXISTING}": SEARCHSAGE,
        }  # fmt: skip
        only = {SEARCHSAGE: ("pin/", "product/"), f"{BASE}{EXISTING}": ("pin/", "product/")}
        return Plan(key, plan, only=only)
    return _beyond_the_paper(key, dim)


def _what_texts_add(rows: Sequence[tuple[str, Sequence[str]]]) -> dict[str, str]:
    """Labels of the rows of Table 4: what each reads that the row above does not."""
    labels: dict[str, str] = {}
    above: Sequence[str] = ()
    for name, reads in rows:
        added = [_text_name(field) for field in reads if field not in above]
        told = f"{', '.join(added[:-1])} and {added[-1]}" if len(added) > 1 else "".join(added)
        labels[name] = f"{'Adding ' if labels else 'With '}{told}" if told else LABELS[name]
        above = reads
    return labels


def _text_name(column: str) -> str:
    return "captions" if column == "caption" else column.replace("_", " ")


def _beyond_the_paper(key: str, dim: int) -> Plan:
    """An ablation of one setting against the base."""
    other = next(name for name in TABLES[key] if name != BASE)
    if key == "matryoshka":
        compared: dict[str, str | None] = {BASE: None, other: BASE}
        for width in (dim // 2, dim // 4):
            compared |= {f"{BASE}@{width}": None, f"{other}@{width}": f"{BASE}@{width}"}
        return Plan(key, compared)
    return Plan(key, {other: None, BASE: other})


def build_table(plan: Plan, measured: Measured, among: Mapping[str, BoolArray] | None = None) -> Table:
    """Measure a table.

    Parameters
    ----------
    among
        Group -> bool (P,) of the pairs that count; None for all.
    """
    columns: list[Column] = []
    cells: dict[str, dict[str, Cell]] = {name: {} for name in plan.compared}
    notes: list[str] = []
    starts = plan.questions
    if not any(key.startswith(starts) for key in measured.questions.questions):
        starts = ("product/",)  # a catalogue without pins
    for question in measured.questions.questions.values():
        if not question.key.startswith(starts) or (question.key.count("/") > 1 and not plan.countries):
            continue
        asked = question if among is None else question.among(among[question.group])
        if asked is None:
            notes.append(f"No pair is left for {question.heading.lower()} {question.label}.")
            continue
        found = question_cells(measured, asked, _compared(plan, question))
        if not found:
            continue
        columns.append(Column(key=question.key, label=question.label, group=question.heading))
        for name, cell in found.items():
            cells[name][question.key] = _beside_paper(plan.key, name, question.key, cell)
    rows = [Row(key=name, label=_label(plan, name), cells=cells[name]) for name in plan.compared if cells[name]]
    missing = [name for name in plan.compared if not cells[name]]
    if missing:
        notes.append(f"Not measured, as the data do not have what is needed: {', '.join(map(_name, missing))}.")
    return Table(
        key=plan.key, title=_TITLES[plan.key], caption=_CAPTIONS[plan.key], columns=columns, rows=rows, notes=notes
    )


def lacking_text(groups: Mapping[str, PairGroup], pins: pa.Table) -> dict[str, BoolArray]:
    """Group -> bool (P,) of the pairs whose pin has no title or no description; of other groups none.

    Parameters
    ----------
    pins
        `id`, `title` and `description`, of which a column may be missing: then all pins lack it.
    """
    found = {}
    for key, group in groups.items():
        members = np.zeros(len(group.pairs.pair_queries), dtype=bool)
        if group.entity_type == "pin":
            rows = pc.index_in(group.pairs.entity_ids, pins["id"].combine_chunks())
            lacks = np.zeros(len(rows), dtype=bool)
            for column in ("title", "description"):
                if column not in pins.column_names:
                    lacks[:] = True
                    continue
                text = pc.utf8_trim_whitespace(pc.fill_null(pins[column].cast(pa.string()).take(rows), ""))
                lacks |= np.asarray(pc.equal(text, ""))
            members = lacks[group.pairs.pair_positives]
        found[key] = members
    return found


def without_paper(cell: Cell) -> Cell:
    """The same figures where the paper has none to stand beside them."""
    return cell.model_copy(update={"paper": None, "paper_relative": None})


def _compared(plan: Plan, question: Question) -> dict[str, str | None]:
    """The systems that are shown on a question, and what each is compared with."""
    compared = {}
    for name, other in plan.compared.items():
        shown_on = None if plan.only is None else plan.only.get(name)
        if shown_on is not None and not question.key.startswith(shown_on):
            continue
        by = plan.compared_by if name == BASE and plan.compared_by is not None else {}
        compared[name] = next((system for start, system in by.items() if question.key.startswith(start)), other)
    return compared


def _beside_paper(table: str, system: str, question: str, cell: Cell) -> Cell:
    # the paper's tables name SearchSage alone; here it stands for queries against existing embeddings
    name = "searchsage" if system == SEARCHSAGE else system
    return cell.model_copy(
        update={
            "paper": PAPER.get(table, {}).get(name, {}).get(question),
            "paper_relative": PAPER_RELATIVE.get(table, {}).get(name, {}).get(question),
        }
    )


def _label(plan: Plan, system: str) -> str:
    if plan.labels is not None and system in plan.labels:
        return plan.labels[system]
    if plan.key == "3" and system == "captions":
        return "With captions"
    name, _, width = system.partition("@")
    return f"{LABELS[name]}, first {width}" if width else LABELS[system]


def _name(system: str) -> str:
    return LABELS.get(system, system)
