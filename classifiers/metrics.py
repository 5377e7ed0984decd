"""How well interests are predicted, level by level, as values per query: means and intervals are made of them above.

A system answers each query at a level with its most probable interest. An answer is a hit if the query has that
interest; where a query has none at the level (its path ends above), any answer is a miss. The paper compares
precision, which a system can raise by answering less: so systems are compared where all answer equally many queries
(`answered_at_coverage`) or find equally much (`answered_at_recall`), and no threshold decides the winner.

Shapes: Q queries, C interests of a level, B bins.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from classifiers.interest import InterestPath
from omnifeat.errors import DataError, SettingError

__all__ = [
    "TRAINING_BINS",
    "ClassCounts",
    "LevelAnswers",
    "answered_at_coverage",
    "answered_at_recall",
    "calibration_error",
    "calibration_gaps",
    "class_counts",
    "head_interests",
    "hierarchical_overlaps",
    "level_answers",
    "macro_figures",
    "micro_figures",
    "sibling_confusions",
    "training_bin",
    "training_counts",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
TrueInterests = Sequence[Sequence[InterestPath]]
# Bins of the number of training queries of an interest: from each of these up to below the next.
TRAINING_BINS = (0, 1, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class LevelAnswers:
    """A system's answers at one level.

    Attributes
    ----------
    predicted
        The most probable interest of each query, of equals the first of the classes.
    confidence : float64 (Q,)
        Its probability.
    hit : bool (Q,)
        Whether the query has it.
    wanted : bool (Q,)
        Whether the query has any interest at the level.
    """

    predicted: tuple[InterestPath, ...]
    confidence: FloatArray
    hit: BoolArray
    wanted: BoolArray


def level_answers(
    classes: Sequence[InterestPath], probabilities_QC: FloatArray, true: TrueInterests, level: int
) -> LevelAnswers:
    """Answers of a system that gives these probabilities to these classes; `true` are whole paths, several a query.

    Raises
    ------
    DataError
        Shapes that do not fit, or probabilities that are not numbers between 0 and 1.
    """
    probabilities = np.asarray(probabilities_QC, dtype=np.float64)
    if probabilities.shape != (len(true), len(classes)) or not classes:
        raise DataError(
            f"Probabilities must have shape ({len(true)} queries, {len(classes)} interests); got {probabilities.shape}."
        )
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise DataError(f"Probabilities at level {level} must lie between 0 and 1, and some do not.")
    best = probabilities.argmax(axis=1)
    predicted = tuple(classes[place] for place in best)
    wanted = [{path[: level + 1] for path in paths if len(path) > level} for paths in true]
    return LevelAnswers(
        predicted,
        probabilities[np.arange(len(best)), best],
        np.array([answer in own for answer, own in zip(predicted, wanted, strict=True)], dtype=np.bool_),
        np.array([bool(own) for own in wanted], dtype=np.bool_),
    )


def answered_at_coverage(answers: LevelAnswers, coverage: float) -> BoolArray:
    """Which queries are answered, bool (Q,): the surest, as many as this share of the queries with an interest.

    At 1 a system answers as many queries as have an interest at the level: its precision there equals its recall.
    Queries as sure as the last one are answered too, so that the order of rows decides nothing.

    Raises
    ------
    SettingError
        The coverage is not above 0 and at most 1.
    """
    if not 0 < coverage <= 1:
        raise SettingError(f"A coverage must be above 0 and at most 1; got {coverage!r}.")
    count = max(1, round(coverage * int(answers.wanted.sum())))
    if not answers.wanted.any():
        return np.zeros(len(answers.hit), dtype=np.bool_)
    return np.asarray(answers.confidence >= np.sort(answers.confidence)[::-1][count - 1])


def answered_at_recall(answers: LevelAnswers, recall: float) -> BoolArray | None:
    """Which queries are answered, bool (Q,), if the surest are until this share of the wanted is hit; None if never.

    Raises
    ------
    SettingError
        The recall is not above 0 and at most 1.
    """
    if not 0 < recall <= 1:
        raise SettingError(f"A recall must be above 0 and at most 1; got {recall!r}.")
    needed = recall * int(answers.wanted.sum())
    order = np.argsort(-answers.confidence, kind="stable")
    hits = np.cumsum(answers.hit[order])
    if not answers.wanted.any() or hits[-1] < needed - 1e-9:
        return None
    last = int(np.argmax(hits >= needed - 1e-9))
    return np.asarray(answers.confidence >= answers.confidence[order[last]])


def calibration_gaps(answers: LevelAnswers, bins: int = 15) -> FloatArray:
    """Confidence less hit of each query, in the column of its bin of equal width, float64 (Q, B).

    The expected calibration error is the sum over bins of the absolute total, divided by Q: `calibration_error`.
    """
    if bins < 1:
        raise SettingError(f"There must be 1 bin of confidence or more; got {bins!r}.")
    gaps = np.zeros((len(answers.hit), bins))
    place = np.minimum((answers.confidence * bins).astype(np.int64), bins - 1)
    gaps[np.arange(len(place)), place] = answers.confidence - answers.hit
    return gaps


def calibration_error(answers: LevelAnswers, bins: int = 15) -> float:
    """Expected calibration error of the answers: mean absolute gap between confidence and precision, by bins."""
    if not len(answers.hit):
        return float("nan")
    return float(np.abs(calibration_gaps(answers, bins).sum(axis=0)).sum() / len(answers.hit))


@dataclass(frozen=True)
class ClassCounts:
    """Per interest: queries that were given it rightly, that were given it, that have it; int64 (C,) each."""

    interests: tuple[InterestPath, ...]
    hits: npt.NDArray[np.int64]
    given: npt.NDArray[np.int64]
    true: npt.NDArray[np.int64]


def class_counts(given: TrueInterests, true: TrueInterests, level: int) -> ClassCounts:
    """Counts over interests that were given or are true at the level; both are paths, none to several a query."""
    hits: Counter[InterestPath] = Counter()
    all_given: Counter[InterestPath] = Counter()
    all_true: Counter[InterestPath] = Counter()
    for mine, own in zip(given, true, strict=True):
        mine_here = {path[: level + 1] for path in mine if len(path) > level}
        own_here = {path[: level + 1] for path in own if len(path) > level}
        hits.update(mine_here & own_here)
        all_given.update(mine_here)
        all_true.update(own_here)
    interests = tuple(sorted(all_given | all_true))
    columns = [np.array([one[path] for path in interests], dtype=np.int64) for one in (hits, all_given, all_true)]
    return ClassCounts(interests, *columns)


def micro_figures(counts: ClassCounts) -> tuple[float, float, float]:
    """Precision, recall and F1 over all answers; NaN where there is nothing to divide by."""
    return _figures(int(counts.hits.sum()), int(counts.given.sum()), int(counts.true.sum()))


def macro_figures(counts: ClassCounts) -> tuple[float, float, float]:
    """Mean of precision over interests that were given, of recall over those that are true, of F1 over both."""
    each = [_figures(*map(int, row)) for row in zip(counts.hits, counts.given, counts.true, strict=True)]
    means = []
    for column in range(3):
        known = [row[column] for row in each if not np.isnan(row[column])]
        means.append(float(np.mean(known)) if known else float("nan"))
    return means[0], means[1], means[2]


def _figures(hits: int, given: int, true: int) -> tuple[float, float, float]:
    precision = hits / given if given else float("nan")
    recall = hits / true if true else float("nan")
    return precision, recall, 2 * hits / (given + true) if given + true else float("nan")


def hierarchical_overlaps(given: TrueInterests, true: TrueInterests) -> FloatArray:
    """Per query, interests on the given paths, on the true ones, and on both, float64 (Q, 3): given, true, shared.

    Ancestors count as given and true: hierarchical precision is the total of shared over that of given, recall over
    that of true (Kiritchenko and others, 2006).
    """
    rows = []
    for mine, own in zip(given, true, strict=True):
        given_nodes, true_nodes = _with_ancestors(mine), _with_ancestors(own)
        rows.append((len(given_nodes), len(true_nodes), len(given_nodes & true_nodes)))
    return np.array(rows, dtype=np.float64).reshape(len(rows), 3)


def _with_ancestors(paths: Iterable[InterestPath]) -> set[InterestPath]:
    return {path[:cut] for path in paths for cut in range(1, len(path) + 1)}


def training_counts(paths: TrueInterests, level: int) -> dict[InterestPath, int]:
    """Training queries of each interest of a level."""
    counts: Counter[InterestPath] = Counter()
    for own in paths:
        counts.update({path[: level + 1] for path in own if len(path) > level})
    return dict(counts)


def training_bin(count: int) -> str:
    """The bin of `TRAINING_BINS` that a number of training queries is in, as "5-9" or "100+"."""
    first = max(start for start in TRAINING_BINS if start <= count)
    place = TRAINING_BINS.index(first)
    if place + 1 == len(TRAINING_BINS):
        return f"{first}+"
    last = TRAINING_BINS[place + 1] - 1
    return str(first) if last == first else f"{first}-{last}"


def head_interests(counts: Mapping[InterestPath, int]) -> set[InterestPath]:
    """The fewest interests that together have at least half of the training queries; all others are the tail."""
    total, reached = sum(counts.values()), 0
    head: set[InterestPath] = set()
    for path, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if 2 * reached >= total:
            break
        head.add(path)
        reached += count
    return head


def sibling_confusions(
    answers: LevelAnswers, true: TrueInterests, level: int
) -> Counter[tuple[InterestPath, InterestPath]]:
    """How often a query of one interest was given a sibling of it: (true, given) to a count, misses only."""
    found: Counter[tuple[InterestPath, InterestPath]] = Counter()
    for predicted, hit, own in zip(answers.predicted, answers.hit, true, strict=True):
        if hit:
            continue
        for wanted in sorted({path[: level + 1] for path in own if len(path) > level}):
            if wanted[:-1] == predicted[:-1]:
                found[wanted, predicted] += 1
    return found
