"""A fair budget for FastText: a stated grid, chosen on development queries.

Eight trials over what FastText's authors vary first (character n-grams or none, runs of two words or none, few epochs
or many), then six steps away from the best of them, one setting each. No time limit decides, so that a slower
machine finds the same classifier. Several trials may run at once, each on the one thread that makes it repeatable.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from classifiers.answers import level_precisions
from classifiers.fasttext_classifier import DivergedError, FastTextClassifier
from classifiers.interest import InterestPath
from omnifeat.errors import SettingError

__all__ = ["GRID", "STEPS", "Trial", "TunedFastText", "tune_fasttext"]

GRID: tuple[dict[str, Any], ...] = tuple(
    {"char_ngrams": char_ngrams, "word_ngrams": word_ngrams, "epochs": epochs, "learning_rate": 0.5, "dim": 100}
    for char_ngrams, word_ngrams, epochs in product(((3, 5), (0, 0)), (2, 1), (25, 100))
)
# 200 epochs gained most on CLINC150: they come first, for those who make only some of the trials.
STEPS: tuple[dict[str, Any], ...] = (
    {"epochs": 200},
    {"learning_rate": 1.0},
    {"learning_rate": 0.2},
    {"dim": 200},
    {"dim": 50},
    {"char_ngrams": (2, 6)},
)


@dataclass(frozen=True)
class Trial:
    """One setting, and the mean over levels of its precision on development queries at full coverage.

    The precision is None where training diverged.
    """

    settings: dict[str, Any]
    precision: float | None


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
    known: Sequence[Trial] = (),
    at_once: int = 1,
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
    known
        Trials made before on the same queries with the same `fixed`: they are not made again, but for the best.
    at_once
        Trials that run side by side. The result does not depend on it; each takes the memory of its models.
    on_trial
        Called after each new trial, in the order in which they end.
    fixed
        Other settings of `FastTextClassifier`, as loss, target, buckets, seed.

    Raises
    ------
    SettingError
        The grid is empty, there are no development queries, fewer than one trial is to run at once, or training
        diverged in every trial.
    """
    if not grid:
        raise SettingError("The grid of FastText is empty; give at least one setting.")
    if not len(development_texts):
        raise SettingError("There are no development queries to tune FastText on; give some, or train it untuned.")
    if at_once < 1:
        raise SettingError(f"At least one trial of FastText must run at a time; got {at_once}.")
    best = _Best()

    def fitted(settings: dict[str, Any]) -> FastTextClassifier:
        return FastTextClassifier(**{**fixed, **settings}).fit(texts, paths)

    def attempt(place: int, settings: dict[str, Any]) -> Trial:
        try:
            classifier = fitted(settings)
        except DivergedError:
            return Trial(settings, None)
        precision = float(np.mean(level_precisions(classifier, development_texts, development_paths)))
        best.offer(place, precision, classifier)
        return Trial(settings, precision)

    trials: list[Trial] = []

    def try_all(several: Sequence[dict[str, Any]]) -> None:
        asked = dict(enumerate(several, len(trials)))
        made = {place: _find(settings, known) for place, settings in asked.items()}
        found = {place: trial for place, trial in made.items() if trial is not None}
        jobs = {place: settings for place, settings in asked.items() if place not in found}
        for place, trial in _side_by_side(attempt, jobs, at_once):
            found[place] = trial
            if on_trial is not None:
                on_trial(trial)
        trials.extend(found[place] for place in sorted(found))

    try_all([dict(settings) for settings in grid])
    start = trials[_first_best(trials)].settings
    changed = [{**start, **step} for step in steps]
    try_all([settings for settings in changed if _find(settings, trials) is None])
    place = _first_best(trials)
    settings = trials[place].settings
    classifier = best.classifier if best.classifier is not None and best.place == place else fitted(settings)
    return TunedFastText(classifier, settings, tuple(trials))


class _Best:
    """The classifier of the best trial so far, of equals the first in order; the others are let go."""

    def __init__(self) -> None:
        self.place = -1
        self.precision = -1.0
        self.classifier: FastTextClassifier | None = None
        self._lock = threading.Lock()

    def offer(self, place: int, precision: float, classifier: FastTextClassifier) -> None:
        with self._lock:
            if (precision, -place) > (self.precision, -self.place):
                self.place, self.precision, self.classifier = place, precision, classifier


def _find(settings: dict[str, Any], trials: Sequence[Trial]) -> Trial | None:
    return next((trial for trial in trials if trial.settings == settings), None)


def _first_best(trials: Sequence[Trial]) -> int:
    found = {place: trial.precision for place, trial in enumerate(trials) if trial.precision is not None}
    if not found:
        raise SettingError("Training of fastText diverged in every trial; give settings with a lower learning rate.")
    return max(found, key=lambda place: (found[place], -place))


def _side_by_side(
    attempt: Callable[[int, dict[str, Any]], Trial], jobs: dict[int, dict[str, Any]], at_once: int
) -> Iterator[tuple[int, Trial]]:
    """The trials of the jobs as they end.

    fastText lets go of the interpreter while it trains, but hears no signal: trials run on threads that the program
    does not wait for, so that an interrupt or an error does not hang until the last of them ends.
    """
    waiting: SimpleQueue[tuple[int, dict[str, Any]]] = SimpleQueue()
    done: SimpleQueue[tuple[int, Trial | BaseException]] = SimpleQueue()
    for job in jobs.items():
        waiting.put(job)

    def work() -> None:
        with contextlib.suppress(Empty):
            while True:
                place, settings = waiting.get_nowait()
                try:
                    done.put((place, attempt(place, settings)))
                except BaseException as error:  # noqa: BLE001 - raised again where the trials are awaited
                    done.put((place, error))

    for _ in range(min(at_once, len(jobs))):
        threading.Thread(target=work, daemon=True).start()
    try:
        for _ in jobs:
            place, trial = done.get()
            if isinstance(trial, BaseException):
                raise trial
            yield place, trial
    finally:
        with contextlib.suppress(Empty):  # after an error the others are not begun
            while True:
                waiting.get_nowait()
