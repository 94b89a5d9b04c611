"""Models with a planted defect in `fit` or in their state, and correct models that look alike."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import numpy as np
import torch
from planted_models import Gauss, Gaussian, Kernels, kernel_density
from plantings import look_alike, planted
from torch import Tensor, nn

import trilemma
from trilemma.harness.conformance.distributions import ThreeGaussians

# What is learned


@planted("model", "training data changed", "training-data", "work on a copy")
class InPlace(Gauss):
    """It centers the training points in place."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        super().fit(train, ctx)
        train.x.sub_(0.1)


@look_alike("training data changed")
class OnACopy(Gauss):
    """It centers a copy."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        super().fit(train, ctx)
        train.x.clone().sub_(0.1)


@planted("model", "memorizing", "memorization", "repeats its training points")
class Jittered(Kernels):
    """Training points with a little noise."""

    likelihood = "none"
    width = 0.003

    def learn(self, x: Tensor) -> None:
        self.mean, self.scale = x.clone(), torch.tensor(self.width)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        raise trilemma.UnsupportedError("none")


@look_alike("memorizing")
class Smoothed(Kernels):
    """Kernels that are wider than the distances of the training points."""

    width = 0.1


@planted("model", "training on validation data", "validation-data", "use it only to choose")
class BothSplits(Gauss):
    """It learns the validation points too."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        assert ctx.valid is not None
        rows = torch.cat([train.x, ctx.valid.x])
        self.mean, self.scale = rows[torch.randperm(len(rows), generator=ctx.generator)[:40]], torch.tensor(0.3)

    sample = Kernels.sample
    log_prob = Kernels.log_prob


@look_alike("training on validation data")
class ChoosesByValidation(Kernels):
    """It chooses the width of its kernels by the validation points."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        assert ctx.valid is not None
        super().fit(train, ctx)
        widths = (0.1, 0.2, 0.4)
        best = max(widths, key=lambda width: float(kernel_density(ctx.valid.x[:200], self.mean, width).mean()))
        self.scale = torch.tensor(best)


@planted("model", "dataset rebuilt inside `fit`", "data-given", "learn from `train` alone")
class Rebuilds(Gauss):
    """It makes the dataset again and learns the test points."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        super().fit(train, ctx)
        _ = ThreeGaussians(ThreeGaussians.Config(n_train=10, n_valid=10)).splits.test


@look_alike("dataset rebuilt inside `fit`")
class OwnLoader(Gauss):
    """It puts its training points into a dataset of torch."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        data = torch.utils.data.TensorDataset(train.x)
        (batch,) = next(iter(torch.utils.data.DataLoader(data, batch_size=len(train), shuffle=True)))
        self.learn(batch)


# Budgets


class Descends(trilemma.NeuralModel):
    """A Gaussian fitted by gradient descent, in a loop of its own."""

    name = "descends"
    steps: int | None = None

    def build(self, info: trilemma.DataInfo) -> None:
        self.net = nn.Linear(info.dim, info.dim)

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self.build(ctx.info)
        self.descend(train, ctx)

    def descend(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        assert ctx.clock is not None
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01)
        for _ in ctx.clock if self.steps is None else range(self.steps):
            self.loss(train.x[:100], ctx).backward()
            optimizer.step()
            optimizer.zero_grad()

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        z = torch.randn(x.shape, generator=ctx.generator)
        return (self.net(z).std(0) - x.std(0)).square().mean()

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.net(torch.randn((n, *ctx.info.shape), generator=ctx.generator))


@planted("model", "budget in steps ignored", "budget", "take a step of ctx.clock for each optimizer step")
class OwnSteps(Descends):
    """It takes as many steps as it likes."""

    steps = 40


@planted("model", "epochs counted as steps", "budget", "take a step of ctx.clock for each optimizer step")
class Epochs(Descends):
    """A step of its clock is a whole epoch."""

    def descend(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        assert ctx.clock is not None
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01)
        for _ in ctx.clock:
            self.loss(train.x[:100], ctx).backward()
            for _batch in train.x[:1600].split(50):
                optimizer.step()
            optimizer.zero_grad()


@look_alike("budget in steps ignored")
class ForeignLoop(Descends):
    """It loops over epochs, and asks the clock before each step."""

    def descend(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        assert ctx.clock is not None
        optimizer, steps = torch.optim.SGD(self.parameters(), lr=0.01), iter(ctx.clock)
        while not ctx.clock.expired:
            for (batch,) in torch.utils.data.DataLoader(torch.utils.data.TensorDataset(train.x), 200, shuffle=True):
                if next(steps, None) is None:
                    break
                self.loss(batch, ctx).backward()
                optimizer.step()
                optimizer.zero_grad()


@planted("model", "budget in seconds ignored", "budget", "end when ctx.clock.expired")
class Slow(Gauss):
    """It takes its time under a budget in seconds."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        super().fit(train, ctx)
        assert ctx.clock is not None
        begun = time.process_time()
        while ctx.clock.budget.seconds is not None and time.process_time() - begun < 1.4:
            pass


# State


@planted("model", "state kept in the process", "fresh-process", "in globals, class attributes, files")
class ClassState(Gauss):
    """It keeps its scale in its class, where only this process finds it."""

    kept = torch.ones(2)

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        super().fit(train, ctx)
        if ctx.info.dim == 2:
            ClassState.kept = self.scale.clone() + 0.1

    def learn(self, x: Tensor) -> None:
        self.mean, self.scale = torch.zeros(x.shape[1]), torch.ones(x.shape[1])

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        factor = ClassState.kept if ctx.info.dim == 2 else 1.0
        return self.mean + factor * self.scale * self.noise(n, ctx)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return Gaussian(self.mean, ClassState.kept * self.scale if ctx.info.dim == 2 else self.scale).log_prob(x).sum(1)


@look_alike("state kept in the process")
class Constant(Gauss):
    """It has a constant in its class, and no state: it is trained again."""

    factor = 0.5

    def learn(self, x: Tensor) -> None:
        self.mean, self.scale = x.mean(0), self.factor * x.std(0)

    def state(self) -> None:  # type: ignore[override]
        return None


@planted("model", "half of the state restored", "state", "load_state must set all of it")
class Forgetful(Gauss):
    """It restores half of its state."""

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.mean, self.scale = state["mean"], 2 * state["scale"]


@planted("model", "default dtype left changed", "global-state", "set it back")
class LeavesDtype(Gauss):
    """Its fit changes the default dtype."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        super().fit(train, ctx)
        torch.set_default_dtype(torch.float64)


@look_alike("default dtype left changed")
class RestoresDtype(Gauss):
    """It sets the default dtype back, and draws from the global generators in fit, which is allowed."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        torch.set_default_dtype(torch.float64)
        try:
            self.learn(train.x[torch.randperm(len(train.x))[: 1000 + int(100 * np.random.rand())]])
        finally:
            torch.set_default_dtype(torch.float32)


@planted("model", "environment, directory or threads left changed", "global-state", "set it back")
class LeavesTraces(Gauss):
    """It changes an environment variable, the working directory and the number of threads."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        os.environ["OMP_SCHEDULE"] = "static"
        os.chdir("/")
        torch.set_num_threads(2 if torch.get_num_threads() == 1 else 1)
        return super().sample(n, ctx)


@planted("model", "global generator used in `sample`", "sample-deterministic", "generator=ctx.generator")
class GlobalNoise(Gauss):
    """It draws by the global generator."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.mean + self.scale * torch.randn((n, *ctx.info.shape))
