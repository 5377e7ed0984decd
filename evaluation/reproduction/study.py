"""A study: everything that its tables need is trained and measured once, and told in one record.

    OUT/
      trainings/   the encoders, their logs, and what each was made of
      measures/    ranks of every system
      results.json, report.html, report.md, images/

A study that was killed goes on where it was: trainings from their last checkpoint, measures from their files.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import torch

from evaluation.bootstrap import check_bootstrap
from evaluation.reports import check_target
from evaluation.reproduction.claims import claims_of
from evaluation.reproduction.corpus_sizes import corpus_size_table
from evaluation.reproduction.figures import Bootstrap, Measured
from evaluation.reproduction.humans import human_relevance, judge_of
from evaluation.reproduction.interests import interest_section, read_comparison
from evaluation.reproduction.measures import StudyMeasures
from evaluation.reproduction.progress import Progress, Steps, silent
from evaluation.reproduction.questions import QuestionSet, questions_of
from evaluation.reproduction.results import Machine, StudyResults, Table
from evaluation.reproduction.systems import BASELINES
from evaluation.reproduction.tables import Plan, build_table, lacking_text, plan_of, without_paper
from evaluation.reproduction.trainings import Training, run_training
from evaluation.reproduction.variations import BASE, TABLES, text_read, variations_of
from omnifeat.data.dataset import Dataset
from omnifeat.data.validate import validate
from omnifeat.errors import DataError, OutputError, SettingError
from omnifeat.memory import peak_memory
from omnifeat.models.block_config import WordsConfig
from omnifeat.models.config import EncoderConfig
from omnifeat.models.config import preset as encoder_preset
from omnifeat.models.overrides import with_overrides
from omnifeat.pretrained import PretrainedEncoder
from omnifeat.training.pooled_outputs import PooledOutputs
from omnifeat.training.prepare import prepare_training_data
from omnifeat.training.settings import TrainSettings, train_preset

__all__ = [
    "StudySettings",
    "machine",
    "refuse_leaks",
    "run_study",
    "start_folder",
    "study_encoder",
    "study_training",
]

# preset -> what all trainings of a study have: batch, random negatives a pair, steps, and the highest rate
_TRAINING: dict[str, dict[str, Any]] = {
    "tiny": {"batch_size": 128, "random_negatives": 2, "steps": 150, "learning_rate": 3e-3, "warmup_steps": 10},
    "small": {"batch_size": 1024, "random_negatives": 1, "steps": 500, "learning_rate": 2e-3, "warmup_steps": 50},
    "paper": {},
}
_OWN = {"trainings", "measures", "images", "results.json", "report.html", "report.md"}
_VERSIONS = ("omnifeat", "torch", "transformers", "numpy", "pyarrow", "duckdb")


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """What a study holds.

    Attributes
    ----------
    tables
        Keys of `evaluation.reproduction.variations.TABLES`.
    preset
        Sizes of the models: `tiny`, `small` or `paper`.
    steps, batch_size, random_negatives, learning_rate
        Of all trainings; what `study_training` says for the preset if None.
    seeds
        Each training is run once with each.
    corpus_size
        Random entities of a type to rank among where the dataset lists no corpus; None for all.
    baselines
        Rows of Table 2 beside SearchSage.
    resamples, level, bootstrap_seed
        Of the intervals.
    threads
        Of torch and numba; as many as there are cores if None.
    model
        Settings of all models that are other than the preset's, as `query.model=NAME`.
    by, groups
        Column of engagements or queries whose values make more columns of Table 2, and the values that do.
    world
        Folder of the simulated world whose raters judge what is retrieved (section 5.1); None for the dataset's own
        judgments.
    interests
        Folder that `omnifeat classify compare` wrote with the base's encoder, for section 5.4; None leaves it out.
    """

    tables: tuple[str, ...] = ("2", "3", "4", "5", "6")
    preset: str = "small"
    steps: int | None = None
    batch_size: int | None = None
    random_negatives: int | None = None
    learning_rate: float | None = None
    seeds: tuple[int, ...] = (0,)
    corpus_size: int | None = None
    baselines: tuple[str, ...] = ("random", "bm25")
    resamples: int = 1000
    level: float = 0.95
    bootstrap_seed: int = 0
    threads: int | None = None
    model: tuple[str, ...] = ()
    by: str | None = None
    groups: tuple[str, ...] | None = None
    world: Path | None = None
    interests: Path | None = None

    def __post_init__(self) -> None:
        if not self.tables:
            raise SettingError("There is no table to make: name at least one with --tables.")
        unknown_table = next((key for key in self.tables if key not in TABLES), None)
        if unknown_table is not None:
            raise SettingError(f"There is no table '{unknown_table}'; choose from {', '.join(TABLES)}.")
        study_encoder(self)
        check_bootstrap(self.resamples, self.level)
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise SettingError("Seeds must be given, each once.")
        unknown = next((name for name in self.baselines if name not in BASELINES), None)
        if unknown is not None:
            raise SettingError(f"There is no baseline '{unknown}'; choose from {', '.join(BASELINES)}.")


def study_encoder(settings: StudySettings) -> EncoderConfig:
    """The settings that all models of a study share, but for what a variation changes.

    The block of words is left out unless it is asked for: it is no part of the paper's encoders, and with it a table
    that takes text away from the entity encoder would say nothing of the encoder.
    """
    learned_alone = replace(encoder_preset(settings.preset), words=WordsConfig())
    return with_overrides(learned_alone, settings.model)


def study_training(settings: StudySettings) -> TrainSettings:
    """The settings that all trainings of a study share, but for what a variation changes, and the seed.

    Bigger batches and fewer random negatives than `omnifeat train` has in the same preset: more pairs a second.
    """
    given = {
        name: value
        for name in ("steps", "batch_size", "random_negatives", "learning_rate")
        if (value := getattr(settings, name)) is not None
    }
    return replace(train_preset(settings.preset), **(_TRAINING[settings.preset] | given))


def run_study(
    dataset: Dataset,
    out: Path,
    settings: StudySettings,
    *,
    command: str,
    pretrained: PretrainedEncoder | None = None,
    progress: Progress | None = None,
) -> StudyResults:
    """Train, measure and tell.

    Parameters
    ----------
    dataset
        With a recorded split, engagements and entities; nothing of its inputs may be from after the split.
    out
        Folder of the study; one that is there is gone on with.
    command
        What makes the study again, for the report.
    pretrained
        An encoder for one more row of Table 2.
    progress
        Makes a context that shows a part of the work: its name and number of units, None where it is not known.

    Raises
    ------
    DataError
        The dataset cannot be trained on or measured, or what it holds as input is from the held-out part.
    SettingError
        A table, preset or baseline is not known, or the folder holds a study of other data or settings.
    """
    shown = progress or silent
    config = study_encoder(settings)
    base = study_training(settings)
    comparison = None if settings.interests is None else read_comparison(settings.interests)
    judge = judge_of(dataset, settings.world, settings.bootstrap_seed)
    refuse_leaks(dataset, shown)
    questions = questions_of(
        dataset, corpus_size=settings.corpus_size, seed=settings.bootstrap_seed, by=settings.by, groups=settings.groups
    )
    prepared = prepare_training_data(dataset, config)
    variations = variations_of(
        settings.tables, config, [task.name for task in prepared.tasks], _text_columns(dataset),
        vectors=bool(prepared.config.entity.continuous),
    )  # fmt: skip
    rows = (*settings.baselines, *(["pretrained"] if pretrained else []))
    told = _text_columns(dataset, ("pins",) if dataset.has("pins") else ("products",))  # what Table 4 is about
    texts = {one.name: text_read(one, config, told) for one in variations}
    plans = [plan_of(key, rows, list(texts), config.dim, texts) for key in settings.tables]
    pooled = PooledOutputs(out / "measures")
    trainings: list[Training] = []
    for variation in variations:
        for seed in settings.seeds:
            steps = base.steps
            with shown(f"training {variation.name}, seed {seed}", steps) as advance:
                trainings.append(
                    run_training(
                        dataset, variation, config, replace(base, seed=seed), out / "trainings",
                        tables=settings.tables, threads=settings.threads, on_step=Steps(advance), pooled=pooled,
                    )
                )  # fmt: skip
    of_base = [training for training in trainings if training.variation.name == BASE]
    sections = (
        [] if comparison is None else [interest_section(comparison, {one.trained.fingerprint for one in of_base})]
    )
    measures = StudyMeasures(
        dataset, questions, trainings, out / "measures", pretrained=pretrained, seed=settings.bootstrap_seed,
        threads=settings.threads, pooled=pooled,
    )  # fmt: skip
    ranks = measures.ranks(list(dict.fromkeys(name for plan in plans for name in plan.systems)), shown)
    bootstrap = Bootstrap(settings.resamples, settings.level, settings.bootstrap_seed)
    measured = Measured(questions, ranks, bootstrap)
    with shown("tables", None):
        counted = [(plan, _among(plan, questions, dataset)) for plan in plans]
        tables = [build_table(plan, measured, among) for plan, among in counted]
        tables += _new_pairs(plans, measured)
        by_size = corpus_size_table(counted, measured)
        tables += [by_size] if by_size is not None else []
    with shown("pictures", None):
        histograms, curves, queries = measures.pictures(bootstrap)
    with shown("human relevance", None):
        if of_base and judge:
            humans = human_relevance(
                dataset, of_base[0], judge, resamples=settings.resamples, level=settings.level,
                seed=settings.bootstrap_seed, threads=settings.threads,
            )  # fmt: skip
            sections.insert(0, humans)
    trained = [training.trained for training in trainings]
    results = StudyResults(
        title=f"The paper's tables on {dataset.info.name}",
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        dataset=dataset.info.name,
        preset=settings.preset,
        seeds=list(settings.seeds),
        data=_counts(dataset, questions),
        settings=_told(settings, base, questions),
        tables=tables,
        claims=claims_of(tables),
        trained=trained,
        histograms=histograms,
        corpus_curves=curves,
        gallery=queries,
        sections=sections,
        machine=machine(settings.threads),
        seconds=round(sum(training.seconds for training in trained) + measures.seconds, 1),
        peak_memory=peak_memory(),
    )
    results.save(out / "results.json")
    return results


def refuse_leaks(dataset: Dataset, progress: Progress) -> None:
    """Raise `DataError` if what the dataset holds as input is from the held-out part, or it is not valid at all."""
    with progress("looking for leaks", None):
        report = validate(dataset.path, check_leaks=True)
    if report.problems:
        raise DataError(
            f"{report.problems[0].message} (`omnifeat validate --leaks` lists all {report.total:,} problems); a study "
            "of such data says nothing"
        )


def start_folder(out: Path, overwrite: bool) -> None:
    """Make sure that a study may be written to a folder; with `overwrite` what a study left there is removed.

    Raises
    ------
    OutputError
        The folder is a file, or holds something that is no study's.
    """
    check_target(out, overwrite=True)  # it may hold what an earlier run left
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    foreign = sorted(name for name in there - _OWN if not name.startswith("."))
    if foreign:
        raise OutputError(f"the output folder {out} holds '{foreign[0]}', which is of no study; name another folder")
    if overwrite:
        for name in there & _OWN:
            path = out / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _text_columns(dataset: Dataset, tables: Sequence[str] = ("pins", "products")) -> set[str]:
    """Columns of pins and products."""
    return {name for table in tables if dataset.has(table) for name in dataset.columns(table)}


def _among(plan: Plan, questions: QuestionSet, dataset: Dataset) -> dict[str, npt.NDArray[np.bool_]] | None:
    """The pairs that count in a table, where these are not all."""
    if plan.key != "3":
        return None
    groups = questions.groups
    if not dataset.has("pins"):
        return {key: np.zeros(len(group.pairs.pair_queries), dtype=bool) for key, group in groups.items()}
    names = [name for name in ("id", "title", "description") if dataset.has_column("pins", name)]
    return lacking_text(groups, dataset.read("pins", names))


def _new_pairs(plans: Sequence[Plan], measured: Measured) -> list[Table]:
    """Table 2 twice more, on pairs that the training part does not have: what was learned, not what is remembered.

    First, and to be read first, without what a query led to in training, which new pairs would otherwise compete with.
    """
    groups = measured.questions.groups
    if not any(plan.key == "2" for plan in plans) or not any(group.seen.any() for group in groups.values()):
        return []
    plan = next(plan for plan in plans if plan.key == "2")
    new = {key: ~group.seen for key, group in groups.items()}
    found = []
    for without, key, among, why in (
        (True, "new pairs", "without training positives", "The corpus leaves out what the query led to in training, "
         "the same for every row: compare systems here."),
        (False, "new pairs among all", "among all", "They compete with what the query led to in training: a system "
         "that remembers it better finds new pairs later."),
    ):  # fmt: skip
        table = build_table(plan, replace(measured, without_training=without), new)
        rows = [
            row.model_copy(update={"cells": {key: without_paper(cell) for key, cell in row.cells.items()}})
            for row in table.rows
        ]
        told = {
            "key": key,
            "title": f"Table 2 on pairs that training does not have, {among}",
            "caption": "Recall@10 of held-out pairs of a query and an entity that the training part does not have. "
            f"{why} The paper has no such table.",
            "rows": rows,
        }
        found.append(table.model_copy(update=told))
    return found


def _counts(dataset: Dataset, questions: QuestionSet) -> dict[str, int]:
    counts = {name: dataset.count(name) for name in dataset.tables() if name in ("pins", "products", "queries")}
    counts["rows of engagements"] = dataset.count("engagements")
    for key, group in questions.groups.items():
        counts[f"test pairs, {key}"] = len(group.pairs.pair_queries)
        counts[f"of these in the training part too, {key}"] = int(group.seen.sum())
        counts[f"entities ranked, {key}"] = group.pairs.corpus_count
    return counts


def _told(settings: StudySettings, base: TrainSettings, questions: QuestionSet) -> dict[str, str]:
    told = {
        "preset": settings.preset,
        "batch": str(base.batch_size),
        "steps": str(base.steps),
        "random negatives a pair": str(base.random_negatives),
        "highest learning rate": f"{base.learning_rate:g}",
        "optimizer": base.optimizer,
        "selection": "none: the last step's weights",
        "recall": "share of pairs whose entity is among the first 10; a query's other positives are left out",
        "intervals": f"{settings.level:.0%}, {settings.resamples:,} resamples of whole queries, seed "
        f"{settings.bootstrap_seed}",
    }
    if questions.relevant_grade is not None:
        told["relevant"] = f"judged pairs with a median grade of {questions.relevant_grade} or more"
    return told


def machine(threads: int | None) -> Machine:
    """This machine, as a report tells it."""
    return Machine(
        cores=os.cpu_count() or 1,
        threads=threads or torch.get_num_threads(),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        accelerator=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        system=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        versions={name: version(name) for name in _VERSIONS},
    )
