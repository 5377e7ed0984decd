"""Classifiers of queries on the same parts of the same data: the table of section 5.4, and learning curves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from classifiers.answers import SystemAnswers, answers_of
from classifiers.fasttext_tuning import Trial
from classifiers.interest import InterestPath
from classifiers.metrics import answered_at_coverage, sibling_confusions, training_counts
from evaluation.bootstrap import check_bootstrap
from evaluation.interests.figures import COVERAGES, average_figures, hierarchical_figures, level_figures, reliability
from evaluation.interests.kept import KeptTrials, kept_answers
from evaluation.interests.systems import (
    OURS,
    OURS_OVER,
    SYSTEMS,
    Choice,
    Examples,
    check_choice,
    fit_system,
    quick_fasttext,
)
from evaluation.ratios import Ratios
from evaluation.tables import json_interval
from omnifeat.errors import DataError, SettingError

__all__ = ["CURVE_SIZES", "ComparisonSettings", "check_curves", "compare", "sampled_rows"]

CURVE_SIZES = (5, 10, 20, 50, 100, 200, 500)
_CURVE_EPOCHS = (25, 100, 400)  # fewer examples take more passes: FastText may choose at each size
_CONFUSIONS = 30


@dataclass(frozen=True)
class ComparisonSettings:
    """What is compared and how.

    Attributes
    ----------
    systems
        Names of `evaluation.interests.systems.SYSTEMS`; gains are taken from `reference`, which is one of them.
    curve_levels, curve_sizes
        Levels for which learning curves are measured, paths cut off there, and most training queries an interest.
    curve_systems
        Those of the systems that the curves are measured for.
    resamples, seed
        Of the bootstrap; the seed also samples queries for the curves and trains FastText.
    """

    systems: tuple[str, ...] = (OURS, "fasttext")
    reference: str = "fasttext"
    curve_levels: tuple[int, ...] = ()
    curve_sizes: tuple[int, ...] = CURVE_SIZES
    curve_systems: tuple[str, ...] = (*OURS_OVER, "fasttext")
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        check_bootstrap(self.resamples, 0.95)
        if self.reference not in self.systems:
            raise SettingError(
                f"The reference {self.reference!r} is not among the classifiers that are compared: "
                f"{', '.join(self.systems)}; compare it too, or make one of these the reference."
            )
        for size in self.curve_sizes:
            if size < 1:
                raise SettingError(f"A learning curve needs 1 example an interest or more; got {size}.")
        if self.curve_levels and not self.curve_sizes:
            raise SettingError("A learning curve needs sizes; give --curve-sizes, or no --curve-levels.")


def check_curves(settings: ComparisonSettings, levels: int) -> None:
    """Raise `DataError` if a learning curve is asked for at a level that interests don't have."""
    for level in settings.curve_levels:
        if not 0 <= level < levels:
            raise DataError(
                f"There is no level {level} for a learning curve; interests have levels 0 to {levels - 1}: correct "
                "--curve-levels."
            )


def compare(
    training: Examples,
    development: Examples,
    test: Examples,
    settings: ComparisonSettings,
    choice: Choice | None = None,
    *,
    keep: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
    on_answers: Callable[[SystemAnswers], None] | None = None,
) -> dict[str, Any]:
    """Fit every system on training queries, choose on development ones, measure on test ones.

    `keep` is a folder in which the answers of each fitted system are kept: what is there already is not fitted again,
    so that a comparison that was cut goes on. `say` is told what is being done; `on_answers` is given each system's
    answers to the test queries, for figures of one's own. Returns what is written as JSON: "levels", "averages",
    "whole_paths", "curves", "reliability", "confusions", "systems" (what each is and what was chosen), "sizes", and
    the settings.

    Raises
    ------
    DataError
        A part is empty, no training query reaches a level for a curve, or a file of `keep` is not what was kept.
    SettingError, MissingDependencyError
        See `check_choice`; found before anything is fitted.
    """
    choice = choice or Choice(seed=settings.seed)
    check_choice(settings.systems, choice)
    for name, part in (("training", training), ("development", development), ("test", test)):
        if not part.queries:
            raise DataError(f"The {name} part has no query with an interest; choose other parts.")
    levels = max(len(path) for own in training.paths for path in own)
    check_curves(settings, levels)
    systems: list[SystemAnswers] = []
    chosen: dict[str, Any] = {}
    for name in settings.systems:
        answers, facts = _answers_and_choice(name, (training, development, test), choice, levels, keep, say)
        chosen[name] = {"what": SYSTEMS[name][0], **facts}
        systems.append(answers)
        if on_answers is not None:
            on_answers(systems[-1])
    reference = settings.systems.index(settings.reference)
    draws = {"resamples": settings.resamples, "seed": settings.seed}
    counts = [training_counts(training.paths, level) for level in range(levels)]
    found: dict[str, Any] = {
        "sizes": {
            "training": len(training.queries),
            "development": len(development.queries),
            "test": len(test.queries),
            "interests": [len(one) for one in counts],
            "places_where_paths_end": len({path for own in training.paths for path in own}),
        },
        "seed": settings.seed,
        "resamples": settings.resamples,
        "reference": settings.reference,
        "systems": chosen,
        "levels": [
            level_figures(systems, test.paths, counts[level], level, reference, **draws) for level in range(levels)
        ],
        "averages": [average_figures(systems, levels, reference, coverage, **draws) for coverage in COVERAGES],
        "whole_paths": hierarchical_figures(systems, test.paths, **draws),
        "reliability": {
            system.name: [reliability(system.levels[level]) for level in range(levels)] for system in systems
        },
        "confusions": {system.name: _confusions(system, test.paths, levels) for system in systems},
        "curves": [
            _curve(level, (training, development, test), settings, choice, chosen, keep, say)
            for level in settings.curve_levels
        ],
    }
    return found


