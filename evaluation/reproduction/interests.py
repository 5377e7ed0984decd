"""Section 5.4 in a study: what `omnifeat classify compare` found with the study's encoder, level by level."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from evaluation.interests.systems import OURS, SYSTEMS
from evaluation.reproduction.results import Cell, Column, Difference, Estimate, Row, Section, Table
from omnifeat.data.artefacts import read_bytes
from omnifeat.errors import DataError

__all__ = ["interest_section", "read_comparison"]

_FIGURE = "precision_at_coverage_1"
_FILE = "comparison.json"
_LARGEST = 2**30  # bytes
_PAPER = 0.3  # relative gain over FastText, mean of the levels


def read_comparison(folder: Path) -> dict[str, Any]:
    """What `omnifeat classify compare` wrote to a folder.

    Raises
    ------
    DataError
        There is no comparison in the folder.
    """
    path = folder / _FILE
    if not path.exists():
        raise DataError(f"{folder} holds no {_FILE}: give the folder that `omnifeat classify compare` wrote.")
    content = read_bytes(path, limit=_LARGEST, remedy="make it again")
    try:
        found: dict[str, Any] = json.loads(content)
        interest_section(found, {found["about"]["encoder"]})  # all that is needed is there
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"File {path} is no comparison of classifiers ({error}); make it again.") from None
    return found


def interest_section(found: Mapping[str, Any], fingerprints: Collection[str]) -> Section:
    """The section, from what `read_comparison` gives.

    Parameters
    ----------
    fingerprints
        Of the base's encoders, one a seed.

    Raises
    ------
    DataError
        The comparison is of another encoder.
    """
    encoders = found["about"]["encoder"].split("+")  # side by side
    if not set(encoders) & set(fingerprints):
        raise DataError(
            f"The comparison of classifiers is of the encoder {encoders[0][:12]}…, the study's is "
            f"{', '.join(f'{one[:12]}…' for one in sorted(fingerprints))}; run `omnifeat classify compare` with the "
            "encoder in the study's folder."
        )
    sizes = found["sizes"]
    told = (
        f"Queries into the interest taxonomy: {sizes['training']:,} to learn from, {sizes['development']:,} to choose "
        f"settings by, {sizes['test']:,} to measure on; interests of the training queries by level: "
        f"{', '.join(f'{one:,}' for one in sizes['interests'])}. Each classifier answers its surest queries, as many "
        "as have an interest at the level. The paper: more precision than FastText, on average over the levels by "
        "about 30%, with the larger gains at the finer levels."
    )
    if len(encoders) > 1:
        told += f" The study's query embeddings stand beside those of {len(encoders) - 1} more."
    return Section(key="5.4", title="Classification of queries (section 5.4)", paragraphs=[told], table=_table(found))


def _table(found: Mapping[str, Any]) -> Table:
    reference = found["reference"]
    mean = next(one for one in found["averages"] if one["coverage"] == 1.0)["systems"]
    rows = []
    for name in found["systems"]:
        against = None if name == reference else reference
        cells = {}
        for level in found["levels"]:
            gains = level["gains"][name]
            cells[str(level["level"])] = _cell(
                level["systems"][name][_FIGURE], gains[_FIGURE], gains[f"relative_{_FIGURE}"], against, level["queries"]
            )
        own = mean[name]
        of_mean = _cell(own["precision"], own["gain"], own["relative_gain"], against, found["sizes"]["test"])
        paper = _PAPER if (name, against) == (OURS, "fasttext") else None
        cells["mean"] = of_mean.model_copy(update={"paper_relative": paper})
        rows.append(Row(key=name, label=_label(name), cells=cells))
    levels = [
        Column(key=str(one["level"]), label=f"level {one['level']}", group="Precision") for one in found["levels"]
    ]
    return Table(
        key="5.4",
        title="Interest classification",
        caption=f"Precision level by level, and the difference to: {_label(reference)}.",
        columns=[*levels, Column(key="mean", label="mean of the levels", group="Precision")],
        rows=rows,
    )


def _label(name: str) -> str:
    told = SYSTEMS[name][0] if name in SYSTEMS else name
    return told[0].upper() + told[1:]


def _cell(
    value: Mapping[str, Any], gain: Mapping[str, Any], relative: Mapping[str, Any], against: str | None, queries: int
) -> Cell:
    difference = None
    if against is not None and gain["value"] is not None:
        difference = Difference(
            to=against, value=gain["value"], low=gain["low"], high=gain["high"], relative=relative["value"]
        )
    ours = Estimate(value=value["value"], low=value["low"], high=value["high"])
    return Cell(ours=ours, difference=difference, pairs=queries, queries=queries)
