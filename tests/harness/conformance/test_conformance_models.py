"""The checks of a model: what is right passes, and each kind of mistake fails the check that is there for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from unittest import SkipTest

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trilemma

Statuses = Callable[..., dict[str, str]]
Failed = Callable[[type[Any]], set[str]]


class Gauss(trilemma.Model):
    """One Gaussian with a diagonal covariance."""

    name = "diagonal"
    likelihood = "exact"

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self.mean, self.scale = train.x.mean(0), train.x.std(0)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.mean + self.scale * torch.randn((n, *ctx.info.shape), generator=ctx.generator)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return torch.distributions.Normal(self.mean, self.scale).log_prob(x).sum(1)

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "scale": self.scale}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.mean, self.scale = state["mean"], state["scale"]


class GlobalNoise(Gauss):
    """It draws by the global generator."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.mean + self.scale * torch.randn((n, *ctx.info.shape))


class NumpyNoise(Gauss):
    """Its fit draws by NumPy's global generator."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        np.random.rand()
        super().fit(train, ctx)


class Frozen(Gauss):
    """It draws the same points each time."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.mean.expand(n, 2)


class WrongShape(Gauss):
    """It flattens its samples."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return super().sample(n, ctx).flatten()


class UnlistedSampler(Gauss):
    """It always draws by a sampler that it does not list."""

    class Other(trilemma.Sampler):
        name = "other"

    always_samplers = (Other(),)


class Levels(Gauss):
    """It draws whole numbers."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return super().sample(n, ctx).long()


class TwiceTheMass(Gauss):
    """Its density integrates to 2."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x, ctx) + np.log(2)


class TheSameMass(TwiceTheMass):
    """Its density integrates to 2, and it says so."""

    expected_failures = {"mass": "for the sake of it"}


class NotANumber(Gauss):
    """Its density is NaN."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x, ctx) * torch.nan


class OneColumn(Gauss):
    """It keeps a dimension that should be gone."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x, ctx)[:, None]


class Liar(Gauss):
    """It has a density and denies it."""

    likelihood = "none"


class Forgetful(Gauss):
    """It restores half of its state."""

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.mean, self.scale = state["mean"], 2 * state["scale"]


class Undocumented(Gauss):
    """An option without a description."""

    class Config(trilemma.Config):
        width: int = 3


class BadScore(Gauss):
    """The score of the wrong sign."""

    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        return x / (1 + sigma**2)


class Net(trilemma.NeuralModel):
    """A linear map of noise, trained to have the scale of the data."""

    name = "net"

    def build(self, info: trilemma.DataInfo) -> None:
        self.net = nn.Linear(info.dim, info.dim)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        z = torch.randn(x.shape, generator=ctx.generator)
        return (self.net(z).std(0) - x.std(0)).square().mean()

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.net(torch.randn((n, *ctx.info.shape), generator=ctx.generator))


class Counting(Net):
    """A loss that remembers how often it was called."""

    calls = 0

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        self.calls += 1
        return super().loss(x, ctx) * self.calls


class Detached(Net):
    """A loss without a gradient."""

    def training_loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().loss(x, ctx)

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.build(ctx.info)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().loss(x, ctx).detach()


CHECKS = trilemma.conformance_checks(Gauss)


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_a_right_model_passes(check: trilemma.Check) -> None:
    check()


def test_what_does_not_apply_is_skipped(statuses: Statuses) -> None:
    found = statuses(Net)
    assert {name for name, status in found.items() if status == "skipped"} == {"mass", "score"}
    assert {name for name, status in found.items() if status == "failed"} == set()


@pytest.mark.parametrize(
    ("cls", "checks"),
    [
        (GlobalNoise, {"fit-deterministic", "sample-deterministic", "state"}),
        (NumpyNoise, {check.name for check in CHECKS} - {"documented", "score", "loss"}),
        (Frozen, {"sample-deterministic"}),
        (WrongShape, {"samplers"}),
        (Levels, {"samplers"}),
        (UnlistedSampler, {"samplers"}),
        (TwiceTheMass, {"mass"}),
        (NotANumber, {"log-prob", "mass", "state"}),
        (OneColumn, {"log-prob"}),
        (Liar, {"log-prob"}),
        (Forgetful, {"state"}),
        (Undocumented, {"documented"}),
        (BadScore, {"score"}),
        (Counting, {"loss"}),
        (Detached, {"loss"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_each_mistake_of_a_model_fails_its_check(cls: type[trilemma.Model], checks: set[str], failed: Failed) -> None:
    assert failed(cls) == checks


def messages(cls: type[Any], name: str) -> str:
    return next(check for check in trilemma.conformance_checks(cls) if check.name == name).run().message


def test_messages_name_what_is_wrong() -> None:
    assert "global generator of torch" in messages(GlobalNoise, "sample-deterministic")
    assert "NumPy" not in messages(NumpyNoise, "fit")
    assert "global generator of numpy" in messages(NumpyNoise, "fit")
    assert "integrates to 2.0" in messages(TwiceTheMass, "mass")
    assert "'width'" in messages(Undocumented, "documented")


def test_expected_failures_are_strict(statuses: Statuses) -> None:
    assert statuses(TheSameMass)["mass"] == "expected"
    expected = {"mass": "known"}
    assert statuses(TwiceTheMass, expected_failures=expected)["mass"] == "expected"
    (check,) = [c for c in trilemma.conformance_checks(TwiceTheMass, expected_failures=expected) if c.name == "mass"]
    with pytest.raises(SkipTest, match="known"):
        check()
    (check,) = [c for c in trilemma.conformance_checks(Gauss, expected_failures=expected) if c.name == "mass"]
    assert check.run().status == "failed"
    with pytest.raises(AssertionError, match="expected to fail"):
        check()
    with pytest.raises(trilemma.PluginError, match="did you mean 'mass'"):
        trilemma.conformance_checks(Gauss, expected_failures={"mas": "misspelt"})
    with pytest.raises(trilemma.PluginError, match="not a subclass"):
        trilemma.conformance_checks(int)
