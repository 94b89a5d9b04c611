"""The training loop that all neural models share. It ends when the budget is spent."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import chain
from typing import TYPE_CHECKING

import torch

from ..contracts.model import Context, Split
from .kept import Curves, Keeper
from .minibatches import Minibatches
from .resume import Resumable
from .weights import Ema, Updater, learning_rate

if TYPE_CHECKING:
    from .neural import NeuralModel


def train_model(model: NeuralModel, train: Split, ctx: Context) -> None:
    """Build and train `model` until `ctx.clock` has spent the budget, and leave the kept weights in the model.

    `ctx.curves` gets `step`, `loss` and the other scalars that training steps return, `validation_step` and
    `validation`. Networks use the global random state for initialization and dropout. It is seeded from
    `ctx.generator`, and restored afterwards. With `ctx.checkpoints`, the state of the training is stored at intervals,
    and a training that was interrupted goes on from there. Raises DivergedError if the loss is not finite.
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


def _train(model: NeuralModel, train: Split, ctx: Context, seed: int) -> None:
    recipe, clock, checkpoints = ctx.recipe, ctx.clock, ctx.checkpoints
    assert clock is not None
    points = Minibatches(train, recipe.batch_size, ctx, seed)
    model.initialize(Split(train.x.to(ctx.device)), ctx)
    groups = model.parameter_groups()
    update = Updater(groups, recipe)
    ema = Ema(list(chain.from_iterable(groups.values())), recipe.ema)
    keeper = Keeper(model, ema, ctx, seed)
    curves = Curves(ctx)
    model.train()
    resumable = Resumable(
        model, ctx, clock=clock, minibatches=points, optimizers=update, ema=ema, kept=keeper, curves=curves
    )
    with nullcontext() if checkpoints is None else checkpoints.watching():
        resumable.resume()
        for step in clock:
            update.set_learning_rate(learning_rate(recipe, step, model.schedule_progress(clock.progress)))
            model.before_step(ctx)
            logs = model.training_step(next(points), ctx, update)
            ema.update(step)
            curves.add(step, clock.progress, logs)
            keeper.visit(step, clock.progress)
            resumable.visit()
    curves.flush(clock.step)
    keeper.finish(clock.step)
