"""What the paper's tables compare: each model a declared variation of one configuration (sections 4.3.1 to 4.3.4)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from omnifeat.errors import SettingError
from omnifeat.models.config import TEXT_FIELDS, EncoderConfig
from omnifeat.models.overrides import with_overrides
from omnifeat.training.settings import TrainSettings

__all__ = ["BASE", "TABLES", "VARIATIONS", "Variation", "text_read", "variations_of"]

BASE = "omnisearchsage"


@dataclass(frozen=True, kw_only=True)
class Variation:
    """A model of a study.

    Attributes
    ----------
    name
        As commands and folders name it.
    label
        As tables name it.
    what
        A sentence on what is other than in the base.
    model
        Changes of the model's settings, as `omnifeat train --set` takes them.
    training
        Changes of the training's settings.
    """

    name: str
    label: str
    what: str
    model: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, config: EncoderConfig, settings: TrainSettings) -> tuple[EncoderConfig, TrainSettings]:
        """The settings of this model, from those of the base."""
        return with_overrides(config, self.model), replace(settings, **self.training)

    def changes(self) -> dict[str, str]:
        """Setting -> value, for a report."""
        model = dict(assignment.split("=", 1) for assignment in self.model)
        return model | {name: json.dumps(value) for name, value in self.training.items()}


def _fields(*left_out: str) -> str:
    return f"entity.text_fields={json.dumps([name for name in TEXT_FIELDS if name not in left_out])}"


_EXISTING = ("*/pinsage", "*/itemsage")
_LEARNED = ("*/entity", "*/query")

VARIATIONS: dict[str, Variation] = {
    variation.name: variation
    for variation in (
        Variation(name=BASE, label="OmniSearchSage", what="The base: all encoders, all tasks, all text."),
        Variation(
            name="searchsage", label="SearchSage",
            what="The query encoder alone, trained against fixed PinSage and ItemSage, without query-query pairs "
            "(section 4.3.1).",
            training={"tasks": _EXISTING},
        ),
        Variation(
            name="native-text", label="No captions",
            what="The entity encoder reads continuous features and native text: no captions, board titles or engaged "
            "queries (Table 3).",
            model=(_fields("caption", "board_titles", "engaged_queries"),),
        ),
        Variation(
            name="captions", label="With captions",
            what="The entity encoder reads continuous features, native text and captions: no board titles or engaged "
            "queries (Tables 3 and 4).",
            model=(_fields("board_titles", "engaged_queries"),),
        ),
        Variation(
            name="continuous", label="Continuous features only",
            what="The entity encoder reads no text (Table 4).",
            model=("entity.text_fields=[]",),
        ),
        Variation(
            name="board-titles", label="Adding board titles",
            what="The entity encoder reads everything but engaged queries (Table 4).",
            model=(_fields("engaged_queries"),),
        ),
        Variation(
            name="pin-only", label="Pin only", what="Trained on the pairs of pins alone (Table 5).",
            training={"tasks": ("pins/*", "pins_offsite/*")},
        ),
        Variation(
            name="product-only", label="Product only", what="Trained on the pairs of products alone (Table 5).",
            training={"tasks": ("products/*", "products_offsite/*")},
        ),
        Variation(
            name="query-only", label="Query only", what="Trained on query-query pairs alone (Table 5).",
            training={"tasks": ("queries/*",)},
        ),
        Variation(
            name="no-compatibility", label="Without compatibility encoders",
            what="Trained without the tasks of PinSage and ItemSage, which stay inputs of the entity encoder (section "
            "4.3.4).",
            training={"tasks": _LEARNED},
        ),
        Variation(
            name="matryoshka", label="With Matryoshka prefixes",
            what="Prefixes of half and a quarter of the width are trained too.",
        ),
        Variation(
            name="no-logq", label="Without logQ", what="No correction by frequency (equations 4 and 5).",
            training={"frequency": "none"},
        ),
        Variation(
            name="no-random-negatives", label="Without random negatives", what="In-batch negatives alone.",
            training={"random_negatives": 0},
        ),
        Variation(
            name="one-hash", label="One hash", what="One hash function instead of two in the embedding of n-grams.",
            model=("entity.hashes=1",),
        ),
    )
}  # fmt: skip
"""Name -> variation. What depends on the data or the width is filled in by `variations_of`."""

TABLES: dict[str, tuple[str, ...]] = {
    "2": ("searchsage", BASE),
    "3": ("native-text", "captions"),
    "4": ("continuous", "captions", "board-titles", BASE),
    "5": ("pin-only", "product-only", "query-only", BASE),
    "6": ("searchsage", "no-compatibility", BASE),
    "matryoshka": ("matryoshka", BASE),
    "logq": ("no-logq", BASE),
    "negatives": ("no-random-negatives", BASE),
    "hashes": ("one-hash", BASE),
}
"""Table -> the variations that it needs: the paper's by their numbers, and tables beyond the paper."""


def variations_of(
    tables: Sequence[str],
    config: EncoderConfig,
    tasks: Sequence[str],
    fields: Collection[str] = TEXT_FIELDS,
    vectors: bool = True,
) -> list[Variation]:
    """The variations that tables need, each once, the base first; with what depends on the data filled in.

    One that would read nothing, or the very columns that another one reads, is left out: a dataset without captions and
    board titles has no model to tell their worth.

    Parameters
    ----------
    tables
        Keys of `TABLES`.
    config
        Of the base.
    tasks
        Names of the tasks that the dataset has. A variation that chooses tasks keeps those patterns that name one, and
        one that none of its patterns names is left out: a dataset without products has no product-only model.

    fields, vectors
        Text columns that entities have, and whether they have vectors that the entity encoder reads.

    Raises
    ------
    SettingError
        There is no such table.
    """
    for key in tables:
        if key not in TABLES:
            raise SettingError(f"There is no table '{key}'; choose from {', '.join(TABLES)}.")
    wanted = {name for key in tables for name in TABLES[key]}
    chosen = [_fitted(VARIATIONS[name], config, tasks) for name in VARIATIONS if name in wanted]
    found: list[Variation] = []
    read: set[tuple[str, ...]] = {text_read(VARIATIONS[BASE], config, fields)}
    # where two read the same, the one of more tables stays
    for variation in sorted((one for one in chosen if one is not None), key=lambda one: one.name == "native-text"):
        if any(change.startswith("entity.text_fields") for change in variation.model):
            reads = text_read(variation, config, fields)
            if reads in read or (not reads and not vectors):
                continue
            read.add(reads)
        found.append(variation)
    return sorted(found, key=lambda one: list(VARIATIONS).index(one.name))


def text_read(variation: Variation, config: EncoderConfig, fields: Collection[str]) -> tuple[str, ...]:
    """The text columns that a variation reads, of those that the data have.

    Parameters
    ----------
    config
        Of the base.
    fields
        Text columns that entities have.
    """
    changed = with_overrides(config, variation.model)
    return tuple(name for name in changed.entity.text_fields if name in fields)


def _fitted(variation: Variation, config: EncoderConfig, tasks: Sequence[str]) -> Variation | None:
    """The variation on this data; None if it would have no task."""
    if variation.name == "matryoshka":
        prefixes = dict.fromkeys((config.dim // 4, config.dim // 2), 0.5)
        return replace(variation, model=(f"matryoshka={json.dumps(prefixes)}",))
    patterns = variation.training.get("tasks")
    if patterns is None:
        return variation
    kept = tuple(pattern for pattern in patterns if any(fnmatchcase(task, pattern) for task in tasks))
    return replace(variation, training={**variation.training, "tasks": kept}) if kept else None
