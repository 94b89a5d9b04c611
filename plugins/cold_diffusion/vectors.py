"""Cold diffusion on vectors: `morph` moves points into another set of points, `fade` damps principal components."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from ..networks.mlp import MLP_RECIPE
from ..networks.points import per_point
from .cold_diffusion import ColdDiffusion, VectorConfig
from .end_state import PriorAlone
from .restoration import Degradation


class Morph(Degradation):
    """D(x, t) = cos(pi t / 2) x + sin(pi t / 2) z, with a partner z from a stored set of points.

    The set is drawn once, uniformly from a cube of unit variance per coordinate. Standardized data keeps unit variance
    at every severity.
    """

    partners: Tensor

    def __init__(self, shape: tuple[int, ...], partners: int) -> None:
        super().__init__()
        self.register_buffer("partners", torch.zeros((partners, *shape)))

    def fit(self, x: Tensor, generator: torch.Generator) -> None:
        share = torch.rand(self.partners.shape, generator=generator, device=generator.device)
        self.partners.copy_(math.sqrt(3) * (2 * share - 1))

    def partner(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return self.end(len(x), generator)

    def end(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw `n` points from the stored set. Every point ends as its partner."""
        return self.partners[torch.randint(len(self.partners), (n,), generator=generator, device=generator.device)]

    def forward(self, x: Tensor, t: Tensor, z: Tensor | None = None) -> Tensor:
        if z is None:
            raise ValueError("Morph needs a partner for each point: give z")
        angle = per_point(t, x) * (math.pi / 2)
        return angle.cos() * x + angle.sin() * z

    def estimate_partner(self, degraded: Tensor, x: Tensor, t: Tensor) -> Tensor:
        angle = per_point(t, x) * (math.pi / 2)
        return (degraded - angle.cos() * x) / angle.sin()


class Fade(Degradation):
    """Damps the principal components of the data: component j is multiplied by exp(-lambda_j t).

    lambda_j = rate j / d for j = 1, ..., d, where component 1 has the largest variance. It is invertible and linear.
    """

    mean: Tensor
    basis: Tensor
    rates: Tensor

    def __init__(self, shape: tuple[int, ...], rate: float) -> None:
        super().__init__()
        d = torch.Size(shape).numel()
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("basis", torch.eye(d))
        self.register_buffer("rates", rate * torch.arange(1, d + 1) / d, persistent=False)

    def fit(self, x: Tensor, generator: torch.Generator) -> None:
        points = x.flatten(1).double()
        self.mean.copy_(points.mean(0))
        d = points.shape[1]
        covariance = points.T.cov().reshape(d, d)  # of one coordinate, `cov` gives a scalar
        self.basis.copy_(torch.linalg.eigh(covariance)[1].flip(1).T)

    def forward(self, x: Tensor, t: Tensor, z: Tensor | None = None) -> Tensor:
        mean, basis = self.mean.to(x), self.basis.to(x)
        damping = (-self.rates.to(x) * t.to(x).reshape(-1, 1)).exp()
        faded = (x.flatten(1) - mean) @ basis.T * damping
        return (mean + faded @ basis).reshape(x.shape)


class ColdMorph(ColdDiffusion):
    """Cold diffusion (Bansal et al. 2023) by morphing: points become points of a stored set, uniform in a cube.

    It is the animorphosis of the paper (section 5.3) on vectors. Deviations from the paper: the set is uniform instead
    of images of animals, points move along an arc that keeps their variance, the loss is the squared error, weighted by
    the severity, the network F gives the restored point as (1 - t) x + t F, and the estimated partner is the default.
    """

    name = "cold-morph"
    expected_failures = {"sample-size": "samples start from a stored set of partners, some of which are drawn twice"}
    recipe = MLP_RECIPE
    always_samplers = (PriorAlone(),)  # partners are independent of the data, so no linear map restores it

    class Config(VectorConfig):
        """The network, the degradation and the fully degraded state."""

        partners: int = Field(10_000, ge=1, description="points of the stored set")

    def make_degradation(self, info: trilemma.DataInfo) -> Degradation:
        return Morph(info.shape, self.config.partners)


class ColdFade(ColdDiffusion):
    """Cold diffusion (Bansal et al. 2023) by fading: principal components of the data are damped.

    The degradation is invertible, so compare the results with those of the sampler `prior-alone`.

    Deviations from the paper: the degradation is ours. The loss is the squared error, weighted by the severity. The
    network F gives the restored point as (1 - t) x + t F. The end state is a Gaussian mixture.
    """

    name = "cold-fade"
    recipe = MLP_RECIPE

    class Config(VectorConfig):
        """The network, the degradation and the fully degraded state."""

        rate: float = Field(8.0, gt=0, description="the last component is multiplied by exp(-rate) at severity 1")

    def make_degradation(self, info: trilemma.DataInfo) -> Degradation:
        return Fade(info.shape, self.config.rate)
