"""What training publishes beside the learned block: text tuned before the first step, shares chosen after the last."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from omnifeat.models.omni import OmniModel
from omnifeat.training.block_shares import PUBLISHED, choose_shares
from omnifeat.training.curves import TrainingLog
from omnifeat.training.development import DevelopmentSet, DevelopmentVectors
from omnifeat.training.prepare import TrainingData
from omnifeat.training.settings import TrainSettings
from omnifeat.training.text_tuning import tune_text

__all__ = ["Published", "measure_blocks", "tune_where_better"]

_ALONE = {"text": 1.0}


@dataclass(frozen=True)
class Published:
    """What the blocks find on development pairs, and what was chosen by it.

    Attributes
    ----------
    recall
        Recall@10 of what is published, by set and as `mean`.
    ingredients
        Each ingredient and the whole -> the same, and `new_SET` and `new_mean` of pairs that were not trained on.
    shares
        Block -> share of the cosine, as chosen; None where the settings said them.
    """

    recall: dict[str, float]
    ingredients: dict[str, dict[str, float]]
    shares: dict[str, float] | None


def tune_where_better(
    model: OmniModel,
    data: TrainingData,
    development: DevelopmentSet | None,
    settings: TrainSettings,
    log: TrainingLog,
    device: torch.device,
) -> DevelopmentVectors | None:
    """Tune the block of text, and keep what that gives where development pairs are found better.

    Returns
    -------
    The block's vectors of the development part, as they are kept; None without a development part. What was found
    before and after goes into `log.text`. Without a development part the tuned weights are kept.
    """
    encoder = model.text
    if encoder is None or not encoder.trainable or settings.text_steps == 0:
        return None
    if development is None:
        tune_text(encoder, data, settings, device)
        return None
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    untuned = development.vectors(model, device, ("text",))
    tune_text(encoder, data, settings, device)
    tuned = development.vectors(model, device, ("text",))
    log.text = {
        "text, untuned": _both_recalls(development, untuned, _ALONE),
        "text, tuned": _both_recalls(development, tuned, _ALONE),
    }
    if _overall(log.text["text, tuned"]) > _overall(log.text["text, untuned"]):
        return tuned
    encoder.load_state_dict(before)
    return untuned


def measure_blocks(
    model: OmniModel,
    development: DevelopmentSet,
    text: DevelopmentVectors | None,
    log: TrainingLog,
    device: torch.device,
    *,
    seed: int,
) -> Published:
    """Choose the shares of several blocks, unless the settings say them, and measure the whole and its ingredients.

    `text` are the vectors of the block of text where they were made before.
    """
    names = list(model.config.blocks)
    if text is None:
        vectors = development.vectors(model, device, names)
    else:
        vectors = development.vectors(model, device, [name for name in names if name != "text"]).beside(text)
    found = choose_shares(development, vectors, seed=seed)
    shares = dict(model.config.shares) if model.config.block_weights else found.shares
    recall = development.recall(vectors.alone(*shares), shares)
    ingredients = log.text | found.recall
    if model.config.block_weights:  # the mix that was found is not the one that is published
        ingredients[PUBLISHED] = _both_recalls(development, vectors, shares)
    return Published(recall, ingredients, None if model.config.block_weights else shares)


def _both_recalls(
    development: DevelopmentSet, vectors: DevelopmentVectors, shares: Mapping[str, float]
) -> dict[str, float]:
    """Recall@10 of all pairs by set, and as `new_SET` of new pairs."""
    of_new = development.recall(vectors, shares, new=True)
    return development.recall(vectors, shares) | {f"new_{name}": value for name, value in of_new.items()}


def _overall(recall: Mapping[str, float]) -> float:
    """Mean of the recall of all pairs and of new ones, as far as there are some."""
    return float(np.mean([recall[name] for name in ("mean", "new_mean") if name in recall]))
