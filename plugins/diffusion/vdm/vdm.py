"""Variational diffusion models (Kingma et al. 2021), on vectors and, with the probability of levels, on images."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

import trilemma

from ...networks.divergence import EXACT_UP_TO
from ...networks.levels import TRUNCATION, Levels
from ...networks.mlp import MLPConfig
from ...networks.points import ROWS, standard_normal, stratified
from ...networks.runge_kutta import DIVIDED
from ...networks.unet import UNetConfig
from ..autoguidance import Guided
from ..bounds import Bound, diffusion_term, prior_term
from ..denoiser import PARAMETRIZATIONS, Denoiser, noise_residual
from ..likelihood import OdeDensity, OdeLikelihood
from ..model import Denoising, OnImages
from ..ode_samplers import ODE_SAMPLERS
from ..sde_samplers import SDE_SAMPLERS, Ancestral
from .schedule import LearnedDiffusion, LearnedSchedule

_LEVEL_ROWS = 200  # images at once in a reconstruction, which has a number for each level of each pixel
PAPER_ENDS = -13.3, 5.0
"""The ends of the noise schedule of the paper before training, for images of 256 levels in [-1, 1]."""


class VdmOptions(trilemma.Config):
    """Options of the noise schedule and of the network's output."""

    gamma: tuple[float, float] | None = Field(
        None,
        description="ln(sigma^2) at times 0 and 1 before training, the ends of the noise schedule; default: -13.3 and "
        "5 as in the paper, and for intensity levels of the width w 2 ln(w / 6) in place of -13.3",
    )

    @field_validator("gamma")
    @classmethod
    def _rising(cls, gamma: tuple[float, float] | None) -> tuple[float, float] | None:
        if gamma is not None and not -30 <= gamma[0] < gamma[1] <= 30:
            raise ValueError(
                f"the noise must rise with time, from at least -30 to at most 30, not from {gamma[0]:g} to {gamma[1]:g}"
            )
        return gamma

    units: int = Field(
        128,
        ge=0,
        description="hidden units of the network of the noise schedule, which is learned for the least variance of the "
        "loss; with 0 gamma is linear in time between its learned ends",
    )
    parametrization: Literal["karras", "noise"] = Field(
        "karras",
        description="what the network predicts: karras is the preconditioned network of EDM, a velocity; noise is the "
        "noise, as in the paper",
    )


def diffusion_loss(denoise: Denoiser, x: Tensor, schedule: LearnedSchedule, generator: torch.Generator) -> Tensor:
    """gamma'(t) / 2 |eps - eps_hat|^2 at one time for each point, in nats, `(n,)` (Kingma et al. 2021, eq. 17).

    Its mean depends on the schedule through its ends alone (eq. 18). The interior therefore gets the gradient of the
    mean square, divided by twice the mean: the gradient of each point is multiplied by its loss on its way to the
    interior, so that one backward pass gives both (eq. 60 to 62). Times are stratified.
    """
    t = stratified(len(x), generator)
    share, rate = schedule.interior(t)
    low, high = schedule.ends
    sigma = ((low + (high - low) * share) / 2).exp()
    loss: Tensor = 0.5 * (high - low) * rate * noise_residual(denoise, x, standard_normal(x, generator), sigma)
    if share.requires_grad:
        factor = loss.detach() / loss.detach().mean()
        for value in (share, rate):
            value.register_hook(lambda gradient: gradient * factor)  # type: ignore[no-untyped-call]
    return loss


