"""Section 5.1 in a study: judged relevance of what the base retrieves against token-based retrieval, head and tail."""

from __future__ import annotations

from pathlib import Path

from evaluation.human_reports import human_section
from evaluation.human_results import HumanSettings
from evaluation.human_study import human_study
from evaluation.judges import Judge, PanelJudge, TableJudge
from evaluation.reproduction.results import Section
from evaluation.reproduction.tables import LABELS
from evaluation.reproduction.trainings import Training
from evaluation.reproduction.variations import BASE
from omnifeat.data.dataset import Dataset
from omnifeat.frozen import FrozenEncoder

__all__ = ["human_relevance", "judge_of"]

_SYSTEMS = {"learned": LABELS[BASE], "bm25-words": LABELS["bm25"]}


def judge_of(dataset: Dataset, world: Path | None, seed: int) -> Judge | None:
    """Who judges pins: the raters of a simulated world, who judge any pair; or the dataset's judgments; or no one.

    Raises
    ------
    DataError
        The folder is no simulated world's.
    """
    if not dataset.has("pins"):
        return None
    if world is not None:
        return PanelJudge(world, seed)
    if not dataset.has("judgments"):
        return None
    judgments = dataset.read("judgments")
    kinds = judgments["entity_type"].unique().to_pylist() if "entity_type" in judgments.column_names else ["pin"]
    return TableJudge(judgments, "pin", dataset.place("judgments")) if "pin" in kinds else None


def human_relevance(
    dataset: Dataset,
    training: Training,
    judge: Judge,
    *,
    resamples: int,
    level: float,
    seed: int,
    threads: int | None = None,
) -> Section:
    """The section, from pins that are retrieved for head and tail queries.

    Parameters
    ----------
    training
        Of the base.

    Raises
    ------
    DataError
        Nothing that was retrieved was judged.
    """
    settings = HumanSettings(systems=tuple(_SYSTEMS), resamples=resamples, level=level, seed=seed)
    encoder = FrozenEncoder.from_pretrained(training.path, threads=threads)
    section = human_section(human_study(dataset, encoder, judge, settings), settings)
    if section.table is None:
        return section
    rows = [row.model_copy(update={"label": _SYSTEMS[row.key]}) for row in section.table.rows]
    return section.model_copy(update={"table": section.table.model_copy(update={"rows": rows})})
