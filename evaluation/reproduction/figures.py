"""Figures of systems on questions: Recall@10 with intervals, and paired differences, over the seeds of a study.

With several seeds a pair's hit is the mean of its hits over the seeds, so that the interval, from whole queries drawn
with replacement, is of what a seed gives on average.

Shapes: P pairs, S systems.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.bootstrap import Interval
from evaluation.corpus_samples import expected_hits
from evaluation.judged_pairs import group_mean_figures
from evaluation.reproduction.questions import Question, QuestionSet
from evaluation.reproduction.rank_files import Ranks, without_training
from evaluation.reproduction.results import Cell, Difference, Estimate

__all__ = ["Bootstrap", "Measured", "estimate", "question_cells"]

K = 10


@dataclass(frozen=True)
class Bootstrap:
    """Resamples of the queries, the share of them inside an interval, and the seed of the draws."""

    resamples: int = 1000
    level: float = 0.95
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Measured:
    """Ranks of all systems: system -> those of each seed (one for a system without seeds).

    With `without_training`, figures are those in the corpus without each query's training positives. With `corpus`,
    they are what a random corpus of that many entities gives on average, worked out from the ranks in the whole one.
    """

    questions: QuestionSet
    ranks: Mapping[str, Sequence[Ranks]]
    bootstrap: Bootstrap
    corpus: int | None = None
    without_training: bool = False

    def answers(self, system: str, question: Question) -> bool:
        """Whether the system was measured on the question's pairs."""
        return system in self.ranks and all(question.group in ranks for ranks in self.ranks[system])

    def hits(self, system: str, group: str) -> list[npt.NDArray[np.float64]]:
        """Of each seed float64 (P,): whether each pair's positive is among the first `K`, or how probable that is."""
        key = without_training(group) if self.without_training else group
        ranks = [of_seed[key] for of_seed in self.ranks[system]]
        if self.corpus is None:
            return [(of_seed <= K).astype(np.float64) for of_seed in ranks]
        pairs = self.questions.groups[group].pairs
        others = pairs.corpus_count - pairs.in_corpus[pairs.pair_positives]
        return [expected_hits(of_seed, others, self.corpus, K) for of_seed in ranks]


def question_cells(measured: Measured, question: Question, compared: Mapping[str, str | None]) -> dict[str, Cell]:
    """A cell for each system that answers the question.

    Parameters
    ----------
    compared
        System -> the system that it is compared with; None for none.
    """
    systems = [name for name in compared if measured.answers(name, question)]
    if not systems:
        return {}
    pairs = measured.questions.groups[question.group].pairs
    hits = [measured.hits(name, question.group) for name in systems]
    groups = {str(number): members for number, members in enumerate(question.members)}
    drawn = measured.bootstrap
    hits_PS = np.column_stack([np.mean(of_seeds, axis=0) for of_seeds in hits])
    ratios = group_mean_figures(hits_PS, pairs, groups, resamples=drawn.resamples, level=drawn.level, seed=drawn.seed)
    own = ratios.intervals()
    anywhere = np.logical_or.reduce(question.members)
    queries = len(np.unique(pairs.pair_queries[anywhere]))
    cells = {}
    for place, name in enumerate(systems):
        other = compared[name]
        difference = None
        if other is not None and other in systems:
            column = systems.index(other)
            less = ratios.less(column).intervals()[place]
            base = own[column].value
            shown = estimate(less)
            difference = Difference(
                to=other, value=shown.value, low=shown.low, high=shown.high,
                relative=less.value / base if base > 0 else None,
            )  # fmt: skip
        each = [float(np.mean([of_seed[m].mean() for m in question.members])) for of_seed in hits[place]]
        cells[name] = Cell(
            ours=estimate(own[place]), per_seed=each if len(each) > 1 else [], difference=difference,
            pairs=question.pairs, queries=queries,
        )  # fmt: skip
    return cells


def estimate(interval: Interval) -> Estimate:
    """As results hold it: without bounds where nothing was resampled."""
    low, high = (None if math.isnan(bound) else bound for bound in (interval.low, interval.high))
    return Estimate(value=interval.value, low=low, high=high)
