"""The trainings of a study: each once, under equal conditions, taken up where a killed study left them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from evaluation.reproduction.results import CurvePoint, Trained
from evaluation.reproduction.variations import TABLES, Variation
from omnifeat.data.artefacts import checked, read_object
from omnifeat.data.dataset import Dataset
from omnifeat.data.files import replace_when_whole
from omnifeat.data.identity import content_of_dataset
from omnifeat.errors import SettingError
from omnifeat.memory import peak_memory
from omnifeat.models.config import EncoderConfig
from omnifeat.training.pooled_outputs import PooledOutputs
from omnifeat.training.settings import TrainSettings
from omnifeat.training.trainer import train

__all__ = ["Training", "run_training"]

_CURVE_POINTS = 200


@dataclass(frozen=True)
class Training:
    """A finished training: the variation and seed, its encoder's folder, and what a report tells of it."""

    variation: Variation
    seed: int
    path: Path
    trained: Trained


class _Note(BaseModel):
    """What lies beside an encoder: what it was made of, and once it is whole what a report tells of it."""

    key: str
    trained: Trained | None = None


def run_training(
    dataset: Dataset,
    variation: Variation,
    config: EncoderConfig,
    settings: TrainSettings,
    folder: Path,
    *,
    tables: Sequence[str],
    threads: int | None = None,
    on_step: Callable[[int, int], None] | None = None,
    pooled: PooledOutputs | None = None,
) -> Training:
    """Train a variation with the seed of the settings, or take the encoder that an earlier run of the study left.

    All variations take the same number of steps and keep their last weights: nothing is chosen by a development part,
    so that no model profits from a choice that another has not.

    Parameters
    ----------
    config, settings
        Of the base; `steps` is set.
    folder
        Where encoders of the study lie: `NAME-seedN`, its log beside it, and `NAME-seedN.json`, what it was made of.
    tables
        Keys of the study's tables.
    on_step
        Called with the step that is done and the number of all.
    pooled
        What all trainings of the study share where the query transformer is not trained.

    Raises
    ------
    SettingError
        An encoder of that name is there that was made of other data or settings.
    Else as `train`.
    """
    config, settings = variation.apply(config, settings)
    settings = replace(settings, evaluate_every=0, patience=None)
    out = folder / f"{variation.name}-seed{settings.seed}"
    note = folder / f"{out.name}.json"
    key = _key(dataset, config, settings)
    if note.exists():
        remedy = "give another folder, or --overwrite to begin the study anew"
        known = checked(_Note, read_object(note, remedy=remedy), where=note, remedy=remedy)
        if known.key != key:
            raise SettingError(
                f"{out} was trained on other data or with other settings; give another folder, or --overwrite to begin "
                "the study anew."
            )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        with replace_when_whole(note) as partial:
            partial.write_text(json.dumps({"key": key}), encoding="utf-8")
        known = _Note(key=key)
    if known.trained is not None and (out / "config.json").is_file():
        return Training(variation, settings.seed, out, _used_by(known.trained, tables))
    result = train(
        dataset, config, settings, out, resume=True, overwrite=(out / "config.json").is_file(), threads=threads,
        on_progress=None if on_step is None else lambda at: on_step(at.step, at.steps),
        pooled=pooled,
    )  # fmt: skip
    trained = Trained(
        name=variation.name,
        seed=settings.seed,
        what=variation.what,
        changes=variation.changes(),
        tasks=list(result.log.losses[-1]["tasks"]),
        steps=result.steps,
        batch_size=settings.batch_size,
        pairs_seen=result.steps * settings.batch_size,
        seconds=round(result.seconds, 1),
        peak_memory=peak_memory(),
        fingerprint=result.fingerprint,
        final_loss=result.loss,
        curve=_curve(result.log.losses),
        used_by=[],
    )
    with replace_when_whole(note) as partial:
        partial.write_text(json.dumps({"key": key, "trained": trained.model_dump()}, indent=1), encoding="utf-8")
    return Training(variation, settings.seed, out, _used_by(trained, tables))


def _used_by(trained: Trained, tables: Sequence[str]) -> Trained:
    return trained.model_copy(update={"used_by": [key for key in tables if trained.name in TABLES[key]]})


def _key(dataset: Dataset, config: EncoderConfig, settings: TrainSettings) -> str:
    about: dict[str, Any] = {
        "dataset": dataset.info.model_dump(mode="json"),
        "tables": content_of_dataset(dataset),
        "config": config.to_dict(),
        "settings": settings.to_dict(),
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()


def _curve(losses: Sequence[dict[str, Any]]) -> list[CurvePoint]:
    """The curve in at most `_CURVE_POINTS` points, each the mean of as many neighbours."""
    each = max(1, -(-len(losses) // _CURVE_POINTS))
    groups = [losses[start : start + each] for start in range(0, len(losses), each)]
    return [
        CurvePoint(step=group[-1]["step"], loss=sum(point["loss"] for point in group) / len(group)) for group in groups
    ]
