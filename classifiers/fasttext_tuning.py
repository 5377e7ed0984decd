"""A fair budget for FastText: a stated grid, chosen on development queries.

Eight trials over what FastText's authors vary first (character n-grams or none, runs of two words or none, few epochs
or many), then six steps away from the best of them, one setting each. No time limit decides, so that a slower
machine finds the same classifier.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from classifiers.answers import level_precisions
from classifiers.fasttext_classifier import FastTextClassifier
from classifiers.interest import InterestPath
from omnifeat.errors import SettingError

__all__ = ["GRID", "STEPS", "Trial", "TunedFastText", "tune_fasttext"]

GRID: tuple[dict[str, Any], ...] = tuple(
    {"char_ngrams": char_ngrams, "word_ngrams": word_ngrams, "epochs": epochs, "learning_rate": 0.5, "dim": 100}
    for char_ngrams, word_ngrams, epochs in product(((3, 5), (0, 0)), (2, 1), (25, 100))
)
STEPS: tuple[dict[str, Any], ...] = (
    {"learning_rate": 0.2},
    {"learning_rate": 1.0},
    {"dim": 50},
    {"dim": 200},
    {"char_ngrams": (2, 6)},
    {"epochs": 200},
)


@dataclass(frozen=True)
class Trial:
    """One setting, and the mean over levels of its precision on development queries at full coverage."""

    settings: dict[str, Any]
    precision: float


@dataclass(frozen=True)
class TunedFastText:
    """The best trial's classifier, and all trials in their order."""

    classifier: FastTextClassifier
    settings: dict[str, Any]
    trials: tuple[Trial, ...]


def tune_fasttext(
    texts: Sequence[str],
    paths: Sequence[Any],
    development_texts: Sequence[str],
    development_paths: Sequence[Sequence[InterestPath]],
    *,
    grid: Sequence[dict[str, Any]] = GRID,
    steps: Sequence[dict[str, Any]] = STEPS,
    on_trial: Callable[[Trial], None] | None = None,
    **fixed: Any,
) -> TunedFastText:
    """Train every setting of the grid, then each step from the best, and keep what is best on development queries.

    Parameters
    ----------
    texts, paths
        To learn from, as `FastTextClassifier.fit` takes them.
    development_texts, development_paths
        To choose by; several paths a query.
    grid, steps
        Settings to try; then changes of the best of them, each alone. Of equals the first stays.
    on_trial
        Called after each trial.
    fixed
        Other settings of `FastTextClassifier`, as loss, target, buckets, seed.

    Raises
    ------
    SettingError
        The grid is empty, or there are no development queries.
    """
    if not grid:
        raise SettingError("The grid of FastText is empty; give at least one setting.")
    if not len(development_texts):
        raise SettingError("There are no development queries to tune FastText on; give some, or train it untuned.")
    trials: list[Trial] = []

    def tried(settings: dict[str, Any]) -> tuple[Trial, FastTextClassifier]:
        classifier = FastTextClassifier(**{**fixed, **settings}).fit(texts, paths)
        precision = float(np.mean(level_precisions(classifier, development_texts, development_paths)))
        trials.append(Trial(settings, precision))
        if on_trial is not None:
            on_trial(trials[-1])
        return trials[-1], classifier

    best = tried(dict(grid[0]))
    for settings in grid[1:]:
        best = _better(best, tried(dict(settings)))
    start = best[0].settings
    for step in steps:
        settings = {**start, **step}
        if settings not in [trial.settings for trial in trials]:
            best = _better(best, tried(settings))
    return TunedFastText(best[1], best[0].settings, tuple(trials))


def _better(
    one: tuple[Trial, FastTextClassifier], other: tuple[Trial, FastTextClassifier]
) -> tuple[Trial, FastTextClassifier]:
    return other if other[0].precision > one[0].precision else one
