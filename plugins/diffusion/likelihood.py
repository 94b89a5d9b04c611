"""Log-densities of models with a denoiser: by the probability-flow ODE, and their variational bounds.

The source of the ODE is Song et al. 2021, section 4.3 and appendix D.2.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

import trilemma

from ..networks.divergence import EXACT_UP_TO, divergence
from ..networks.levels import TRUNCATION, Levels, truncated_normal
from ..networks.points import ROWS, rademacher
from ..networks.runge_kutta import DIVIDED, REFINE, REFINED, mean_over_probes, record_overflow, runge_kutta
from .bounds import Bound, continuous_bound
from .denoiser import Denoiser, probability_flow
from .schedules import Diffusion


class OdeLikelihood(trilemma.Model.Likelihood):
    """Options of the probability-flow likelihood, and of the variational bound."""

    method: Literal["ode", "bound"] = Field(
        "ode", description="ode, the density of the probability-flow ODE; bound, the variational bound of the SDE"
    )
    steps: int = Field(
        40,
        ge=1,
        description=f"number of steps of the Runge-Kutta method of order 4{DIVIDED}",
    )
    sigma_min: float = Field(
        0.002,
        gt=0,
        description="lowest noise level of the ODE, which data points are taken to have (early stopping), not below "
        "that of the diffusion",
    )
    divergence: Literal["auto", "exact", "hutchinson"] = Field(
        "auto", description=f"exact, Hutchinson's estimate, or auto, which is exact up to {EXACT_UP_TO} dimensions"
    )
    probes: int = Field(4, ge=1, description="number of Rademacher probes in Hutchinson's estimate")
    bound_draws: int = Field(
        0,
        ge=0,
        description="noise levels drawn per point for the variational bound; with 0 there is none beside the ODE, and "
        "the method bound draws one",
    )
    dequantization: Literal["uniform", "truncated-normal"] = Field(
        "uniform",
        description="noise within the intensity levels of images; truncated-normal (Zheng et al. 2023) is for models "
        "that are trained on the centers of levels, and sets sigma_min to 1/6 of the width of a level",
    )

    @model_validator(mode="after")
    def _of_the_ode(self) -> Self:
        if self.dequantization != "uniform" and self.method != "ode":
            raise ValueError("truncated-normal dequantization is for the method 'ode'")
        return self


BOUND_DETAILS = {"steps": None, "divergence": None, "probes": None}
"""The options of the ODE, which say nothing about how the bound was computed."""


def integrate(denoise: Denoiser, u: Tensor, log_sigmas: Tensor, probes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Carry `u` along the probability-flow ODE through noise levels by the classical Runge-Kutta method, refined.

    The ODE is solved in variance-preserving coordinates over ln(sigma). Returns the end points and the integral of the
    divergence of the velocity: the exact one, shape `(n,)`, or estimates with `probes`, of shape `(probes, n)`.
    """

    def slope(u: Tensor, log_sigma: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        sigma = log_sigma.exp()
        angle_rate = (sigma / (1 + sigma**2)).to(u)  # d arctan(sigma) / d ln(sigma)
        value, trace = divergence(
            lambda y: probability_flow(denoise, y, sigma), u, None if probes is None else probes[:, rows]
        )
        return angle_rate * value, angle_rate * trace

    return runge_kutta(slope, u, log_sigmas, refine=REFINE)


def ode_log_prob(
    denoise: Denoiser, x: Tensor, sigma_max: float, options: OdeLikelihood, generator: torch.Generator
) -> tuple[Tensor, dict[str, Any]]:
    """Log-density in nats of each row of `x`, and the details of how it was computed.

    log p(x) = log N(u_T; 0, I) + the integral of div du/dln(sigma) + log|du/dx| at `sigma_min`, by the change of
    variables along an ODE (Chen et al. 2018, eq. 8). The distribution of u at `sigma_max` is taken to be the standard
    normal.
    """
    d = x[0].numel()
    exact = options.divergence == "exact" or (options.divergence == "auto" and d <= EXACT_UP_TO)
    log_sigmas = torch.linspace(
        math.log(options.sigma_min), math.log(sigma_max), options.steps + 1, dtype=torch.float64
    )
    log_scale = -0.5 * math.log1p(options.sigma_min**2)
    u = x * math.exp(log_scale)
    details: dict[str, Any] = {
        "solver": REFINED,
        "steps": options.steps,
        "eps": options.sigma_min,
        "sigma_max": sigma_max,
        "divergence": "exact" if exact else "hutchinson",
    }
    if exact:
        end, integral = integrate(denoise, u, log_sigmas)
    else:
        probes = rademacher((options.probes, *x.shape), x, generator)
        end, integrals = integrate(denoise, u, log_sigmas, probes)
        integral = mean_over_probes(integrals, details)
    log_prior = -0.5 * (end.square().flatten(1).sum(1) + d * math.log(2 * math.pi))
    return log_prior + integral + d * log_scale, details


class OdeDensity:
    """A mixin that gives a model with a denoiser the log-density of the probability-flow ODE, or its variational bound.

    The denoiser must be trained at all noise levels up to the largest of the diffusion.
    """

    likelihood: ClassVar[Any] = "ode"
    diffusion: Diffusion
    denoiser: nn.Module

    class Likelihood(OdeLikelihood):
        """Options of the probability-flow likelihood."""

    def likelihood_kind(self, options: trilemma.Config) -> Any:
        assert isinstance(options, OdeLikelihood)
        return options.method

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The log-density by the method of the options, shape `(n,)`. The details say how it was computed.

        Raises UnsupportedError for truncated-normal dequantization of data without intensity levels.
        """
        options = ctx.likelihood
        assert isinstance(options, OdeLikelihood)
        logdet = x.new_zeros(len(x))
        if options.dequantization == "truncated-normal":
            levels = Levels.of(ctx.info)
            x, logdet = truncated_normal(x, levels)
            options = options.model_copy(update={"sigma_min": levels.width / (2 * TRUNCATION)})
        options = options.model_copy(update={"sigma_min": self.diffusion.lowest_of(options.sigma_min)})
        if options.method == "bound":
            draws = max(1, options.bound_draws)
            bound = self.bound(x, draws, options.sigma_min, ctx)
            ctx.details.update(BOUND_DETAILS, draws=draws, terms=bound.means())
            return bound.total + logdet
        parts, sigma_max = [], self.diffusion.sigma_max
        for part in torch.split(x, ROWS):
            values, details = ode_log_prob(self.denoiser, part, sigma_max, options, ctx.generator)
            parts.append(values)
            ctx.details.update(details)
        values = torch.cat(parts)
        record_overflow(ctx, values)
        if options.bound_draws > 0:
            bound = self.bound(x, options.bound_draws, options.sigma_min, ctx)
            # A difference of log-densities is the same in model space and in data space.
            ctx.details["bound_excess"] = float((values - bound.total).mean())
        return values + logdet

    def bound(self, x: Tensor, draws: int, sigma_min: float, ctx: trilemma.Context) -> Bound:
        """The variational bound, from `draws` noise levels for each point, down to `sigma_min`."""
        ctx.details.setdefault("eps", sigma_min)
        return continuous_bound(self.denoiser, x, sigma_min, self.diffusion.sigma_max, draws, ctx.generator)
