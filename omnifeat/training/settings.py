"""How a model is trained; what it is made of is in `omnifeat.models.config`."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omnifeat.errors import SettingError

__all__ = ["PAIR_WEIGHTS", "TrainSettings", "train_preset"]

# Share of a batch by set of pairs: 8, 4, 2 and 2 are the paper's reference; pins off site don't occur there.
PAIR_WEIGHTS: dict[str, float] = {"pins": 8, "products": 4, "products_offsite": 2, "queries": 2, "pins_offsite": 2}

_CHOICES = {
    "optimizer": ("adamw", "lamb"),
    "mixed_precision": ("no", "bf16"),
    "frequency": ("exact", "sketch", "none"),
    "random_frequency": ("known", "counted"),
}


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Settings of one training run.

    Parameters
    ----------
    batch_size
        Pairs in a batch, of all sets and all processes together.
    epochs, steps
        How long; `steps` counts where both are given. An epoch is as many batches as hold the total number of pairs.
    learning_rate
        Highest rate, reached after the warm-up.
    query_learning_rate
        Highest rate of a pretrained query encoder: its transformer, and a projection that begins as the identity;
        `learning_rate` if None. A transformer that is built from scratch always trains at `learning_rate`.
    optimizer
        `"adamw"` or `"lamb"`.
    weight_decay, beta1, beta2
        Of the optimizer; biases, gains and the temperature are not decayed.
    clip_norm
        Largest length of the gradient of all weights together; None doesn't clip.
    warmup_steps
        Steps over which the rate grows linearly from zero (at most a tenth of all steps); from then it falls to zero
        along a cosine.
    random_negatives
        Random entities per pair, drawn from all entities of the type (4 in the paper's reference); 0 leaves the loss
        with random negatives out.
    negative_margin
        Negatives whose cosine is above the positive's by more than this are left out of the loss of learned encoders:
        they are mostly relevant themselves. None leaves none out.
    own_query_left_out
        Probability with which a pair's own query is left out of its entity's engaged queries, in [0, 1].
    words_in_loss
        Whether the loss compares the learned block and the block of words side by side, with equal shares, so that the
        former learns what words leave over; else the learned block alone.
    pair_weights
        Set of pairs -> its weight in the composition of a batch; sets that aren't named have weight 1.
    tasks
        Tasks to train, by name or pattern, such as `"pins/*"` or `"*/pinsage"`; None trains all that the data has. Sets
        of pairs without a task are left out. See `omnifeat.training.tasks`.
    shuffled_pairs
        Deal the entities of each set's pairs out anew over its queries: nothing can be learned then. For self-checks.
    text_steps, text_batch_size, text_learning_rate
        How the trainable layers of the block of text are tuned before the rest is trained: batches (0 for not at all),
        pairs in each, and the highest rate. Without trainable layers there is nothing to tune.
    frequency
        Estimator of the in-batch frequencies: `"exact"` counts, or a count-min `"sketch"` of 2 x `sketch_width`;
        `"none"` leaves the logQ correction out.
    random_frequency
        Frequencies of the random negatives: `"known"` takes the law they are drawn by (uniform), `"counted"`
        estimates them from the stream as the paper does.
    block_rows
        Rows of logits held at a time.
    evaluate_every
        Steps between measurements of Recall@10 on development pairs; None for once an epoch, 0 for never.
    patience
        Measurements in a row without gain after which training stops; None never stops early.
    development_pairs, development_corpus
        Most pairs, and most entities of a type to rank, when measuring (drawn once, with the seed).
    checkpoint_every
        Steps between checkpoints; None for once an epoch, 0 for none.
    log_every
        Steps between points of the training curve.
    mixed_precision
        `"no"` or `"bf16"`.
    device
        `"auto"` takes an accelerator where there is one; `"cpu"` doesn't look for it.
    seed
        Of weights, order of pairs, random negatives and dropout.
    """

    batch_size: int = 256
    epochs: float = 10.0
    steps: int | None = None
    learning_rate: float = 1e-3
    query_learning_rate: float | None = None
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    clip_norm: float | None = 1.0
    warmup_steps: int = 100
    random_negatives: int = 1
    negative_margin: float | None = 0.1
    own_query_left_out: float = 0.5
    words_in_loss: bool = False
    pair_weights: Mapping[str, float] = field(default_factory=lambda: dict(PAIR_WEIGHTS))
    tasks: tuple[str, ...] | None = None
    shuffled_pairs: bool = False
    text_steps: int = 40
    text_batch_size: int = 256
    text_learning_rate: float = 1e-4
    frequency: str = "exact"
    sketch_width: int = 2**20
    random_frequency: str = "known"
    block_rows: int = 256
    evaluate_every: int | None = None
    patience: int | None = 3
    development_pairs: int = 2_000
    development_corpus: int = 100_000
    checkpoint_every: int | None = None
    log_every: int = 10
    mixed_precision: str = "no"
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (
            "batch_size",
            "text_batch_size",
            "block_rows",
            "log_every",
            "development_pairs",
            "development_corpus",
        ):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("learning_rate", "text_learning_rate", "epochs"):
            self._require(name, getattr(self, name) > 0, "above 0")
        for name in ("weight_decay", "warmup_steps", "random_negatives", "text_steps", "seed"):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        for name in ("query_learning_rate", "evaluate_every", "checkpoint_every"):
            self._require(name, getattr(self, name) is None or getattr(self, name) >= 0, "0 or more")
        for name in ("steps", "patience"):
            self._require(name, getattr(self, name) is None or getattr(self, name) >= 1, "at least 1")
        self._require("clip_norm", self.clip_norm is None or self.clip_norm > 0, "above 0")
        share = self.own_query_left_out
        self._require("own_query_left_out", 0 <= share <= 1, "in [0, 1]")
        self._require("negative_margin", self.negative_margin is None or self.negative_margin >= 0, "0 or more")
        for name in ("beta1", "beta2"):
            self._require(name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        for name, choices in _CHOICES.items():
            must_be = "one of " + ", ".join(f"'{choice}'" for choice in choices)
            self._require(name, getattr(self, name) in choices, must_be)
        self._require("device", self.device in ("auto", "cpu"), "'auto' or 'cpu'")
        self._require("tasks", self.tasks is None or len(self.tasks) > 0, "None or name at least one task")
        width = self.sketch_width
        self._require("sketch_width", width >= 1 and width & (width - 1) == 0, "a power of two")
        for name, weight in self.pair_weights.items():
            if not weight > 0:
                raise SettingError(
                    f"The 'pair_weights' setting must be above 0 for every set. Got {weight} for {name}."
                )

    def _require(self, name: str, holds: bool, must_be: str) -> None:
        if not holds:
            raise SettingError(f"The '{name}' setting must be {must_be}. Got {getattr(self, name)!r} instead.")

    def to_dict(self) -> dict[str, Any]:
        """Settings as JSON values."""
        return dataclasses.asdict(self) | {"pair_weights": dict(self.pair_weights)}


_PRESETS: dict[str, TrainSettings] = {
    "tiny": TrainSettings(batch_size=64, epochs=5, learning_rate=3e-3, warmup_steps=10, log_every=1),
    "small": TrainSettings(batch_size=512, learning_rate=2e-3),
    "paper": TrainSettings(
        batch_size=10_240,
        steps=150_000,
        learning_rate=10**-2.7,
        optimizer="lamb",
        warmup_steps=750,
        frequency="sketch",
        sketch_width=2**26,
        evaluate_every=5_000,
        checkpoint_every=5_000,
        log_every=100,
        mixed_precision="bf16",
        random_negatives=4,
        negative_margin=None,
        own_query_left_out=1.0,
    ),
}


def train_preset(name: str) -> TrainSettings:
    """Settings named `tiny`, `small` or `paper` (the paper's numbers).

    Raises
    ------
    SettingError
        There is no preset of that name.
    """
    if name not in _PRESETS:
        raise SettingError(f"There is no preset {name!r}; the presets are {', '.join(_PRESETS)}.")
    return _PRESETS[name]
