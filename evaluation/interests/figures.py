"""Figures of systems at each level, with bootstrap intervals over queries; gains are paired on the same draws.

A cut (which queries are answered at a coverage) is made once on the data themselves; the draws measure what the cut
leaves. Shapes: Q queries, S systems.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers.answers import SystemAnswers
from classifiers.interest import InterestPath
from classifiers.metrics import (
    LevelAnswers,
    answered_at_coverage,
    answered_at_recall,
    calibration_gaps,
    class_counts,
    head_interests,
    hierarchical_overlaps,
    macro_figures,
    micro_figures,
    training_bin,
)
from evaluation.bootstrap import Interval
from evaluation.ratios import Ratios
from evaluation.tables import json_interval

__all__ = ["COVERAGES", "RECALLS", "average_figures", "hierarchical_figures", "level_figures", "reliability"]

FloatArray = npt.NDArray[np.float64]
COVERAGES = (0.25, 0.5, 0.75, 1.0)
RECALLS = (0.25, 0.5, 0.75)
_BINS = 15
_FIGURES = ("precision", "recall", "f1")


def level_figures(
    systems: Sequence[SystemAnswers],
    true: Sequence[Sequence[InterestPath]],
    training: Mapping[InterestPath, int],
    level: int,
    reference: int,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """All figures of one level, for JSON: intervals are `{"value", "low", "high"}`, shares from 0 to 1.

    Parameters
    ----------
    systems
        All with answers to the same queries.
    true
        Whole paths of each query.
    training
        Training queries of each interest of the level.
    reference
        The system that gains are taken from.
    """
    answers = [system.levels[level] for system in systems]
    names = [system.name for system in systems]
    wanted = answers[0].wanted
    figures: dict[str, dict[str, Any]] = {name: {} for name in names}
    gains: dict[str, dict[str, Any]] = {name: {} for name in names}
    draws = {"resamples": resamples, "seed": seed}

    cuts = {
        f"coverage_{coverage:g}": [answered_at_coverage(one, coverage) for one in answers] for coverage in COVERAGES
    }
    for recall in RECALLS:
        found = [answered_at_recall(one, recall) for one in answers]
        cuts[f"recall_{recall:g}"] = [np.zeros(len(wanted), np.bool_) if one is None else one for one in found]
    for cut, answered in cuts.items():
        sums = np.column_stack([one.hit & chosen for one, chosen in zip(answers, answered, strict=True)])
        ratios = Ratios.make(sums.astype(np.float64), np.column_stack(answered).astype(np.float64), **draws)
        _put(figures, names, f"precision_at_{cut}", ratios)
        _put(gains, names, f"precision_at_{cut}", ratios.less(reference))
        _put(gains, names, f"relative_precision_at_{cut}", _relative(ratios, reference))
    hits = np.column_stack([one.hit for one in answers]).astype(np.float64)
    groups = _groups(true, training, level)
    for name, member in {"wanted": wanted, **groups}.items():
        counts = np.repeat((member & wanted)[:, None], len(systems), axis=1).astype(np.float64)
        ratios = Ratios.make(hits * counts, counts, **draws)
        _put(figures, names, f"accuracy_of_{name}", ratios)
        _put(gains, names, f"accuracy_of_{name}", ratios.less(reference))
    for place, one in enumerate(answers):
        given = [(path,) if path else () for path in one.predicted]
        counted = class_counts(given, true, level)
        figures[names[place]]["micro"] = dict(zip(_FIGURES, map(_number, micro_figures(counted)), strict=True))
        figures[names[place]]["macro"] = dict(zip(_FIGURES, map(_number, macro_figures(counted)), strict=True))
        figures[names[place]]["calibration_error"] = json_interval(_calibration(one, resamples, seed))
    return {
        "level": level,
        "queries": int(wanted.sum()),
        "interests": len(training),
        "groups": {name: int((member & wanted).sum()) for name, member in groups.items()},
        "systems": figures,
        "gains": gains,
    }


def average_figures(
    systems: Sequence[SystemAnswers], levels: int, reference: int, coverage: float, *, resamples: int, seed: int
) -> dict[str, Any]:
    """Means over levels at one coverage: precision, gain and relative gain of each system, on the same draws."""
    sums: list[npt.NDArray[np.bool_]] = []
    counts: list[npt.NDArray[np.bool_]] = []
    for level in range(levels):
        for system in systems:
            answered = answered_at_coverage(system.levels[level], coverage)
            sums.append(system.levels[level].hit & answered)
            counts.append(answered)
    ratios = Ratios.make(
        np.column_stack(sums).astype(np.float64),
        np.column_stack(counts).astype(np.float64),
        resamples=resamples,
        seed=seed,
    )
    shape = (levels, len(systems))

    def mean(figures_M: FloatArray) -> FloatArray:
        return np.asarray(figures_M.reshape(*figures_M.shape[:-1], *shape).mean(axis=-2))

    def relative(figures_M: FloatArray) -> FloatArray:
        figures = figures_M.reshape(*figures_M.shape[:-1], *shape)
        base = np.broadcast_to(figures[..., [reference]], figures.shape)
        ratio = np.divide(figures, base, out=np.full(figures.shape, np.nan), where=base > 0)
        return np.asarray((ratio - 1).mean(axis=-2))

    names = [system.name for system in systems]
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    _put(found, names, "precision", ratios.combined(mean))
    _put(found, names, "gain", ratios.combined(mean).less(reference))
    _put(found, names, "relative_gain", ratios.combined(relative))
    return {"coverage": coverage, "systems": found}


def hierarchical_figures(
    systems: Sequence[SystemAnswers], true: Sequence[Sequence[InterestPath]], *, resamples: int, seed: int
) -> dict[str, Any]:
    """Hierarchical precision and recall of whole paths, and the share of queries whose whole path is right."""
    found: dict[str, Any] = {}
    for system in systems:
        overlaps = hierarchical_overlaps([(path,) if path else () for path in system.paths], true)
        exact = np.array([path in own for path, own in zip(system.paths, true, strict=True)], dtype=np.float64)
        sums = np.column_stack([overlaps[:, 2], overlaps[:, 2], exact])
        counts = np.column_stack([overlaps[:, 0], overlaps[:, 1], np.ones(len(exact))])
        intervals = Ratios.make(sums, counts, resamples=resamples, seed=seed).intervals()
        found[system.name] = dict(
            zip(("precision", "recall", "whole_path"), map(json_interval, intervals), strict=True)
        )
    return found


def reliability(answers: LevelAnswers, bins: int = 10) -> list[dict[str, float]]:
    """Per bin of confidence that holds an answer: number of answers, their mean confidence, their precision."""
    place = np.minimum((answers.confidence * bins).astype(np.int64), bins - 1)
    return [
        {
            "answers": int((place == one).sum()),
            "confidence": float(answers.confidence[place == one].mean()),
            "precision": float(answers.hit[place == one].mean()),
        }
        for one in np.unique(place)
    ]


def _groups(
    true: Sequence[Sequence[InterestPath]], training: Mapping[InterestPath, int], level: int
) -> dict[str, npt.NDArray[np.bool_]]:
    """Queries by the training queries of their rarest interest at the level, and by head and tail."""
    rarest = []
    for own in true:
        here = {path[: level + 1] for path in own if len(path) > level}
        rarest.append(min(here, key=lambda path: (training.get(path, 0), path)) if here else None)
    head = head_interests(training)
    bins = [None if path is None else training_bin(training.get(path, 0)) for path in rarest]
    order = sorted({one for one in bins if one is not None}, key=lambda one: int(one.rstrip("+").split("-")[0]))
    groups = {one: np.array([mine == one for mine in bins], dtype=np.bool_) for one in order}
    groups["head"] = np.array([path in head for path in rarest], dtype=np.bool_)
    groups["tail"] = np.array([path is not None and path not in head for path in rarest], dtype=np.bool_)
    return groups


def _calibration(answers: LevelAnswers, resamples: int, seed: int) -> Interval:
    gaps = calibration_gaps(answers, _BINS)
    # every query counts once in every bin, so that a figure is a bin's gap as a share of all queries
    ratios = Ratios.make(gaps, np.ones_like(gaps), resamples=resamples, seed=seed)
    return ratios.combined(lambda figures: np.abs(figures).sum(axis=-1, keepdims=True)).intervals()[0]


def _relative(ratios: Ratios, reference: int) -> Ratios:
    def change(figures_S: FloatArray) -> FloatArray:
        base = figures_S[..., [reference]]
        return np.divide(figures_S, base, out=np.full(figures_S.shape, np.nan), where=base > 0) - 1

    return ratios.combined(change)


def _put(target: dict[str, dict[str, Any]], names: Sequence[str], figure: str, ratios: Ratios) -> None:
    for name, interval in zip(names, ratios.intervals(), strict=True):
        target[name][figure] = json_interval(interval)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value
