"""One classifier on one part of a dataset: all figures by level, beside naming the commonest interest.

Shapes: Q queries.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from classifiers.answers import SystemAnswers, answers_of, level_count
from classifiers.examples import InterestExamples, at_level, commonest_interests
from classifiers.metrics import LevelAnswers, training_counts
from evaluation.interests.figures import hierarchical_figures, level_figures, reliability
from omnifeat.errors import DataError

__all__ = ["evaluate"]

_NAMES = ("commonest", "classifier")


def evaluate(
    classifier: Any,
    inputs: Any,
    examples: InterestExamples,
    training: InterestExamples,
    *,
    resamples: int,
    seed: int,
    on_queries: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Figures of a fitted classifier on Q queries, for JSON.

    Parameters
    ----------
    inputs
        What the classifier takes of the queries of `examples`: texts or vectors.
    training
        Queries that counts of training examples and the commonest interests are taken from.

    Returns
    -------
    dict
        "levels": of each level "accuracy" (share of the queries with an interest that are given one of theirs),
        "commonest" (the same of the commonest interest), "difference", and "figures" (see `level_figures`);
        "whole_paths"; "reliability".

    Raises
    ------
    DataError
        No query has an interest that the classifier knows.
    """
    levels = level_count(classifier)
    known = {path for level in range(levels) for path in classifier.classes_at(level)}
    if not known & {path[:depth] for own in examples.paths for path in own for depth in range(1, len(path) + 1)}:
        raise DataError(
            f"None of the {len(examples.queries):,} queries has an interest that the classifier knows, such as "
            f"{min(known)!r}; give queries of the tree that it was trained on."
        )
    ours = answers_of(_NAMES[1], classifier, inputs, examples.paths, levels, on_queries)
    commonest = SystemAnswers(
        _NAMES[0],
        tuple(_always(path, examples, level) for level, path in enumerate(commonest_interests(training, levels))),
        ((),) * len(examples.queries),
    )
    rows = []
    for level in range(levels):
        counts = training_counts(training.paths, level)
        found = level_figures((commonest, ours), examples.paths, counts, level, 0, resamples=resamples, seed=seed)
        rows.append(
            {
                "level": level,
                "queries": found["queries"],
                "interests": len(classifier.classes_at(level)),
                "accuracy": found["systems"]["classifier"]["accuracy_of_wanted"],
                "commonest": found["systems"]["commonest"]["accuracy_of_wanted"],
                "difference": found["gains"]["classifier"]["accuracy_of_wanted"],
                "figures": found["systems"]["classifier"],
                "groups": found["groups"],
            }
        )
    return {
        "levels": rows,
        "whole_paths": hierarchical_figures([ours], examples.paths, resamples=resamples, seed=seed)["classifier"],
        "reliability": [reliability(one) for one in ours.levels],
    }


def _always(path: tuple[str, ...] | None, examples: InterestExamples, level: int) -> LevelAnswers:
    true = at_level(examples.paths, level)
    return LevelAnswers(
        (path or (),) * len(true),
        np.ones(len(true)),
        np.array([path in own for own in true], dtype=np.bool_),
        np.array([bool(own) for own in true], dtype=np.bool_),
    )