class Vdm(OdeDensity, Denoising, Guided, trilemma.NeuralModel):
    """Variational diffusion model (Kingma et al. 2021) in continuous time, with an MLP on vectors.

    It is trained by its variational bound, without weights. The noise schedule gamma(t) is learned: its ends by the
    bound, its interior to minimize the variance of the estimated bound, as in the paper. The likelihood is the bound,
    the sum of its prior, diffusion and reconstruction terms. It does not depend on the interior of the schedule, and is
    evaluated at stratified noise levels. Source: eq. 11, 17 and 18, appendices H and I.

    Deviations from the paper: The data is continuous, so that p(x | z_0) is N(z_0 / alpha_0, sigma_0^2 I), the limit of
    the paper's distribution for fine levels; `vdm-unet` has that of the paper. Its term is computed in closed form. The
    network is an MLP, scaled as in EDM unless `parametrization` is `noise` as in the paper. It sees ln(sigma)/4 in
    place of a normalized gamma, and has Fourier features of the frequencies 1 to 2^(octaves - 1). The network of the
    schedule has 128 units (paper: 1,024). Times are stratified over a batch. Samplers end at z_0 with the denoised
    point (paper: a draw from p(x | z_0)).
    """

    name = "vdm"
    likelihood = "bound"
    samplers = (Ancestral, *(sampler for sampler in SDE_SAMPLERS if sampler is not Ancestral), *ODE_SAMPLERS)

    class Config(VdmOptions, MLPConfig):
        """Options of the network and of the noise schedule."""

    class Likelihood(OdeLikelihood):
        """Options of the variational bound, and of the probability-flow likelihood."""

        method: Literal["ode", "bound"] = Field(
            "bound", description="bound, the variational bound; ode, the density of the probability-flow ODE"
        )
        bound_draws: int = Field(20, ge=0, description="noise levels drawn per point for the variational bound")

    def build(self, info: trilemma.DataInfo) -> None:
        config = self.config
        self.schedule = LearnedSchedule(config.gamma or self.ends(info), config.units)
        self.diffusion = LearnedDiffusion(self.schedule)
        self.denoiser = PARAMETRIZATIONS[config.parametrization](self.network(info))

    def ends(self, info: trilemma.DataInfo) -> tuple[float, float]:
        """The ends of the noise schedule before training."""
        return PAPER_ENDS

    def network(self, info: trilemma.DataInfo) -> nn.Module:
        """The network that predicts the noise."""
        network: nn.Module = self.config.network(info)
        return network

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The negative variational bound, a mean over points and coordinates, in nats."""
        x = self.encoded(x, ctx)
        prior = prior_term(x, (self.schedule.ends[1] / 2).exp())
        diffusion = diffusion_loss(self.denoiser, x, self.schedule, ctx.generator)
        terms = prior + diffusion + self.reconstruction(x, ctx)
        return terms.mean() / x[0].numel()

    def encoded(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The points as the diffusion starts from them."""
        return x

    def reconstruction(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """E[-log p(x | z_0)], `(n,)`."""
        d = x[0].numel()
        each = 0.5 * (1 + math.log(2 * math.pi) + self.schedule.ends[0])
        return (d * each).expand(len(x))

    @torch.no_grad()
    def bound(self, x: Tensor, draws: int, sigma_min: float, ctx: trilemma.Context) -> Bound:
        """The variational bound between the ends of the noise schedule, from `draws` noise levels for each point."""
        x = self.encoded(x, ctx)
        low, high = (self.schedule.ends / 2).exp()
        ctx.details.setdefault("eps", float(low))
        ctx.details["gamma"] = self.schedule.ends.tolist()
        ends = float(low), float(high)
        diffusion = [diffusion_term(self.denoiser, p, *ends, draws, ctx.generator) for p in torch.split(x, ROWS)]
        reconstruction = [self.reconstruction(part, ctx) for part in torch.split(x, _LEVEL_ROWS)]
        return Bound(prior_term(x, high), torch.cat(diffusion), torch.cat(reconstruction))


class LevelFeatures(nn.Module):
    """A network on images that also sees sines and cosines with periods of two levels and of one.

    They are those of Kingma et al. 2021 (eq. 34), whose images have 256 levels in [-1, 1]: there the frequencies are
    2^7 pi and 2^8 pi.
    """

    def __init__(self, network: nn.Module, levels: Levels) -> None:
        super().__init__()
        self.network, self.levels = network, levels

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        phase = math.pi * (x - self.levels.low) / self.levels.width
        waves = [wave(n * phase) for n in (1, 2) for wave in (torch.sin, torch.cos)]
        value: Tensor = self.network(torch.cat([x, *waves], dim=1), label)
        return value


class VdmUnet(OnImages, Vdm):
    """Variational diffusion model (Kingma et al. 2021) with a small U-Net, on images of 8 to 32 pixels a side.

    The diffusion starts from the centers of the intensity levels, and p(x | z_0) is a distribution over the levels,
    proportional to q(z_0 | x), as in the paper (eq. 8). The bound is therefore one on the probability of the levels
    (base `discrete`), without dequantization. The Fourier features are those of the paper for the number of levels.

    Samplers end at z_0, the lowest noise level of the schedule, and a sample has the level nearest to the denoised z_0,
    with uniform noise within it, as in the density of the levels. With sigma_0 of a sixth of a level these are hardly
    ever other levels than those of p(x | z_0).

    Deviations from the paper: a small U-Net of two levels instead of a deep one that keeps the resolution; the level of
    a sample is that of the denoised z_0 (paper: drawn from p(x | z_0), in its code the most likely one); those of `vdm`
    in the schedule.

    The likelihood method `ode` suits the model with truncated-normal dequantization, since it sees no other noise.
    """

    name = "vdm-unet"
    expected_failures = {"sampler-options": "samplers end at the lowest noise level of the schedule, not at theirs"}

    class Config(VdmOptions, UNetConfig):
        """Options of the network and of the noise schedule."""

        fourier: bool = Field(True, description="whether the network sees Fourier features of the intensities")

    class Likelihood(OdeLikelihood):
        """Options of the variational bound, and of the probability-flow likelihood."""

        method: Literal["ode", "bound"] = Field(
            "bound", description="bound, the variational bound; ode, the density of the probability-flow ODE"
        )
        bound_draws: int = Field(8, ge=0, description="noise levels drawn per point for the variational bound")
        steps: int = Field(18, ge=1, description=f"number of steps of the Runge-Kutta method of order 4{DIVIDED}")
        divergence: Literal["auto", "exact", "hutchinson"] = Field(
            "hutchinson",
            description=f"exact, Hutchinson's estimate, or auto, which is exact up to {EXACT_UP_TO} dimensions",
        )
        probes: int = Field(2, ge=1, description="number of Rademacher probes in Hutchinson's estimate")

    def build(self, info: trilemma.DataInfo) -> None:
        self.levels = Levels.of(info)
        super().build(info)

    def ends(self, info: trilemma.DataInfo) -> tuple[float, float]:
        """As in the paper sigma_0 is 1/6 of the width of a level, with which the levels hardly overlap."""
        return 2 * math.log(self.levels.width / (2 * TRUNCATION)), PAPER_ENDS[1]

    def network(self, info: trilemma.DataInfo) -> nn.Module:
        channels = info.shape[0]
        if not self.config.fourier:
            return super().network(info)
        wide = replace(info, shape=(5 * channels, *info.shape[1:]))
        return LevelFeatures(self.config.network(wide, channels), self.levels)

    def encoded(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return self.levels.centered(x)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.levels.spread(self.levels.index(super().sample(n, ctx)), ctx.generator)

    def reconstruction(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """-log p(x | z_0) at one draw of z_0, `(n,)`: p is proportional to N(z_0 / alpha_0; level, sigma_0^2)."""
        levels, sigma = self.levels, (self.schedule.ends[0] / 2).exp()
        noisy = x + sigma * standard_normal(x, ctx.generator)
        logits = -0.5 * ((noisy.unsqueeze(-1) - levels.centers.to(x)) / sigma).square()
        chosen = logits.log_softmax(-1).gather(-1, levels.index(x).unsqueeze(-1))
        return -chosen.flatten(1).sum(1)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The bound on log P of the levels, as a log-density that is uniform within each level, -inf outside.

        With the method `ode`, the log-density of `OdeDensity`.
        """
        values, options, levels = super().log_prob(x, ctx), ctx.likelihood, self.levels
        assert isinstance(options, OdeLikelihood)
        if options.method == "ode":
            return values
        ctx.details["base"] = "discrete"
        return (values - x[0].numel() * math.log(levels.width)).where(levels.inside(x), -torch.inf)
