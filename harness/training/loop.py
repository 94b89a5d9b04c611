"""The training loop that all neural models share. It ends when the budget is spent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..contracts.model import Context, Split
from ..contracts.recipe import Recipe
from ..errors import DivergedError

if TYPE_CHECKING:
    from .neural import NeuralModel

VALIDATION_POINTS = 2_000  # enough to rank checkpoints, at little cost compared with training
CURVE_POINTS = 200


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


def batches(n: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield indices of minibatches from shuffled passes without end. Each pass drops a last batch that is too short."""
    size = min(n, batch_size)
    while True:
        order = torch.randperm(n, generator=generator, device=generator.device)
        yield from (order[start : start + size] for start in range(0, n - size + 1, size))


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


def train_model(model: NeuralModel, train: Split, ctx: Context) -> None:
    """Build and train `model` until `ctx.clock` has spent the budget, and leave the kept weights in the model.

    `ctx.curves` gets `step`, `loss` and the other scalars that training steps return, `validation_step` and
    `validation`. Networks use the global random state for initialization and dropout. It is seeded from
    `ctx.generator`, and restored afterwards. Raises DivergedError if the loss is not finite.
    """
    if ctx.clock is None:
        raise ValueError("training needs a clock in its context")
    seed = int(torch.randint(2**31, (), generator=ctx.generator, device=ctx.generator.device))
    with torch.random.fork_rng(devices=[ctx.device] if ctx.device.type == "cuda" else []):
        torch.manual_seed(seed)
        model.prepare(ctx.info)
        model.to(ctx.device)
        _train(model, train, ctx, seed)
    model.eval()


def _drawn(train: Split, batch_size: int, ctx: Context, seed: int) -> Iterator[Tensor]:
    """Yield minibatches without end. Those of image data are dequantized again each time."""
    order = batches(len(train), batch_size, ctx.generator)
    if train.redraw is None:
        x = train.x.to(ctx.device)
        yield from (x[index] for index in order)
    else:
        noise = torch.Generator().manual_seed(seed)
        yield from (train.redraw(index.cpu(), noise).to(ctx.device) for index in order)


def _train(model: NeuralModel, train: Split, ctx: Context, seed: int) -> None:
    recipe, clock = ctx.recipe, ctx.clock
    assert clock is not None
    points = _drawn(train, recipe.batch_size, ctx, seed)
    model.initialize(Split(train.x.to(ctx.device)), ctx)
    groups = model.parameter_groups()
    update = Updater(groups, recipe)
    ema = Ema(list(chain.from_iterable(groups.values())), recipe.ema)
    keeper = _Keeper(model, ema, ctx, seed)
    curves = _Curves(ctx)
    model.train()
    for step in clock:
        update.set_learning_rate(learning_rate(recipe, step, clock.progress))
        logs = model.training_step(next(points), ctx, update)
        ema.update(step)
        curves.add(step, clock.progress, logs)
        keeper.visit(step, clock.progress)
    curves.flush(clock.step)
    keeper.finish(clock.step)


class _Curves:
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


class _Keeper:
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
