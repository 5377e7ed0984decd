"""Supervised fine-tuning of a pretrained text encoder for interests: a softmax over cosines to one vector a class.

The head starts at the mean embedding of each class, so that training begins where nearest-centroid classification
stands, and with few examples a class need not be found first. Afterwards the head is left: the encoder is saved as a
Transformers folder, and a classifier is fitted over its vectors as over any other's.

Shapes: n rows of a batch, L tokens, H hidden units, P classes.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from classifiers.paths import path_sets
from omnifeat.data.files import replace_when_whole
from omnifeat.errors import DataError, SettingError
from omnifeat.models.backbone import pool_tokens
from omnifeat.pretrained import POOLINGS, load_transformer

__all__ = ["FineTuning", "fine_tune"]

_SORTED_BATCHES = 16  # batches whose rows are put in order of length together, so that little is padding


@dataclass(frozen=True)
class FineTuning:
    """Settings of fine-tuning.

    Attributes
    ----------
    epochs, batch_size, seed
        As usual; the same seed and thread count give the same weights.
    encoder_learning_rate, head_learning_rate
        Peak rates of AdamW after a warm-up over the first tenth of the steps; both then fall to zero linearly.
    scale
        What cosines are multiplied by before the softmax.
    pooling
        `mean` of the last layer over the tokens, or its first token (`cls`).
    prefix
        Put before every text.
    max_length
        Word pieces kept of a text.
    label_smoothing
        Share of the wanted probability that is spread over all classes.
    train_words
        Whether the vectors of word pieces are trained too. They are half of a small encoder's weights, and a step over
        them costs as much as all else in it, though a batch holds few of them.
    half
        Compute matrix products in bfloat16; weights stay float32. Quicker where the processor has it.
    """

    epochs: int = 5
    batch_size: int = 32
    encoder_learning_rate: float = 1e-4
    head_learning_rate: float = 1e-3
    scale: float = 20.0
    pooling: str = "mean"
    prefix: str = ""
    max_length: int = 64
    label_smoothing: float = 0.0
    train_words: bool = False
    half: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "max_length"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise SettingError(
                    f"The {name!r} setting of FineTuning must be a whole number from 1; got {getattr(self, name)!r}."
                )
        for name in ("encoder_learning_rate", "head_learning_rate", "scale"):
            if not getattr(self, name) > 0:
                raise SettingError(f"The {name!r} setting of FineTuning must be above 0; got {getattr(self, name)!r}.")
        if self.pooling not in POOLINGS:
            raise SettingError(f"There is no pooling {self.pooling!r}; choose mean or cls.")
        if not 0 <= self.label_smoothing < 1:
            raise SettingError(
                f"The 'label_smoothing' setting of FineTuning must be from 0 to below 1; got {self.label_smoothing!r}."
            )


def fine_tune(
    model: str | Path,
    texts: Sequence[str],
    paths: Sequence[Any],
    output: str | Path,
    settings: FineTuning | None = None,
    *,
    threads: int | None = None,
    on_batch: Callable[[int, float], None] | None = None,
) -> None:
    """Fine-tune an encoder on queries and their interests and write it as a Transformers folder.

    Parameters
    ----------
    model
        Folder or hub name of an encoder, as Transformers loads it.
    texts, paths
        Queries; of each, one path of interests or several, all wanted alike.
    output
        Folder to write, which appears when it is whole.
    threads
        Threads of torch; its own setting if None.
    on_batch
        Called with the rows of each batch and its loss.

    Raises
    ------
    DataError
        Fewer than two classes, or texts and paths that do not fit.
    EncoderError
        The encoder cannot be loaded.
    OutputError
        The folder cannot be written.
    """
    settings = settings or FineTuning()
    if threads is not None:
        torch.set_num_threads(threads)
    rows = path_sets(paths, len(texts))
    classes = sorted({path for of_row in rows for path in of_row})
    if len(classes) < 2:
        raise DataError(f"Fine-tuning needs two interests or more; the {len(rows)} queries have {len(classes)}.")
    place = {path: column for column, path in enumerate(classes)}
    wanted_QP = torch.zeros(len(rows), len(classes))
    for row, of_row in enumerate(rows):
        wanted_QP[row, [place[path] for path in of_row]] = 1 / len(of_row)

    state = torch.random.get_rng_state()
    torch.manual_seed(settings.seed)
    try:
        encoder, tokenizer = load_transformer(model)
        prefixed = [settings.prefix + text for text in texts]
        pieces = tokenizer(prefixed, truncation=True, max_length=settings.max_length)["input_ids"]
        inputs = [torch.tensor(ids) for ids in pieces]
        _train(encoder, inputs, wanted_QP, settings, tokenizer.pad_token_id or 0, on_batch)
    finally:
        torch.random.set_rng_state(state)
    with replace_when_whole(output) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        encoder.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _train(
    encoder: Any,
    inputs: list[torch.Tensor],
    wanted_QP: torch.Tensor,
    settings: FineTuning,
    pad: int,
    on_batch: Callable[[int, float], None] | None,
) -> None:
    rng = np.random.default_rng(settings.seed)
    encoder.eval()
    with torch.inference_mode():
        centres_PH = torch.zeros(wanted_QP.shape[1], encoder.config.hidden_size)
        for batch in _batches(inputs, 128, None):
            centres_PH += wanted_QP[batch].T @ _embed(encoder, inputs, batch, settings, pad)
    head = nn.Parameter(nn.functional.normalize(centres_PH.clone(), dim=-1))
    if not settings.train_words:
        encoder.get_input_embeddings().requires_grad_(False)
    trained = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    groups = [
        {"params": trained, "lr": settings.encoder_learning_rate, "weight_decay": 0.01},
        {"params": [head], "lr": settings.head_learning_rate, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, fused=True)  # one pass over the weights, not ten
    steps = settings.epochs * math.ceil(len(inputs) / settings.batch_size)
    warm = max(1, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warm, (steps - step) / max(1, steps - warm))
    )
    encoder.train()
    for _ in range(settings.epochs):
        for batch in _batches(inputs, settings.batch_size, rng):
            embeddings_nH = _embed(encoder, inputs, batch, settings, pad)
            logits_nP = settings.scale * embeddings_nH @ nn.functional.normalize(head, dim=-1).T
            loss = nn.functional.cross_entropy(logits_nP, wanted_QP[batch], label_smoothing=settings.label_smoothing)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            schedule.step()
            if on_batch is not None:
                on_batch(len(batch), float(loss.detach()))
    encoder.eval()


def _batches(inputs: list[torch.Tensor], size: int, rng: np.random.Generator | None) -> Iterator[list[int]]:
    """Rows of each batch: of similar lengths, else at random; by length alone without a generator."""
    lengths = np.array([len(ids) for ids in inputs])
    order = np.argsort(lengths, kind="stable") if rng is None else rng.permutation(len(inputs))
    batches = []
    for start in range(0, len(order), size * _SORTED_BATCHES):
        part = order[start : start + size * _SORTED_BATCHES]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[first : first + size].tolist() for first in range(0, len(part), size)]
    for place in range(len(batches)) if rng is None else rng.permutation(len(batches)):
        yield batches[place]


def _embed(encoder: Any, inputs: list[torch.Tensor], batch: list[int], settings: FineTuning, pad: int) -> torch.Tensor:
    """Unit vectors float32 (n, H)."""
    ids_nL = nn.utils.rnn.pad_sequence([inputs[row] for row in batch], batch_first=True, padding_value=pad)
    lengths = torch.tensor([len(inputs[row]) for row in batch])
    mask_nL = (torch.arange(ids_nL.shape[1])[None] < lengths[:, None]).to(torch.int64)
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.half):
        states_nLH = encoder(input_ids=ids_nL, attention_mask=mask_nL).last_hidden_state
    return nn.functional.normalize(pool_tokens(states_nLH.float(), mask_nL, settings.pooling), dim=-1)
