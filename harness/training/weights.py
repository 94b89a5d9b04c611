"""What changes the weights in a training: the learning rate, the optimizers, and the moving average."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..contracts.checkpoints import State
from ..contracts.recipe import Recipe


def learning_rate(recipe: Recipe, step: int, progress: float) -> float:
    """The learning rate at a step, given the share `progress` of the budget that is spent.

    - `cosine`: half a cosine from `lr` to 0, times a linear warm-up (Loshchilov & Hutter 2017).
    - `onecycle`: a cosine rise over the first 30 % of the budget, then a cosine fall to 0 (Smith & Topin 2018).
    - `constant`: a linear warm-up, then constant.
    """
    warm = min(1.0, (step + 1) / (recipe.warmup + 1))
    if recipe.schedule == "constant":
        return recipe.lr * warm
    if recipe.schedule == "cosine":
        return recipe.lr * warm * 0.5 * (1 + math.cos(math.pi * progress))
    rise = 0.3
    if progress < rise:
        return recipe.lr * (0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * progress / rise)))
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))


class Ema:
    """Exponential moving average of parameters, with the decay min(decay, (1 + step) / (10 + step)).

    Buffers are not averaged; their latest values are used.
    """

    def __init__(self, parameters: list[nn.Parameter], decay: float | None) -> None:
        self._parameters = parameters
        self._decay = decay
        self._average = [p.detach().clone() for p in parameters] if decay is not None else []

    @torch.no_grad()
    def update(self, step: int) -> None:
        if self._decay is not None:
            decay = min(self._decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self._average, list(self._parameters), 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the live weights and the average. A second call exchanges them back."""
        for live, average in zip(self._parameters, self._average, strict=False):
            live_copy = live.detach().clone()
            live.copy_(average)
            average.copy_(live_copy)

    def state(self) -> State:
        """The averages, in the order of the parameters."""
        return {"average": self._average}

    def load_state(self, state: State) -> None:
        """Go on from a state."""
        for average, stored in zip(self._average, state["average"], strict=True):
            average.copy_(stored)


class Updater:
    """The optimizers of the parameter groups of a model. A call takes one step on a loss."""

    def __init__(self, groups: dict[str, list[nn.Parameter]], recipe: Recipe) -> None:
        self._groups = groups
        self._clip = recipe.clip
        self._factors = recipe.lr_factors
        if unknown := sorted(set(recipe.lr_factors) - set(groups)):
            raise ValueError(
                f"lr_factors of the recipe names {', '.join(unknown)}, but the parameter groups are {', '.join(groups)}"
            )
        self._optimizers = {
            name: torch.optim.AdamW(
                group, lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay, fused=True
            )
            for name, group in groups.items()
        }

    def set_learning_rate(self, lr: float) -> None:
        for name, optimizer in self._optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = lr * self._factors.get(name, 1.0)

    def __call__(self, loss: Tensor, group: str = "all") -> None:
        parameters = self._groups[group]
        optimizer = self._optimizers[group]
        optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]
        if self._clip is not None:
            nn.utils.clip_grad_norm_(parameters, self._clip)
        optimizer.step()

    def state(self) -> State:
        """The state of each optimizer: one dictionary for each parameter, which is empty before its first step."""
        return {
            name: [dict(optimizer.state.get(parameter, {})) for parameter in self._groups[name]]
            for name, optimizer in self._optimizers.items()
        }

    def load_state(self, state: State) -> None:
        """Go on from a state."""
        for name, optimizer in self._optimizers.items():
            for parameter, stored in zip(self._groups[name], state[name], strict=True):
                if stored:
                    optimizer.state[parameter] = {key: _placed(value, parameter) for key, value in stored.items()}


def _placed(value: Tensor, parameter: nn.Parameter) -> Tensor:
    """A copy of `value` on the device of the parameter, with the order of the parameter in memory if it has its shape.

    Optimizers give their tensors this order, and kernels may round differently in another one.
    """
    if value.shape != parameter.shape:
        return value.detach().clone().to(parameter.device)
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
