"""Tuning the block of text on both sides at once: queries and text of entities through one transformer.

A short run of its own, before the rest is trained: in-batch negatives alone, a fixed temperature, the top layers of the
transformer. What it gives is kept only where development pairs are found better than with the encoder as it was.

Shapes: B pairs of a set in a batch, T width of the block.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import AdamW

from omnifeat.errors import SettingError
from omnifeat.models.encoding import encode_text
from omnifeat.models.transformer import TextEncoder
from omnifeat.training.batches import BatchSampler, PairBatch
from omnifeat.training.loss import negative_masks, sampled_softmax_loss
from omnifeat.training.optimizers import learning_rate_factor, set_learning_rate
from omnifeat.training.prepare import TrainingData
from omnifeat.training.settings import TrainSettings
from omnifeat.training.tasks import ENTITY, QUERY

__all__ = ["tune_text"]

_SCALE = 20.0  # of cosines: that at which sentence encoders are usually trained
_DECAY = 0.01


def tune_text(
    encoder: TextEncoder,
    data: TrainingData,
    settings: TrainSettings,
    device: torch.device,
    on_step: Callable[[int], None] | None = None,
) -> float:
    """Train the encoder's trainable layers for `settings.text_steps` batches; the loss of the last one is returned.

    Pairs whose entity has no text are left out of a batch. The layers that are trained ask for gradients during the
    call alone.

    Raises
    ------
    SettingError
        The loss is no longer a number.
    """
    learned = {task.pairs for task in data.tasks if task.encoder in (ENTITY, QUERY)}
    pair_sets = [pairs for pairs in data.pair_sets if pairs.name in learned]
    if not pair_sets:
        return float("nan")
    trained = [parameter for parameter in encoder.trainable if parameter.ndim >= 2]
    plain = [parameter for parameter in encoder.trainable if parameter.ndim < 2]
    rate = settings.text_learning_rate
    groups = [{"params": trained, "weight_decay": _DECAY}, {"params": plain, "weight_decay": 0.0}]
    optimizer = AdamW([group | {"lr": rate, "peak": rate} for group in groups], fused=True)
    sampler = BatchSampler(
        pair_sets,
        {pairs.entity_type: data.catalogue.size(pairs.entity_type) for pairs in pair_sets},
        batch_size=settings.text_batch_size,
        weights=settings.pair_weights,
        random_negatives=0,
        seed=settings.seed,
    )
    log_q = {pairs.name: _log_frequencies(pairs.entities) for pairs in pair_sets}
    encoder.set_trainable(True)
    encoder.eval()  # without dropout: so short a run has nothing to overfit
    value = float("nan")
    for step in range(settings.text_steps):
        set_learning_rate(optimizer, learning_rate_factor(step, settings.text_steps, settings.text_steps // 10))
        losses = list(_losses(encoder, data, sampler.batch(step), log_q, settings, device))
        if not losses:
            continue
        loss = torch.stack(losses).sum() / sum(sampler.shares)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(encoder.trainable, 1.0)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise SettingError(
                f"The loss of the block of text is no number any more in step {step + 1}; tune it with a lower "
                "text_learning_rate."
            )
        optimizer.step()
        if on_step is not None:
            on_step(step + 1)
    encoder.set_trainable(False)
    return value


def _losses(
    encoder: TextEncoder,
    data: TrainingData,
    parts: list[PairBatch],
    log_q: dict[str, Tensor],
    settings: TrainSettings,
    device: torch.device,
) -> Iterator[Tensor]:
    """Sum over its pairs of the loss of each set's part of a batch."""
    for part in parts:
        kind = part.pairs.entity_type
        table = data.queries if kind == QUERY else data.entities[kind]
        assert table.text is not None  # noqa: S101 - made wherever there is a block of text
        assert data.queries.text is not None  # noqa: S101
        kept = np.flatnonzero(table.text.lengths(part.entities) > 0)
        if len(kept) < 2:
            continue
        queries, entities = part.queries[kept], part.entities[kept]
        distinct, place = np.unique(entities, return_inverse=True)
        vectors_BT = encode_text(encoder, table.text, distinct, device)[torch.from_numpy(place)]
        asked, back = np.unique(queries, return_inverse=True)
        queries_BT = encode_text(encoder, data.queries.text, asked, device)[torch.from_numpy(back)]
        ids = torch.from_numpy(entities)
        rows, columns = negative_masks(torch.from_numpy(queries), ids, ids)
        frequencies_B = log_q[part.pairs.name][ids].to(device)
        yield len(kept) * sampled_softmax_loss(
            queries_BT,
            vectors_BT,
            vectors_BT,
            log_q_positive_B=frequencies_B,
            log_q_negative_N=frequencies_B,
            masked_rows=rows.to(device),
            masked_columns=columns.to(device),
            scale=torch.tensor(_SCALE, device=device),
            margin=settings.negative_margin,
        )


def _log_frequencies(entities: NDArray[np.int64]) -> Tensor:
    """Logarithm of how often each entity is a positive of the set, as a share; -infinity for one that never is."""
    counts = torch.from_numpy(np.bincount(entities))
    return torch.log(counts / len(entities))
