"""Sampling with the exact score of a mixture of Gaussians: a limit for the samplers of diffusion models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..diffusion.denoiser import Denoiser, DenoiserSampler, score
from ..diffusion.model import draw_samples
from ..diffusion.ode_samplers import ODE_SAMPLERS
from ..diffusion.schedules import Diffusion, VarianceExploding, VariancePreserving
from ..diffusion.sde_samplers import SDE_SAMPLERS

ROWS_AT_ONCE = 2_000


class MixtureDenoiser(nn.Module):
    """D(x, sigma) = E[x_0 | x_0 + sigma z = x] for a mixture of Gaussians, exact up to rounding.

    D(x, sigma) = sum_k r_k(x) (m_k + C_k (C_k + sigma^2 I)^-1 (x - m_k)), where r_k(x) is the probability that x came
    from component k (Karras et al. 2022, appendix B.3, for points in place of Gaussians). Shapes: `centers` (k, d),
    `weights` (k,), `covariances` (k, d, d). It computes in float64.
    """

    def __init__(self, modes: trilemma.Modes) -> None:
        super().__init__()
        variances, axes = torch.linalg.eigh(modes.covariances.double())
        self.centers, self.log_weights = modes.centers.double(), modes.weights.double().log()
        self.variances, self.axes = variances, axes

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The denoised points, of the shape of `x` (n, d); `sigma` has shape `()` or `(n,)`."""
        noise = sigma.to(x.device).expand(len(x))
        parts = zip(torch.split(x, ROWS_AT_ONCE), torch.split(noise, ROWS_AT_ONCE), strict=True)
        return torch.cat([self._denoised(*part) for part in parts]).to(x)

    def guided(self, sampler: DenoiserSampler) -> Denoiser:
        """This denoiser itself. Raises UnsupportedError for a sampler with autoguidance."""
        if sampler.guidance > 0:
            raise trilemma.UnsupportedError("the exact score has no weights early in training to guide it")
        return self

    def _denoised(self, x: Tensor, sigma: Tensor) -> Tensor:
        away = torch.einsum("nkd,kde->nke", x.double()[:, None] - self.centers, self.axes)
        noisy = self.variances + sigma.double()[:, None, None] ** 2
        log_shares = self.log_weights - 0.5 * (noisy.log() + away**2 / noisy).sum(2)
        shrunk = torch.einsum("nke,kde->nkd", away * self.variances / noisy, self.axes)
        return torch.einsum("nk,nkd->nd", log_shares.softmax(1), self.centers + shrunk)


class ExactScore(trilemma.Model):
    """The samplers of diffusion models with the exact score in place of a learned one, for mixtures of Gaussians.

    It is a control that learns nothing. It shows the errors of a sampler without those of a learned score. Starting
    noise is that of the diffusion, as for learned models.
    """

    name = "exact-score"
    family = "control"
    control = True
    pictured = False
    needs_truth = True
    samplers: ClassVar[tuple[type[trilemma.Sampler], ...]] = (*ODE_SAMPLERS, *SDE_SAMPLERS)

    class Config(trilemma.Config):
        """Options of the diffusion."""

        diffusion: Literal["ve", "vp"] = Field("ve", description="ve as in `ve-sde`, or vp as in `vp-sde`")
        sigma_min: float = Field(0.002, gt=0, description="noise level at time 0, of ve")
        sigma_max: float = Field(50.0, gt=0, description="noise level at time 1, of ve")
        beta_min: float = Field(0.1, gt=0, description="beta at time 0, of vp")
        beta_max: float = Field(20.0, gt=0, description="beta at time 1, of vp")

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        """Learn nothing. Raises UnsupportedError unless the distribution is a mixture of Gaussians."""
        denoiser(ctx)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return draw_samples(denoiser(ctx), self._diffusion(), n, ctx)

    @torch.no_grad()
    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        return score(denoiser(ctx), x, sigma)

    def _diffusion(self) -> Diffusion:
        c = self.config
        if c.diffusion == "vp":
            return VariancePreserving(c.beta_min, c.beta_max)
        return VarianceExploding(c.sigma_min, c.sigma_max)

    def state(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        return None


def denoiser(ctx: trilemma.Context) -> MixtureDenoiser:
    """The exact denoiser of the distribution. Raises UnsupportedError if it is no mixture of Gaussians."""
    modes = None if ctx.truth is None else ctx.truth.modes()
    if modes is None:
        raise trilemma.UnsupportedError(
            "the model exact-score needs a mixture of Gaussians, which the distribution of this dataset is not"
        )
    return MixtureDenoiser(modes)
