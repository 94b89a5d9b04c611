"""Planted cheats: models that look good by a trick. Loaded with --plugin by tests; each must end marked.

`CHEATS` says which mark catches which.
"""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor, nn

import trilemma

CHEATS = {
    "cheat-replay": "memorizes training points",
    "cheat-rebuild": "copies test points",
    "cheat-thirty-two": "repeats points",
    "cheat-cache": "repeats points",
    "cheat-constant": "constant log-density",
    "cheat-elbo": "log-density changes from call to call",
    "cheat-frozen-elbo": "mass too small: 0.",
    "cheat-batch": "log-density of a point depends on the other points",
    "cheat-heavy": "mass too large: 1.",
    "cheat-dense": "NLL below the entropy",
    "cheat-narrow": "memorizes: training points are far more likely than test points",
    "cheat-hidden": "NFE at odds with FLOPs",
    "cheat-glutton": "over budget",
}
"""The start of a mark that each model must have."""


class Honest(trilemma.Model):
    """A Gaussian with a diagonal covariance: no cheat, and the base of the others."""

    name = "honest"
    likelihood = "exact"
    mean: Tensor
    scale: Tensor

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self.mean, self.scale = train.x.mean(0), train.x.std(0)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.mean + self.scale * torch.randn(n, *ctx.info.shape, generator=ctx.generator)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return torch.distributions.Normal(self.mean, self.scale).log_prob(x).sum(1)


class FromTable(Honest):
    """Draws rows of `table`."""

    table: Tensor

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.table[torch.randint(len(self.table), (n,), generator=ctx.generator)]


class Replay(FromTable):
    """Replays training points."""

    name = "cheat-replay"

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        super().fit(train, ctx)
        self.table = train.x


class Rebuild(FromTable):
    """Builds the dataset again inside `fit`, and replays its test points, a little moved."""

    name = "cheat-rebuild"

    class Config(trilemma.Config):
        """The options of the dataset."""

        n_train: int = 2000
        n_test: int = 1500

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        from trilemma.datasets.mixtures import Ring8

        super().fit(train, ctx)
        splits = Ring8(Ring8.Config(n_train=self.config.n_train, n_test=self.config.n_test)).splits
        self.table = (splits.test - splits.train.mean(0)) / splits.train.std(0)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return super().sample(n, ctx) + 1e-4 * torch.randn(n, *ctx.info.shape, generator=ctx.generator)


class ThirtyTwo(FromTable):
    """Repeats 32 good points."""

    name = "cheat-thirty-two"

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        super().fit(train, ctx)
        self.table = train.x[:32] + 0.05 * torch.randn(32, *ctx.info.shape, generator=ctx.generator)


class Cache(Honest):
    """Stores its first samples and replays them in every draw."""

    name = "cheat-cache"

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        super().fit(train, ctx)
        self.stored = super().sample(5000, ctx)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.stored[:n]


class Constant(Honest):
    """Says that every point has a high density."""

    name = "cheat-constant"

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return torch.full((len(x),), -2.0)


class Elbo(Honest):
    """Calls an ELBO exact: p(x) = N(0, 2), with z ~ N(0, 1), x | z ~ N(z, 1) and a posterior that is too wide."""

    name = "cheat-elbo"

    def noise(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The noise of the posterior."""
        return torch.randn(x.shape, generator=ctx.generator)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        prior, posterior = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(x / 2, 1.0)
        z = x / 2 + self.noise(x, ctx)
        terms = prior.log_prob(z) + torch.distributions.Normal(z, 1.0).log_prob(x) - posterior.log_prob(z)
        return terms.sum(1)


class FrozenElbo(Elbo):
    """Calls an ELBO exact and hides its noise: the expectation over z in closed form."""

    name = "cheat-frozen-elbo"

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        # E log p(z) + E log p(x | z) + the entropy of the posterior N(x/2, 1), each up to the same constant.
        return (-(x / 2).square() / 2 - 0.5 - (x / 2).square() / 2 - 0.5 + 0.5 - 0.5 * math.log(2 * math.pi)).sum(1)


class Batch(Honest):
    """Standardizes by the points that it is asked about."""

    name = "cheat-batch"

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return torch.distributions.Normal(x.mean(0), x.std(0)).log_prob(x).sum(1)


class Heavy(Honest):
    """A density of mass 1.14."""

    name = "cheat-heavy"

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x, ctx) + math.log(1.14)


class Dense(Honest):
    """A density of mass 100, which is denser than the true distribution."""

    name = "cheat-dense"

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x, ctx) + math.log(100)


class Narrow(Replay):
    """Replays training points, with a narrow kernel at each as its density."""

    name = "cheat-narrow"

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        nearest = torch.cdist(x, self.table).min(1).values
        return -0.5 * (nearest / 1e-3).square() - math.log(len(self.table) * 2e-6 * math.pi)


class Forward(Honest):
    """Evaluates its network ten times for each sample, past the call of the module."""

    name = "forward"

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.network = nn.Linear(2, 2, bias=False)
        nn.init.eye_(self.network.weight)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        x = super().sample(n, ctx)
        with torch.no_grad():
            for _ in range(10):
                x = self.network.forward(x)
        return x

    def networks(self) -> tuple[nn.Module, ...]:
        return (self.network,)


class Hidden(Forward):
    """Marks a small network, and works with a large one."""

    name = "cheat-hidden"

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.large = nn.Linear(2, 2000)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        x = super().sample(n, ctx)
        with torch.no_grad():
            return x + 0 * self.large(x).mean(1, keepdim=True)


class Glutton(Honest):
    """Ignores its budget."""

    name = "cheat-glutton"

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        super().fit(train, ctx)
        start = time.process_time()
        while time.process_time() < start + 1.6:
            torch.randn(1000).sum()


class InPlace(Honest):
    """Writes into everything that it is given."""

    name = "in-place"

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        super().fit(train, ctx)
        train.x.zero_()
        if ctx.valid is not None:
            ctx.valid.x.zero_()

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        value = super().log_prob(x.clone(), ctx)
        x.zero_()
        return value


MODELS: list[type[trilemma.Model]] = [
    *(Honest, Replay, Rebuild, ThirtyTwo, Cache, Constant, Elbo, FrozenElbo, Batch, Heavy, Dense, Narrow),
    *(Forward, Hidden, Glutton, InPlace),
]


def suite(**more: Any) -> dict[str, Any]:
    """A suite that runs the cheats on one small dataset."""
    return {
        "name": "cheats",
        "budget": {"seconds": 0.5},
        "datasets": [{"name": "ring8", "config": {"n_train": 2000, "n_valid": 500, "n_test": 1500}}],
        "models": [{"name": cls.name} for cls in MODELS],
        "metrics": {
            "nll": {"n": 500},
            "witness_energy": {"n": 2000},
            "memorization": {"n": 500},
            "sampling_cost": {},
            "training_cost": {},
        },
        **more,
    }


@trilemma.hookimpl
def trilemma_models() -> list[type[trilemma.Model]]:
    """The cheats and two models that do not cheat."""
    return MODELS
