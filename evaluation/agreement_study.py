"""Agreement of the raters of a dataset's judgments, overall and by groups, and what is written of it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.agreement import METRICS, Agreement, rater_agreement
from evaluation.judged import judgments_of_type
from evaluation.judged_pairs import default_relevant_grade
from evaluation.reports import write_folder
from evaluation.tables import interval_cell, json_interval, markdown_table
from omnifeat.data.dataset import Dataset
from omnifeat.errors import SettingError

__all__ = [
    "AgreementSettings",
    "AgreementStudy",
    "agreement_json",
    "agreement_markdown",
    "agreement_rows",
    "agreement_study",
    "write_agreement",
]


@dataclass(frozen=True, kw_only=True)
class AgreementSettings:
    """What is measured.

    Attributes
    ----------
    entity_type
        Only judgments of this type; null for all.
    by
        Column of the judgments that makes groups; null for `country` where there is one.
    metric
        One of `evaluation.agreement.METRICS`.
    relevant_grade
        Grades from here on are relevant; null for more than half of the highest.
    resamples, level, seed
        Of the bootstrap over queries.
    """

    entity_type: str | None = None
    by: str | None = None
    metric: str = "ordinal"
    relevant_grade: float | None = None
    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise SettingError(f"there is no metric of agreement '{self.metric}'; choose one of {', '.join(METRICS)}")


@dataclass(frozen=True)
class AgreementStudy:
    """Overall, by value of `by` (null where no pair of the group has two raters), and the grade that is relevant."""

    overall: Agreement
    groups: dict[str, Agreement | None]
    by: str | None
    relevant_grade: float


def agreement_study(dataset: Dataset, settings: AgreementSettings) -> AgreementStudy:
    """Agreement of the raters of a dataset.

    Raises
    ------
    DataError
        If there are no judgments, none of the type, no column `rater` or none of the name of `by`, a grade is wrong, a
        rater judged a pair twice, or no pair has two raters.
    """
    needed = ["query", "entity_id", "entity_type", "grade", "rater"]
    by = settings.by
    if by is None and dataset.has_column("judgments", "country"):
        by = "country"
    judgments = judgments_of_type(dataset, [*needed, *([] if by is None else [by])], settings.entity_type)
    relevant = settings.relevant_grade
    if relevant is None:
        relevant = default_relevant_grade(float(judgments["grade"].max()))

    def measure(rows: pd.DataFrame) -> Agreement:
        return rater_agreement(
            rows,
            relevant,
            metric=settings.metric,
            resamples=settings.resamples,
            level=settings.level,
            seed=settings.seed,
        )

    overall = measure(judgments)
    groups: dict[str, Agreement | None] = {}
    if by is not None:
        for name, rows in judgments.groupby(by, sort=True):
            named = rows[rows["rater"].notna()]
            several = named.duplicated(["query", "entity_type", "entity_id"]).any()
            groups[str(name)] = measure(rows) if several else None
    return AgreementStudy(overall, groups, by, relevant)


def agreement_rows(study: AgreementStudy) -> tuple[list[str], list[list[str]]]:
    """Column names and cells of the table: all judgments, then each group."""
    side = f"both below or both from {study.relevant_grade:g} on %"
    columns = [study.by or "judgments", "alpha", "same grade %", side, "pairs", "judgments", "raters", "of one rater"]
    cells = []
    for name, one in {"all": study.overall, **study.groups}.items():
        if one is None:
            cells.append([name, *["–"] * 7])
            continue
        cells.append(
            [
                name,
                interval_cell(one.alpha, 3, 1.0),
                interval_cell(one.same_grade),
                interval_cell(one.same_side),
                *(f"{count:,}" for count in (one.pairs, one.judgments, one.raters, one.of_one_rater)),
            ]
        )
    return columns, cells


def agreement_json(study: AgreementStudy, settings: AgreementSettings, dataset: str) -> dict[str, Any]:
    """All figures as plain dicts; intervals are `{"value", "low", "high"}`."""

    def plain(one: Agreement | None) -> dict[str, Any] | None:
        if one is None:
            return None
        figures = {name: json_interval(getattr(one, name)) for name in ("alpha", "same_grade", "same_side")}
        counts = ("pairs", "judgments", "raters", "queries", "of_one_rater", "without_rater")
        return {**figures, **{name: getattr(one, name) for name in counts}}

    return {
        "dataset": dataset,
        "settings": asdict(settings),
        "relevant_grade": study.relevant_grade,
        "grouped_by": study.by,
        "overall": plain(study.overall),
        "groups": {name: plain(one) for name, one in study.groups.items()},
    }


def agreement_markdown(study: AgreementStudy, settings: AgreementSettings, dataset: str) -> str:
    """The table, and how it was measured."""
    one = study.overall
    lines = [
        f"Alpha is Krippendorff's, with {settings.metric} distances: 1 where raters always agree, about 0 where they "
        "judge at random.",
        "The shares are of all two judgments of one pair; each pair weighs as its judgments do.",
        f"{one.of_one_rater:,} pairs of one rater alone and {one.without_rater:,} judgments without a rater are left "
        "out.",
    ]
    if settings.resamples:
        lines.append(
            f"Intervals hold {settings.level:.0%} of {settings.resamples:,} bootstrap resamples of whole queries (seed "
            f"{settings.seed})."
        )
    how = "\n".join(f"- {line}" for line in lines)
    table = markdown_table(*agreement_rows(study))
    return f"# Agreement of the raters of {dataset}\n\n{table}\n\n## How it was measured\n\n{how}\n"


def write_agreement(
    folder: Path, study: AgreementStudy, settings: AgreementSettings, dataset: str, overwrite: bool = True
) -> Sequence[Path]:
    """Write `agreement.json` and `agreement.md`."""
    texts = {
        "agreement.json": json.dumps(agreement_json(study, settings, dataset), ensure_ascii=False, indent=2) + "\n",
        "agreement.md": agreement_markdown(study, settings, dataset),
    }
    return write_folder(folder, texts, [], overwrite)
