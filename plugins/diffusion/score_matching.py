"""Score matching with a free score network or with an energy network, sampled by Langevin dynamics."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..networks.divergence import exact_divergence, probe_divergence
from ..networks.mlp import FourierFeatures, initialize, mlp
from ..networks.points import rademacher, standard_normal
from .langevin_samplers import Langevin

Score = Callable[[Tensor], Tensor]


def implicit_objective(score: Score, x: Tensor) -> Tensor:
    """E[|s|^2 / 2 + tr grad s] (Hyvarinen 2005, theorem 1). The trace takes one backward pass per coordinate."""
    value, divergence = exact_divergence(score, x, differentiable=True)
    return (0.5 * value.square().sum(1) + divergence).mean()


def sliced_objective(score: Score, x: Tensor, probes: int, generator: torch.Generator) -> Tensor:
    """E[|s|^2 / 2 + v' (grad s) v] with random signs v: sliced score matching with variance reduction.

    There are `probes` directions v for each point. Source: Song et al. 2019, eq. 8.
    """
    signs = rademacher((probes, *x.shape), x, generator)
    value, estimates = probe_divergence(score, x, signs, differentiable=True)
    return (0.5 * value.square().sum(1) + estimates.mean(0)).mean()


def denoising_objective(score: Score, x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """E|s(x + sigma z) + z / sigma|^2 / 2, which the score of the noised data minimizes.

    Source: Vincent 2011, eq. 11.
    """
    noise = standard_normal(x, generator)
    return 0.5 * (score(x + sigma * noise) + noise / sigma).square().sum(1).mean()


class Attracted(nn.Module):
    """The score, `(n, d)`, or with `energy` the energy, `(n,)`, of the standard normal, plus a network.

    The part of the standard normal pulls far points back, also before the network is trained.
    """

    def __init__(self, d: int, config: ScoreConfig, *, energy: bool) -> None:
        super().__init__()
        self.energy = energy
        self.features = FourierFeatures(config.octaves)
        self.body = mlp((self.features.width(d), *config.hidden, 1 if energy else d))
        initialize(self.body, last_gain=0.1)

    def forward(self, x: Tensor) -> Tensor:
        raw: Tensor = self.body(self.features(x))
        return raw.squeeze(1) + 0.5 * x.square().sum(1) if self.energy else raw - x


class ScoreConfig(trilemma.Config):
    """Options of the network and of the objective."""

    hidden: tuple[int, ...] = Field(
        (128, 128, 128),
        description="widths of the hidden layers",
        json_schema_extra={"tune": "[64, 64]|[128, 128]|[128, 128, 128]|[256, 256, 256]"},
    )
    octaves: int = Field(2, ge=0, description="number of octaves in the Fourier features of a point")
    objective: Literal["implicit", "sliced", "denoising"] = Field(
        "denoising",
        description="implicit (Hyvarinen's, with the exact trace), sliced (with variance reduction) or denoising",
    )
    sigma: float = Field(
        0.1, gt=0, description="noise level of the denoising objective, which learns the score of data with this noise"
    )
    probes: int = Field(1, ge=1, description="number of directions per point in the sliced objective")


class ScoreModel(trilemma.NeuralModel):
    """The base class of both models: it has the objectives and draws the samples.

    The score is that of the data with noise of the level `sigma` for the denoising objective, else that of the data.
    """

    family = "diffusion"
    samplers = (Langevin,)
    recipe = trilemma.Recipe(lr=3e-3, batch_size=256, schedule="cosine", ema=0.998)

    def __init__(self, config: trilemma.Config | None = None) -> None:
        super().__init__(config)
        self.noise_level: float = self.config.sigma if self.config.objective == "denoising" else 0.0

    def score_levels(self) -> tuple[float, float]:
        """The noise level of the objective."""
        return self.noise_level, self.noise_level

    @abstractmethod
    def score_of(self, x: Tensor) -> Tensor:
        """The learned score at points `(n, d)`, differentiable."""

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The objective that the configuration names, per coordinate."""
        config, d = self.config, x.shape[1]
        with torch.enable_grad():
            if config.objective == "implicit":
                value = implicit_objective(self.score_of, x)
            elif config.objective == "sliced":
                value = sliced_objective(self.score_of, x, config.probes, ctx.generator)
            else:
                value = config.sigma**2 * denoising_objective(self.score_of, x, config.sigma, ctx.generator)
            return value / d

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        options = ctx.sampler
        assert isinstance(options, Langevin)
        noise = torch.randn((n, *ctx.info.shape), generator=ctx.generator, device=ctx.device)
        return options.follow(lambda x: self.score_of(x).detach(), noise, ctx)

    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        """The learned score at the noise level of the objective. Raises UnsupportedError at others."""
        if not math.isclose(float(sigma), self.noise_level, rel_tol=1e-5):
            raise trilemma.UnsupportedError(
                f"'{self.name}' has learned the score at noise level {self.noise_level:g} only, not at {float(sigma):g}"
            )
        return self.score_of(x).detach()


class ScoreMatching(ScoreModel):
    """Score matching with a free score network (implicit, sliced or denoising), sampled by Langevin dynamics.

    The objectives are those of Hyvarinen 2005 (theorem 1), Song et al. 2019 (eq. 8) and Vincent 2011 (eq. 11). The
    default is denoising; Song & Ermon 2019 use the sliced objective in the plane (figure 2). Deviations from the
    papers: the network is a SiLU MLP with Fourier features plus the score of the standard normal, which pulls far
    points back; the denoising objective is multiplied by sigma^2; the weights are averaged. The model has no density.
    """

    name = "score-matching"

    class Config(ScoreConfig):
        """Options of the network and of the objective."""

    def build(self, info: trilemma.DataInfo) -> None:
        self.network = Attracted(info.dim, self.config, energy=False)

    def score_of(self, x: Tensor) -> Tensor:
        value: Tensor = self.network(x)
        return value


class EnergyMatching(ScoreModel):
    """Score matching with an energy network, p(x) = exp(-E(x)) / Z (implicit, sliced or denoising).

    The objectives and the deviations are those of `score-matching`, with the score -grad E. In one and two dimensions Z
    is computed on a grid. The likelihood is then exact up to the error of this quadrature, and its kind is `estimate`.
    In more dimensions the model has no likelihood.
    """

    name = "energy-matching"
    likelihood = "estimate"

    class Config(ScoreConfig):
        """Options of the network and of the objective."""

    class Likelihood(trilemma.Config):
        """Options of the grid on which the normalizer Z is computed."""

        half_side: float = Field(6.0, gt=0, description="the grid spans [-half_side, half_side] in every coordinate")
        points: int = Field(400, ge=10, description="number of grid points along each coordinate")

    def build(self, info: trilemma.DataInfo) -> None:
        self.network = Attracted(info.dim, self.config, energy=True)

    def energy(self, x: Tensor) -> Tensor:
        """E(x), shape `(n,)`."""
        value: Tensor = self.network(x)
        return value

    def score_of(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.energy(x).sum(), x, create_graph=True)
        return -gradient

    @torch.no_grad()
    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """-E(x) - ln Z, Z by the midpoint rule on a grid. Raises UnsupportedError beyond two dimensions."""
        options, d = ctx.likelihood, x.shape[1]
        assert isinstance(options, EnergyMatching.Likelihood)
        if d > 2:
            raise trilemma.UnsupportedError(
                f"an energy model has no likelihood in {d} dimensions: its normalizer is computed on a grid, in 1 or 2"
            )
        edge = 2 * options.half_side / options.points
        axis = -options.half_side + edge * (torch.arange(options.points, device=x.device) + 0.5)
        grid = torch.cartesian_prod(*[axis] * d).reshape(-1, d)
        energies = torch.cat([self.energy(part).double() for part in torch.split(grid, 20_000)])
        log_z = torch.logsumexp(-energies, 0) + d * math.log(edge)
        ctx.details.update({"method": "grid normalizer", "grid": grid.shape[0], "half_side": options.half_side})
        return -self.energy(x).double() - log_z
