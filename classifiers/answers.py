"""What a system answers to each query, level by level, held as answers and not as probabilities.

Shapes: Q queries, C interests of a level.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers.interest import InterestPath
from classifiers.metrics import LevelAnswers, answered_at_coverage, level_answers

__all__ = ["SystemAnswers", "answers_of", "level_count", "level_precisions", "levels_of"]

FloatArray = npt.NDArray[np.float64]
_PROBABILITIES = 8_000_000  # held at a time


@dataclass(frozen=True)
class SystemAnswers:
    """A system's name, its answers at each level, and the whole path that it gives each query (empty if none)."""

    name: str
    levels: tuple[LevelAnswers, ...]
    paths: tuple[InterestPath, ...]


def level_count(classifier: Any) -> int:
    """Number of levels of a fitted classifier."""
    return int(classifier.depth_) if hasattr(classifier, "depth_") else len(classifier.levels_)


def levels_of(classifier: Any, inputs: Any) -> list[FloatArray]:
    """Probabilities of each level, float64 (Q, C); every model is applied once where the classifier offers that."""
    if hasattr(classifier, "predict_levels"):
        found: list[FloatArray] = classifier.predict_levels(inputs)
        return found
    return [
        # float32 sums may pass 1 by a rounding
        np.clip(np.asarray(classifier.predict_proba(inputs, level), dtype=np.float64), 0.0, 1.0)
        for level in range(level_count(classifier))
    ]


def answers_of(
    name: str,
    classifier: Any,
    inputs: Any,
    true: Sequence[Sequence[InterestPath]],
    levels: int,
    on_queries: Callable[[int], None] | None = None,
    *,
    whole_paths: bool = True,
) -> SystemAnswers:
    """Answers of a fitted classifier to Q inputs (texts or vectors), at each of `levels` levels, block by block.

    At a level that the classifier does not have it answers nothing: no confidence, no hit. Without `whole_paths` it is
    asked for no path, and all are empty.
    """
    own = level_count(classifier)
    classes = [classifier.classes_at(level) for level in range(own)]
    block = max(1, _PROBABILITIES // max(1, sum(map(len, classes))))
    parts: list[list[LevelAnswers]] = [[] for _ in range(levels)]
    paths: list[InterestPath] = []
    for start in range(0, len(true), block):
        rows, truth = inputs[start : start + block], true[start : start + block]
        found = levels_of(classifier, rows)
        for level in range(levels):
            if level < own:
                parts[level].append(level_answers(classes[level], found[level], truth, level))
            else:
                parts[level].append(_no_answers(truth, level))
        if whole_paths:
            paths += [tuple(path) for path in classifier.predict(rows)]
        else:
            paths += [()] * len(truth)
        if on_queries is not None:
            on_queries(len(truth))
    return SystemAnswers(name, tuple(_joined(level) for level in parts), tuple(paths))


def level_precisions(classifier: Any, inputs: Any, true: Sequence[Sequence[InterestPath]]) -> list[float]:
    """Precision of each level where as many queries are answered as have an interest there; zero without any."""
    answers = answers_of("", classifier, inputs, true, level_count(classifier), whole_paths=False)
    found = []
    for one in answers.levels:
        answered = answered_at_coverage(one, 1.0)
        found.append(float(one.hit[answered].mean()) if answered.any() else 0.0)
    return found


def _no_answers(true: Sequence[Sequence[InterestPath]], level: int) -> LevelAnswers:
    wanted = np.array([any(len(path) > level for path in own) for own in true], dtype=np.bool_)
    nothing = np.zeros(len(true))
    return LevelAnswers(((),) * len(true), nothing, nothing.astype(np.bool_), wanted)


def _joined(parts: Sequence[LevelAnswers]) -> LevelAnswers:
    return LevelAnswers(
        tuple(path for part in parts for path in part.predicted),
        np.concatenate([part.confidence for part in parts]),
        np.concatenate([part.hit for part in parts]),
        np.concatenate([part.wanted for part in parts]),
    )
