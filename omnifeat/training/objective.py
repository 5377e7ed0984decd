"""The loss of a batch: all tasks, both sources of negatives (section 3.5, equations 2 and 6).

Shapes: B pairs of a task in this process, N negatives of all processes, D width of the vectors.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omnifeat.models.encoding import encode_distinct_entities, encode_distinct_queries
from omnifeat.models.omni import OmniModel
from omnifeat.training.batches import PairBatch
from omnifeat.training.correction import IN_BATCH, RANDOM, TaskRows
from omnifeat.training.gather import bounds, gather_rows
from omnifeat.training.loss import matryoshka_loss, negative_masks
from omnifeat.training.prepare import TrainingData
from omnifeat.training.tasks import ENTITY, QUERY, Task

__all__ = ["Objective"]

Rows = NDArray[np.int64]


class Objective(nn.Module):
    """The model with its training data; called with a batch, it gives the loss.

    The total is L = 1 / B sum_T sum_i loss_T(i), B the pairs of the whole batch: the sum of the tasks' losses
    (equation 6), each the mean over its pairs weighted by their share of the batch, so that the composition of the
    batch decides each task's influence, as section 3.5 says it does.

    Parameters
    ----------
    model, data
        What to train, and on what.
    block_rows
        Rows of logits held at a time.
    negative_margin, words_in_loss
        See `TrainSettings`.
    process, processes
        Number of this process and of all; each encodes its own part of a batch and gathers the others' vectors.
    """

    def __init__(
        self,
        model: OmniModel,
        data: TrainingData,
        *,
        block_rows: int,
        negative_margin: float | None = None,
        words_in_loss: bool = False,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        super().__init__()
        self.model = model
        self._data = data
        self._block_rows = block_rows
        self._blocks = ("learned", "words") if words_in_loss and model.words is not None else ("learned",)
        self._negative_margin = negative_margin
        self._process, self._processes = process, processes
        self._learned = {task.pairs for task in data.tasks if task.encoder in (ENTITY, QUERY)}

    def forward(self, parts: Sequence[PairBatch], task_rows: Mapping[str, TaskRows]) -> tuple[Tensor, Tensor]:
        """Loss of a batch.

        Parameters
        ----------
        parts
            The whole batch, the same in all processes.
        task_rows
            Task name -> what it uses of its set's part.

        Returns
        -------
        total
            Scalar; its mean over the processes is the loss of the batch.
        by_task
            (tasks,), detached, in the order of the data's tasks: this process's share of each task's mean loss, which
            sum up over the processes.
        """
        device = self.model.log_temperature.device
        edges = [bounds(len(part), self._processes) for part in parts]
        negative_edges = [bounds(len(part.negatives), self._processes) for part in parts]
        mine = [slice(e[self._process], e[self._process + 1]) for e in edges]
        mine_negative = [slice(e[self._process], e[self._process + 1]) for e in negative_edges]
        queries, positives, negatives = self._encode(parts, mine, mine_negative, device)
        positives, negatives = self._gather(positives, negatives, edges, negative_edges)

        pairs_in_batch = sum(len(part) for part in parts)
        place = {part.pairs.name: index for index, part in enumerate(parts)}
        masks = [self._masks(part, own) for part, own in zip(parts, mine, strict=True)]
        total = queries[0].new_zeros((), dtype=torch.float32)
        by_task = []
        scale = self.model.scale()
        for task in self._data.tasks:
            index, rows = place[task.pairs], task_rows[task.name]
            vectors = (queries[index], positives[index], negatives[index])
            loss = self._task_loss(task, parts[index], rows, mine[index], masks[index], vectors, scale)
            # the sum over this process's pairs; times the processes, for the mean over them is what is optimised
            total = total + loss * (self._processes / pairs_in_batch)
            by_task.append(loss.detach() / max(len(rows.pairs), 1))
        return total, torch.stack(by_task)

    def _encode(
        self, parts: Sequence[PairBatch], mine: Sequence[slice], mine_negative: Sequence[slice], device: torch.device
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Vectors of this process's queries, positives and random negatives, for each part."""
        query_rows = [part.queries[own] for part, own in zip(parts, mine, strict=True)]
        entity_rows = [part.entities[own] for part, own in zip(parts, mine, strict=True)]
        negative_rows = [part.negatives[own] for part, own in zip(parts, mine_negative, strict=True)]
        kinds = [part.pairs.entity_type for part in parts]
        of_queries = [i for i, kind in enumerate(kinds) if kind == QUERY]

        asked = query_rows + [entity_rows[i] for i in of_queries] + [negative_rows[i] for i in of_queries]
        encoded = _split(
            encode_distinct_queries(self.model, self._data.queries, np.concatenate(asked), device, self._blocks),
            map(len, asked),
        )
        queries = encoded[: len(parts)]
        positives: dict[int, Tensor] = dict(zip(of_queries, encoded[len(parts) :], strict=False))
        negatives: dict[int, Tensor] = dict(zip(of_queries, encoded[len(parts) + len(of_queries) :], strict=True))
        for kind, table in self._data.entities.items():
            chosen = [i for i, other in enumerate(kinds) if other == kind and parts[i].pairs.name in self._learned]
            if not chosen:
                continue
            asked = [entity_rows[i] for i in chosen] + [negative_rows[i] for i in chosen]
            # A pair's own query must not always stand among its entity's engaged queries; a negative keeps all of them.
            exclude = [self._left_out(parts[i], mine[i], kind) for i in chosen]
            exclude += [np.full(len(negative_rows[i]), -1, np.int64) for i in chosen]
            vectors = encode_distinct_entities(
                self.model, table, np.concatenate(asked), np.concatenate(exclude), device, self._blocks
            )
            encoded = _split(vectors, map(len, asked))
            positives |= dict(zip(chosen, encoded, strict=False))
            negatives |= dict(zip(chosen, encoded[len(chosen) :], strict=True))
        for i in range(len(parts)):
            if i not in positives:  # all tasks of the set have existing embeddings, so that no vector is asked for
                positives[i], negatives[i] = (
                    queries[0].new_zeros((len(rows[i]), queries[0].shape[1])) for rows in (entity_rows, negative_rows)
                )
        return queries, [positives[i] for i in range(len(parts))], [negatives[i] for i in range(len(parts))]

    def _left_out(self, part: PairBatch, own: slice, kind: str) -> Rows:
        """The own query of each of this process's pairs where it is left out; -1 where it stays.

        In use a query that is known stands in its entities' text, and one that is new does not: both are trained.
        """
        found = self._data.exclude_query[kind][part.queries[own]]
        return found if part.left_out is None else np.where(part.left_out[own], found, -1)

    def _gather(
        self,
        positives: list[Tensor],
        negatives: list[Tensor],
        edges: Sequence[Sequence[int]],
        negative_edges: Sequence[Sequence[int]],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The vectors of all processes, in the order of the batch; one exchange for all parts."""
        if self._processes == 1:
            return positives, negatives
        sizes = np.concatenate([np.diff(edges, axis=1), np.diff(negative_edges, axis=1)])  # (2 x parts, processes)
        gathered = gather_rows(torch.cat([*positives, *negatives]).float(), sizes.sum(axis=0).tolist())
        by_process = [_split(rows, sizes[:, p]) for p, rows in enumerate(_split(gathered, sizes.sum(axis=0)))]
        joined = [torch.cat([pieces[i] for pieces in by_process]) for i in range(len(sizes))]
        return joined[: len(positives)], joined[len(positives) :]

    def _masks(self, part: PairBatch, own: slice) -> dict[str, tuple[Rows, Rows]]:
        """For each source, entries (position of a pair, position of a negative) of `part` that are no negatives.

        Found once for all tasks of a set. Rows are this process's pairs; what is positive for a query, all pairs say.
        """
        queries, entities = torch.from_numpy(part.queries), torch.from_numpy(part.entities)
        masks = {}
        for source, columns in ((IN_BATCH, entities), (RANDOM, torch.from_numpy(part.negatives))):
            rows, places = negative_masks(
                queries[own], entities[own], columns, pair_query_ids=queries, pair_positive_ids=entities
            )
            masks[source] = (rows.numpy() + own.start, places.numpy())
        return masks

    def _task_loss(
        self,
        task: Task,
        part: PairBatch,
        rows: TaskRows,
        own: slice,
        masks: Mapping[str, tuple[Rows, Rows]],
        vectors: tuple[Tensor, Tensor, Tensor],
        scale: Tensor,
    ) -> Tensor:
        """Sum over this process's pairs of the losses against in-batch and against random negatives."""
        queries, positives, negatives = vectors
        device = queries.device
        in_own = np.flatnonzero((rows.pairs >= own.start) & (rows.pairs < own.stop))
        if len(in_own) == 0:
            return scale.new_zeros(())
        if task.encoder in (ENTITY, QUERY):
            positives = positives.index_select(0, torch.from_numpy(rows.pairs).to(device))
            negatives = negatives.index_select(0, torch.from_numpy(rows.negatives).to(device))
        else:
            if len(self._blocks) > 1:  # existing embeddings are compared with the learned block alone
                queries = nn.functional.normalize(queries[:, : self.model.config.dim], dim=-1)
            column = self._data.vectors[part.pairs.entity_type, task.encoder]
            project = self.model.compatibility[task.encoder]
            positives = project(torch.from_numpy(column.rows(part.entities[rows.pairs])).to(device))
            negatives = project(torch.from_numpy(column.rows(part.negatives[rows.negatives])).to(device))
        queries_BD = queries.index_select(0, torch.from_numpy(rows.pairs[in_own] - own.start).to(device))
        positives_BD = positives.index_select(0, torch.from_numpy(in_own).to(device))

        row_of_pair = _places(len(part), rows.pairs[in_own])
        columns = {IN_BATCH: _places(len(part), rows.pairs), RANDOM: _places(len(part.negatives), rows.negatives)}
        loss = scale.new_zeros(())
        for source, vectors_ND in ((IN_BATCH, positives), (RANDOM, negatives)):
            if len(vectors_ND) == 0:  # no random negatives are wanted
                continue
            masked_rows, masked_columns = row_of_pair[masks[source][0]], columns[source][masks[source][1]]
            used = (masked_rows >= 0) & (masked_columns >= 0)
            mean = matryoshka_loss(
                queries_BD,
                positives_BD,
                vectors_ND,
                # a prefix of a mapped PinSage vector means nothing: it isn't trained to be one
                prefixes=self.model.config.matryoshka if task.encoder in (ENTITY, QUERY) else {},
                log_q_positive_B=torch.from_numpy(rows.log_q_positive[source][in_own]).to(device),
                log_q_negative_N=torch.from_numpy(rows.log_q_negative[source]).to(device),
                masked_rows=torch.from_numpy(masked_rows[used]).to(device),
                masked_columns=torch.from_numpy(masked_columns[used]).to(device),
                scale=scale,
                margin=self._negative_margin if task.encoder in (ENTITY, QUERY) else None,
                block_rows=self._block_rows,
            )
            loss = loss + mean * len(in_own)
        return loss


def _places(size: int, chosen: Rows) -> Rows:
    """Where each of `size` positions stands among the chosen ones; -1 where it doesn't."""
    places = np.full(size, -1, np.int64)
    places[chosen] = np.arange(len(chosen))
    return places


def _split(rows: Tensor, sizes: object) -> list[Tensor]:
    return list(torch.split(rows, [int(size) for size in sizes]))  # type: ignore[attr-defined]
