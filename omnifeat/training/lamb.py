"""LAMB (You et al., 2020): Adam whose step is rescaled, tensor by tensor, to the length of the weights."""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from omnifeat.errors import SettingError

__all__ = ["Lamb"]


class Lamb(Optimizer):
    """Layer-wise adaptive moments for large batches, the optimiser of the paper's reference (see `docs/training.md`).

    For each weight tensor w with gradient g, at step t (algorithm 2 of You et al.):

        m = b1 m + (1 - b1) g            m' = m / (1 - b1^t)
        v = b2 v + (1 - b2) g^2          v' = v / (1 - b2^t)
        u = m' / (sqrt(v') + eps) + weight_decay * w
        w = w - lr * ratio * u           ratio = |w| / |u|, or 1 where either length is 0

    A group with `"adapt": False` keeps the ratio at 1 (plain Adam with decoupled decay): for biases, gains of layer
    norms and the temperature, whose length says nothing about a good step.

    Raises
    ------
    SettingError
        If the learning rate, a beta, epsilon or the weight decay is out of its range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        if lr < 0.0:
            raise SettingError(f"The 'lr' parameter of Lamb must not be negative. Got {lr} instead.")
        if not all(0.0 <= beta < 1.0 for beta in betas):
            raise SettingError(f"The 'betas' parameter of Lamb must lie in [0, 1). Got {betas} instead.")
        if eps <= 0.0:
            raise SettingError(f"The 'eps' parameter of Lamb must be positive. Got {eps} instead.")
        if weight_decay < 0.0:
            raise SettingError(
                f"The 'weight_decay' parameter of Lamb must not be negative. Got {weight_decay} instead."
            )
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "adapt": True}
        super().__init__(params, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step; with a closure, evaluate it first and return its value."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._step_one(weight, weight.grad, group)
        return loss

    def _step_one(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(weight)
            state["exp_avg_sq"] = torch.zeros_like(weight)
        state["step"] += 1
        step = int(state["step"])
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(gradient, 1.0 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)

        denominator = (square / (1.0 - beta2**step)).sqrt_().add_(group["eps"])
        update = (mean / (1.0 - beta1**step)).div_(denominator)
        if group["weight_decay"]:
            update.add_(weight, alpha=group["weight_decay"])
        if group["adapt"]:
            weight_norm, update_norm = torch.linalg.vector_norm(weight), torch.linalg.vector_norm(update)
            both = (weight_norm > 0) & (update_norm > 0)
            # kept on the device: reading the lengths would stall the accelerator at every tensor
            ratio = torch.where(both, weight_norm / update_norm.clamp_min(1e-38), torch.ones_like(weight_norm))
            update.mul_(ratio)
        weight.add_(update, alpha=-group["lr"])
