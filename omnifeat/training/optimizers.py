"""The optimizer of a run: groups of weights, and the learning rate of a step."""

import math

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from omnifeat.models.config import SCRATCH
from omnifeat.models.omni import OmniModel
from omnifeat.models.query import QueryEncoder
from omnifeat.training.lamb import Lamb
from omnifeat.training.settings import TrainSettings

__all__ = ["learning_rate_factor", "make_optimizer", "set_learning_rate"]


def make_optimizer(model: OmniModel, settings: TrainSettings) -> Optimizer:
    """AdamW (fused) or LAMB over the weights that are trained.

    A pretrained query transformer has a rate of its own, and so has a projection over it that begins as the identity:
    at first the two together are the pretrained encoder. Biases, gains of layer norms and the temperature are neither
    decayed nor rescaled by LAMB. Every group holds its highest rate under `peak`.
    """
    pretrained: list[nn.Module] = []
    if isinstance(model.query, QueryEncoder):
        pretrained.append(model.query.backbone)
        if model.config.query.projection == "identity-init":
            pretrained.append(model.query.projection)
    known = {id(parameter) for module in pretrained for parameter in module.parameters()}
    own_rate = settings.query_learning_rate
    query_rate = settings.learning_rate if own_rate is None or model.config.query.model == SCRATCH else own_rate
    groups: dict[tuple[float, bool], list[Tensor]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            rate = query_rate if id(parameter) in known else settings.learning_rate
            groups.setdefault((rate, parameter.ndim >= 2), []).append(parameter)
    weights = [
        {
            "params": parameters,
            "lr": rate,
            "peak": rate,
            "weight_decay": settings.weight_decay if matrix else 0.0,
            **({"adapt": matrix} if settings.optimizer == "lamb" else {}),
        }
        for (rate, matrix), parameters in groups.items()
    ]
    betas = (settings.beta1, settings.beta2)
    if settings.optimizer == "lamb":
        return Lamb(weights, betas=betas)
    return AdamW(weights, betas=betas, fused=True)


def learning_rate_factor(step: int, steps: int, warmup_steps: int) -> float:
    """Share of the highest rate at a step, counted from 0: linear warm-up, then a cosine to zero."""
    warmup = min(warmup_steps, steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))


def set_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Set every group to its share of its highest rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
