"""Fixtures of the tests of diffusion models: generators, contexts, and Gaussian data whose denoiser is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.datasets.mixtures import Grid25, Ring8
from trilemma.plugins.diffusion.schedules import Diffusion, SubVariancePreserving, VarianceExploding, VariancePreserving

SUPPORT = (-2 / 1.15, 2 / 1.15)


class GaussianDenoiser:
    """The exact denoiser of N(0, covariance): covariance (covariance + sigma^2 I)^-1 x. It counts its calls."""

    def __init__(self, covariance: Tensor) -> None:
        self.variances, self.axes = torch.linalg.eigh(covariance)
        self.calls = 0

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.calls += 1
        variance = sigma.double().reshape(-1, 1) ** 2
        return ((x.double() @ self.axes) * self.variances / (self.variances + variance) @ self.axes.T).to(x)


class Gaussian:
    """N(0, covariance) in three dimensions: its denoiser, probability flow and densities with noise are known."""

    covariance = torch.tensor([[1.0, 0.6, 0.0], [0.6, 0.8, -0.2], [0.0, -0.2, 0.3]], dtype=torch.float64)

    def denoiser(self, covariance: Tensor | None = None) -> GaussianDenoiser:
        """The exact denoiser, for `covariance` if it is given."""
        return GaussianDenoiser(self.covariance if covariance is None else covariance)

    def points(self, n: int, seed: int = 0, covariance: Tensor | None = None) -> Tensor:
        """`n` points, with `covariance` if it is given."""
        factor = torch.linalg.cholesky(self.covariance if covariance is None else covariance)
        noise = torch.randn((n, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        return noise @ factor.T

    def log_prob(self, x: Tensor, sigma: float = 0.0) -> Tensor:
        """The log-density of points with noise of the noise level `sigma`."""
        covariance = self.covariance + sigma**2 * torch.eye(3, dtype=torch.float64)
        return torch.distributions.MultivariateNormal(torch.zeros(3).double(), covariance).log_prob(x)

    def end_of_flow(self, u: Tensor, sigma: float) -> Tensor:
        """The points to which the probability-flow ODE carries `u = x / sqrt(1 + sigma^2)` from `sigma` to 0."""
        variances, axes = torch.linalg.eigh(self.covariance)
        return (u @ axes) * (variances * (1 + sigma**2) / (variances + sigma**2)).sqrt() @ axes.T


@pytest.fixture(scope="session")
def gaussian() -> Gaussian:
    """Gaussian data in three dimensions."""
    return Gaussian()


class Mixture:
    """A mixture of Gaussians with the same deviation at equally likely centers, and its exact denoiser."""

    def __init__(self, centers: Tensor, deviation: float) -> None:
        self.centers, self.deviation = centers.double(), deviation

    def points(self, n: int, seed: int = 0) -> Tensor:
        """`n` points, float64."""
        generator = torch.Generator().manual_seed(seed)
        chosen = self.centers[torch.randint(len(self.centers), (n,), generator=generator)]
        return chosen + self.deviation * torch.randn(chosen.shape, generator=generator, dtype=torch.float64)

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density."""
        squared = torch.cdist(x, self.centers, compute_mode="donot_use_mm_for_euclid_dist").square()
        d = x.shape[1]
        heights = -0.5 * squared / self.deviation**2 - d / 2 * math.log(2 * math.pi * self.deviation**2)
        return heights.logsumexp(1) - math.log(len(self.centers))

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """E[x_0 | x_0 + sigma z = x], the mean of the conditional means of all components."""
        total = self.deviation**2 + sigma.reshape(-1, 1).double() ** 2
        squared = x.square().sum(1, keepdim=True) - 2 * x @ self.centers.T + self.centers.square().sum(1)
        mean = (-0.5 * squared / total).softmax(1) @ self.centers
        return mean + self.deviation**2 / total * (x - mean)

    def radii(self, x: Tensor) -> Tensor:
        """The distances of points to the nearest center, in deviations."""
        return torch.cdist(x, self.centers).min(1).values / self.deviation


def standardized(dataset: type[trilemma.Dataset]) -> Mixture:
    """A two-dimensional mixture of the library in model space, where each coordinate has variance 1."""
    modes = dataset().modes()
    assert modes is not None
    variance = modes.centers.var(0, correction=0)[0] + modes.covariances[0, 0, 0]
    return Mixture(modes.centers / variance.sqrt(), float((modes.covariances[0, 0, 0] / variance).sqrt()))


@pytest.fixture(scope="session")
def ring8() -> Mixture:
    """The dataset `ring8` in model space."""
    return standardized(Ring8)


@pytest.fixture(scope="session")
def grid25() -> Mixture:
    """The dataset `grid25` in model space."""
    return standardized(Grid25)


@pytest.fixture(scope="session", params=["vp", "subvp", "ve"])
def diffusion(request: pytest.FixtureRequest) -> Diffusion:
    """Each of the diffusions of Song et al. 2021."""
    found: Diffusion = {
        "vp": VariancePreserving(),
        "subvp": SubVariancePreserving(),
        "ve": VarianceExploding(0.01, 30.0),
    }[request.param]
    return found


@pytest.fixture(scope="session")
def context() -> Callable[..., trilemma.Context]:
    """A function that makes a context for points of a shape, with the likelihood options of a model if it is given."""

    def make(
        model: type[trilemma.Model] | None = None, shape: tuple[int, ...] = (2,), seed: int = 3, **fields: object
    ) -> trilemma.Context:
        kind, levels, support = ("image", 4, SUPPORT) if len(shape) == 3 else ("vector", None, None)
        info = trilemma.DataInfo(name="toy", kind=kind, shape=shape, n_train=4_000, levels=levels, support=support)  # type: ignore[arg-type]
        if model is not None:
            fields.setdefault("likelihood", model.Likelihood())
        generator = torch.Generator().manual_seed(seed)
        return trilemma.Context(info=info, device=torch.device("cpu"), generator=generator, **fields)  # type: ignore[arg-type]

    return make


class Pair:
    """Two Gaussians with deviation .4 at -.9 and .9 on the first axis. The second axis is standard normal."""

    def points(self, n: int, seed: int) -> Tensor:
        """`n` points."""
        x = torch.randn((n, 2), generator=torch.Generator().manual_seed(seed))
        side = 2.0 * torch.randint(0, 2, (n,), generator=torch.Generator().manual_seed(seed + 50)) - 1
        return torch.stack([0.9 * side + 0.4 * x[:, 0], x[:, 1]], dim=1)

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density."""
        first = torch.stack([-0.5 * ((x[:, 0] - c) / 0.4) ** 2 for c in (-0.9, 0.9)]).logsumexp(0)
        return first - math.log(2 * 0.4 * 2 * math.pi) - 0.5 * x[:, 1] ** 2


@pytest.fixture(scope="session")
def pair() -> Pair:
    """A distribution with two modes."""
    return Pair()
