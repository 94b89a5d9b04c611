"""Models with a planted defect each, and correct models that look alike."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from plantings import look_alike, planted
from torch import Tensor

import trilemma

Gaussian = torch.distributions.Normal


class Gauss(trilemma.Model):
    """One Gaussian with a diagonal covariance: correct, and the base of the others."""

    name = "diagonal"
    likelihood = "exact"

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self.learn(train.x)

    def learn(self, x: Tensor) -> None:
        self.mean, self.scale = x.mean(0), x.std(0)

    def noise(self, n: int, ctx: trilemma.Context) -> Tensor:
        return torch.randn((n, *ctx.info.shape), generator=ctx.generator, device=ctx.device)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.mean + self.scale * self.noise(n, ctx)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return Gaussian(self.mean, self.scale).log_prob(x).sum(1)

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "scale": self.scale}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.mean, self.scale = state["mean"], state["scale"]


def kernel_density(x: Tensor, centers: Tensor, width: float) -> Tensor:
    """Log-density of an equal mixture of Gaussians of standard deviation `width`, `(n,)`."""
    logs = Gaussian(centers, width).log_prob(x[:, None]).sum(2)
    return logs.logsumexp(1) - torch.log(torch.tensor(float(len(centers))))


class Kernels(Gauss):
    """A kernel density estimate of the training points."""

    width = 0.3

    def learn(self, x: Tensor) -> None:
        self.mean, self.scale = x[:40].clone(), torch.tensor(self.width)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        rows = torch.randint(len(self.mean), (n,), generator=ctx.generator)
        return self.mean[rows] + self.scale * self.noise(n, ctx)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return kernel_density(x, self.mean, float(self.scale))


# Samples and density


@planted("model", "temperature in sampling", "samples-density", "without a temperature")
class Cold(Gauss):
    """Its samples are narrower than its density."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.mean + 0.85 * self.scale * self.noise(n, ctx)


@look_alike("temperature in sampling")
class ColdThroughout(Gauss):
    """The temperature is in the density too."""

    def learn(self, x: Tensor) -> None:
        self.mean, self.scale = x.mean(0), 0.85 * x.std(0)


@planted("model", "density of another distribution than is sampled", "samples-density", "different distributions")
class LaplaceDensity(Gauss):
    """It draws from a Gaussian and gives the density of a Laplace distribution."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return torch.distributions.Laplace(self.mean, self.scale / 2**0.5).log_prob(x).sum(1)


@look_alike("density of another distribution than is sampled")
class Laplace(LaplaceDensity):
    """It draws from the Laplace distribution too."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        u = torch.rand((n, *ctx.info.shape), generator=ctx.generator) - 0.5
        return self.mean - self.scale / 2**0.5 * u.sign() * torch.log1p(-2 * u.abs())


@planted("model", "kernel density of stored samples called exact", "samples-density", "an 'estimate'")
class StoredKernels(Gauss):
    """Its density is a kernel density estimate of some of its samples."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        noise = torch.randn(40, x.shape[1], generator=torch.Generator().manual_seed(0))
        return kernel_density(x, self.mean + self.scale * noise, 0.8)


@look_alike("kernel density of stored samples called exact")
class SampledKernels(Kernels):
    """It draws from its kernel density estimate, so the density is exact."""


@planted("model", "kernel density of new samples called exact", "log-prob", "an 'estimate'")
class DrawnKernels(Gauss):
    """Its density is a kernel density estimate of samples that it draws each time."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return kernel_density(x, self.sample(40, ctx), 0.3)


@look_alike("kernel density of new samples called exact")
class Estimated(DrawnKernels):
    """The same, and it says so."""

    likelihood = "estimate"


@planted("model", "`ode` off by a constant", "mass", "check its normalization")
class OffOde(Gauss):
    """A density of an ODE that lacks a constant."""

    likelihood = "ode"

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x, ctx) + 0.1


@look_alike("`ode` off by a constant")
class CoarseOde(Gauss):
    """A density of an ODE with the error of a solver."""

    likelihood = "ode"

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x, ctx) + 0.02 * torch.sin(3 * x[:, 0])


@planted("model", "`ode` with tails that do not fall", "mass", "check its normalization")
class FlatTailsOde(Gauss):
    """Its log-density is clamped from below, so its integral over the plane is infinite."""

    likelihood = "ode"

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x, ctx).clamp_min(-6)


@planted("model", "`ode` so high away from the data that its exponential overflows", "mass", "integrates to exp(8")
class OverflowsOde(Gauss):
    """Its log-density is 800 outside a square that holds nearly all samples."""

    likelihood = "ode"

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return torch.where(x.abs().amax(1) > 2.5, 800.0, super().log_prob(x, ctx))


@look_alike("`ode` so high away from the data that its exponential overflows")
class UndefinedOde(Gauss):
    """Its solver diverges where there is no mass."""

    likelihood = "ode"

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return torch.where(x.abs().amax(1) > 6.5, torch.nan, super().log_prob(x, ctx))


@planted("model", "density not normalized", "mass", "log-determinants")
class TwiceTheMass(Gauss):
    """Its density integrates to 2."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x, ctx) + np.log(2)


@look_alike("density not normalized")
class Overflows(Gauss):
    """Its log-density overflows far from the data, where there is no mass."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        found = super().log_prob(x, ctx)
        return torch.where(x.abs().amax(1) > 6.5, torch.nan, found)
