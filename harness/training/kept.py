"""What a training stores of itself: the curves, and the weights that validation chooses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..contracts.checkpoints import State
from ..contracts.model import Context
from ..errors import DivergedError
from .weights import Ema

if TYPE_CHECKING:
    from .neural import NeuralModel

VALIDATION_POINTS = 2_000  # enough to rank checkpoints, at little cost compared with training
CURVE_POINTS = 200


class Curves:
    """Averages the scalars of the steps over short intervals, and raises DivergedError if one is not finite."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self._next = 0.0

    def add(self, step: int, progress: float, logs: dict[str, Tensor]) -> None:
        for name, value in logs.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        self._count += 1
        if progress >= self._next or self._count >= 200:
            self.flush(step + 1)
            self._next = progress + 1 / CURVE_POINTS

    def flush(self, step: int) -> None:
        if not self._count:
            return
        means = {name: float(total) / self._count for name, total in self._sums.items()}
        bad = [name for name, value in means.items() if not math.isfinite(value)]
        if bad:
            raise DivergedError(f"{', '.join(bad)} is not finite at step {step}")
        curves = self._ctx.curves
        curves.setdefault("step", []).append(step)
        for name, value in means.items():
            curves.setdefault(name, []).append(value)
        clock = self._ctx.clock
        assert clock is not None
        self._ctx.progress(clock.progress, f"step {step}, loss {means.get('loss', math.nan):.4g}")
        self._sums, self._count = {}, 0

    def state(self) -> State:
        """The curves, and the sums of the present interval."""
        return {"curves": self._ctx.curves, "sums": self._sums, "count": self._count, "next": self._next}

    def load_state(self, state: State) -> None:
        """Go on from a state."""
        self._ctx.curves.clear()
        self._ctx.curves.update(state["curves"])
        self._sums = {name: value.to(self._ctx.device) for name, value in state["sums"].items()}
        self._count, self._next = state["count"], state["next"]


class Keeper:
    """Computes the validation loss of the averaged weights at intervals, and keeps the best or the last weights."""

    def __init__(self, model: NeuralModel, ema: Ema, ctx: Context, seed: int) -> None:
        self._model, self._ema, self._ctx, self._seed = model, ema, ctx, seed
        self._best = math.inf
        self._kept: dict[str, Tensor] | None = None
        valid = ctx.valid
        self._x = None if valid is None else valid.x[:VALIDATION_POINTS].to(ctx.device)
        self._every = 1 / ctx.recipe.validations if ctx.recipe.validations and self._x is not None else math.inf
        self._next = self._every

    def visit(self, step: int, progress: float) -> None:
        if progress >= self._next:
            self._next = progress + self._every
            self._validate(step)

    def finish(self, step: int) -> None:
        """Leave the kept weights in the model."""
        if self._every < math.inf:
            self._validate(step)
        if self._kept is not None and self._ctx.recipe.keep == "best":
            self._model.load_state_dict(self._kept)
        else:
            self._ema.swap()

    def state(self) -> State:
        """The weights that are kept, their validation loss, and the progress at which the next validation is due."""
        return {"best": self._best, "kept": self._kept, "next": self._next}

    def load_state(self, state: State) -> None:
        """Go on from a state."""
        self._best, self._next, kept = state["best"], state["next"], state["kept"]
        self._kept = None if kept is None else {name: value.to(self._ctx.device) for name, value in kept.items()}

    def _validate(self, step: int) -> None:
        assert self._x is not None
        generator = torch.Generator(device=self._ctx.device).manual_seed(self._seed)
        context = Context(info=self._ctx.info, device=self._ctx.device, generator=generator, recipe=self._ctx.recipe)
        self._ema.swap()
        self._model.eval()
        with torch.no_grad():
            value = float(self._model.validation_loss(self._x, context))
        if value < self._best:
            self._best = value
            self._kept = {name: tensor.detach().clone() for name, tensor in self._model.state_dict().items()}
        self._model.train()
        self._ema.swap()
        self._ctx.curves.setdefault("validation_step", []).append(step)
        self._ctx.curves.setdefault("validation", []).append(value)