def sampled_rows(paths: Sequence[Sequence[InterestPath]], size: int, seed: int) -> list[int]:
    """Rows with at most `size` queries of each interest in which paths end; the smaller sample lies in the larger.

    Queries are drawn in one order for all sizes; a query of several interests counts for each, and is taken as long as
    one of them still wants it.
    """
    taken: dict[InterestPath, int] = {}
    rows = []
    for row in np.random.default_rng(seed).permutation(len(paths)).tolist():
        if any(taken.get(path, 0) < size for path in paths[row]):
            rows.append(row)
            for path in paths[row]:
                taken[path] = taken.get(path, 0) + 1
    return sorted(rows)


def _answers_and_choice(
    name: str,
    parts: tuple[Examples, Examples, Examples],
    choice: Choice,
    levels: int,
    keep: Path | None,
    say: Callable[[str], None] | None = None,
) -> tuple[SystemAnswers, dict[str, Any]]:
    """A system's answers to the test queries, and what was chosen for it; those kept, or of a new fit."""
    training, development, test = parts

    def answer() -> tuple[SystemAnswers, dict[str, Any]]:
        trials = KeptTrials(keep, training, development, choice) if keep is not None and name == "fasttext" else None
        if say is not None:
            say(f"fitting {name} on {len(training.queries):,} queries")

        def on_trial(trial: Trial) -> None:
            if trials is not None:
                trials.add(trial)
            if say is not None:
                say(_told(trial))

        known = () if trials is None else tuple(trials.trials)
        classifier, facts = fit_system(name, training, development, choice, known, on_trial)
        return answers_of(name, classifier, test.inputs(name), test.paths, levels), facts

    return answer() if keep is None else kept_answers(keep, name, parts, choice, levels, answer)


def _curve(
    level: int,
    parts: tuple[Examples, Examples, Examples],
    settings: ComparisonSettings,
    choice: Choice,
    chosen: dict[str, Any],
    keep: Path | None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Precision at full coverage at one level, from so many training queries of each interest of the level."""
    training, development, test = (part.chosen(range(len(part.queries)), level + 1) for part in parts)
    names = [name for name in settings.curve_systems if name in settings.systems]
    grid = quick_fasttext(chosen["fasttext"]["settings"], _CURVE_EPOCHS) if "fasttext" in chosen else choice.grid
    small = replace(choice, grid=grid, steps=())
    points: list[dict[str, Any]] = []
    for size in sorted(set(settings.curve_sizes)):
        rows = sampled_rows(training.paths, size, settings.seed)
        if points and len(rows) == points[-1]["queries"]:
            break  # no interest has more
        say(f"learning curve of level {level}: {size} examples an interest, {len(rows):,} queries")
        sampled = (training.chosen(rows), development, test)
        systems = [_answers_and_choice(name, sampled, small, level + 1, keep)[0] for name in names]
        points.append({"examples": size, "queries": len(rows), **_point(systems, level, settings)})
    return {"level": level, "points": points}


def _point(systems: Sequence[SystemAnswers], level: int, settings: ComparisonSettings) -> dict[str, Any]:
    answered = [answered_at_coverage(system.levels[level], 1.0) for system in systems]
    hits = [system.levels[level].hit & one for system, one in zip(systems, answered, strict=True)]
    ratios = Ratios.make(
        np.column_stack(hits).astype(np.float64),
        np.column_stack(answered).astype(np.float64),
        resamples=settings.resamples,
        seed=settings.seed,
    )
    names = [system.name for system in systems]
    point: dict[str, Any] = {
        "precision": dict(zip(names, map(json_interval, ratios.intervals()), strict=True)),
    }
    if settings.reference in names:
        gains = ratios.less(names.index(settings.reference)).intervals()
        point["gain"] = dict(zip(names, map(json_interval, gains), strict=True))
    return point


def _confusions(
    system: SystemAnswers, true: Sequence[Sequence[InterestPath]], levels: int
) -> list[list[dict[str, Any]]]:
    """Of each level, the pairs of siblings that are most often taken for each other."""
    found = []
    for level in range(levels):
        counted = sibling_confusions(system.levels[level], true, level)
        order = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:_CONFUSIONS]
        found.append([{"true": list(own), "given": list(mine), "queries": count} for (own, mine), count in order])
    return found


def _told(trial: Trial) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in trial.settings.items())
    if trial.precision is None:
        return f"FastText, {settings}: training diverged"
    return f"FastText, {settings}: precision {trial.precision:.4f} on development queries"
