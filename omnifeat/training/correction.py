"""log Q of every task and source of negatives, counted while the batches pass (section 3.5, equations 4 and 5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnifeat.training.batches import PairBatch
from omnifeat.training.frequency import (
    CountMinSketch,
    ExactCounter,
    FrequencyEstimator,
    Uncorrected,
    UniformFrequency,
)
from omnifeat.training.settings import TrainSettings
from omnifeat.training.tasks import Task

__all__ = ["IN_BATCH", "RANDOM", "Corrections", "TaskRows"]

IN_BATCH, RANDOM = "in_batch", "random"

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TaskRows:
    """What of a set's batch a task uses, and the corrections of its logits.

    A task of an existing embedding leaves out the pairs and negatives whose entity has no such embedding.

    Attributes
    ----------
    pairs, negatives
        int64: positions in the `PairBatch`.
    log_q_positive, log_q_negative
        Source of negatives -> float32, for `pairs`, and for the source's negatives (`pairs` again, in-batch).
    """

    pairs: Rows
    negatives: Rows
    log_q_positive: Mapping[str, NDArray[np.float32]]
    log_q_negative: Mapping[str, NDArray[np.float32]]


class Corrections:
    """One estimator for each task and source of negatives; no two share their counts.

    Parameters
    ----------
    tasks
        All tasks.
    present
        Task name -> bool per entity of its type: whether the task can encode it. None: all.
    catalogue_sizes
        Task name -> number of entities that random negatives are drawn from.
    settings
        Says which estimators.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        present: Mapping[str, NDArray[np.bool_] | None],
        catalogue_sizes: Mapping[str, int],
        settings: TrainSettings,
    ) -> None:
        self._tasks = list(tasks)
        self._present = present

        def counting() -> FrequencyEstimator:
            if settings.frequency == "none":
                return Uncorrected()
            return ExactCounter() if settings.frequency == "exact" else CountMinSketch(2, settings.sketch_width)

        self._estimators: dict[tuple[str, str], FrequencyEstimator] = {}
        for task in tasks:
            known = settings.random_frequency == "known"
            self._estimators[task.name, IN_BATCH] = counting()
            self._estimators[task.name, RANDOM] = UniformFrequency(catalogue_sizes[task.name]) if known else counting()

    def observe(self, parts: Sequence[PairBatch]) -> dict[str, TaskRows]:
        """Count a batch, of all processes together, and give what each task needs to know about it."""
        by_set = {part.pairs.name: part for part in parts}
        return {task.name: self._observe_task(task, by_set[task.pairs]) for task in self._tasks}

    def _observe_task(self, task: Task, part: PairBatch) -> TaskRows:
        pairs, negatives = np.arange(len(part)), np.arange(len(part.negatives))
        present = self._present[task.name]
        if present is not None:
            pairs, negatives = pairs[present[part.entities]], negatives[present[part.negatives]]
        positive_ids, negative_ids = part.entities[pairs], part.negatives[negatives]
        in_batch, random = self._estimators[task.name, IN_BATCH], self._estimators[task.name, RANDOM]
        in_batch.update(positive_ids)
        random.update(negative_ids)
        log_q_in_batch = in_batch.log_q(positive_ids)
        return TaskRows(
            pairs,
            negatives,
            log_q_positive={IN_BATCH: log_q_in_batch, RANDOM: random.log_q(positive_ids)},
            log_q_negative={IN_BATCH: log_q_in_batch, RANDOM: random.log_q(negative_ids)},
        )

    def state_dict(self) -> dict[str, dict[str, NDArray[np.int64]]]:
        """Counts of all estimators."""
        return {f"{task}|{source}": e.state_dict() for (task, source), e in self._estimators.items()}

    def load_state_dict(self, state: Mapping[str, dict[str, NDArray[np.int64]]]) -> None:
        """Take up counts that `state_dict` gave."""
        for (task, source), estimator in self._estimators.items():
            estimator.load_state_dict(state[f"{task}|{source}"])
