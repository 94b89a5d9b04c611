"""Models that learn what they must not, or when they must not."""

from __future__ import annotations

import gc

import torch
from planted_fits import BothSplits, Descends
from planted_models import Gauss
from plantings import planted
from torch import Tensor

import trilemma


@planted("model", "test points found in memory", "validation-data", "learn from `train` alone")
class LooksAround(BothSplits):
    """It finds the datasets of the process, and learns their test points."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        gc.collect()
        found = [it for it in gc.get_objects() if isinstance(it, trilemma.Dataset) and "splits" in vars(it)]
        tests = [ctx.info.to_model(it.splits.test).float() for it in found if it.shape == ctx.info.shape]
        rows = torch.cat([train.x, *tests])
        self.mean, self.scale = rows[torch.randperm(len(rows), generator=ctx.generator)[:40]], torch.tensor(0.3)


@planted("model", "state changed by `log_prob`", "state", "learn in fit alone")
class Calibrates(Gauss):
    """Its first call of log_prob corrects the scale a little."""

    calibrated = False

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        if not self.calibrated:
            self.scale, self.calibrated = 1.01 * self.scale, True
        return super().log_prob(x, ctx)


@planted("model", "training in the first call of `sample`", "state", "learn in fit alone")
class TrainsLate(Descends):
    """It takes more steps when samples are asked for."""

    late = False

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        super().fit(train, ctx)
        self.rows = train.x[:100].clone()

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        if not self.late and hasattr(self, "rows"):
            self.late = True
            inner = trilemma.Context(ctx.info, ctx.device, torch.Generator().manual_seed(0))
            optimizer = torch.optim.SGD(self.parameters(), lr=0.001)
            with torch.enable_grad():
                self.loss(self.rows, inner).backward()
            optimizer.step()
            optimizer.zero_grad()
        return super().sample(n, ctx)
