"""Continuous normalizing flows: the change of variables along an ordinary differential equation.

Sources: Chen et al. 2018; Grathwohl et al. 2019 (FFJORD).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

import trilemma

from ..networks.divergence import EXACT_UP_TO
from ..networks.dormand_prince import dormand_prince, record_evaluations
from ..networks.mlp import initialize
from ..networks.points import rademacher
from ..networks.runge_kutta import DIVIDED, REFINE, REFINED, State, record_overflow, runge_kutta
from .base import StandardNormal
from .conditioners import Conditioner

TRAIN_EXACT_UP_TO = 3
"""Largest dimension in which training uses the exact trace by default. Its cost grows with the dimension."""


class Velocity(Conditioner):
    """The velocity field f(x, t), an MLP with SiLU activations, together with products J v of its Jacobian.

    The products with the given vectors v are computed forward, layer by layer. k products cost k more passes, and they
    are differentiable.
    """

    def __init__(self, d: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise((d, *hidden, d)))
        self.time = nn.Linear(3, hidden[0])
        initialize(self.layers, last_gain=0.1)

    def forward(self, x: Tensor, t: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """f(x, t), `(n, d)`, and the products J v, `(k, n, d)`.

        The inputs are `x`, `(n, d)`, the time `t`, `()` or `(n,)`, and `vectors`, `(k, n, d)`.
        """
        first, *middle = (layer for layer in self.layers if isinstance(layer, nn.Linear))
        clock = self.time(torch.stack([t, torch.sin(math.pi * t), torch.cos(math.pi * t)], dim=-1).to(x))
        h = first(x) + clock
        tangents = vectors @ first.weight.T
        for layer in middle:
            gate = torch.sigmoid(h)
            tangents = (tangents * (gate * (1 + h * (1 - gate)))) @ layer.weight.T
            h = F.linear(h * gate, layer.weight, layer.bias)
        return h, tangents


class RungeKutta(trilemma.Sampler):
    """The classical Runge-Kutta method of order 4 with equal steps and four evaluations per step."""

    name = "rk4"
    steps: int = Field(10, ge=1, description="number of steps from the base distribution to the data")


class AdaptiveRungeKutta(trilemma.Sampler):
    """The adaptive Dormand-Prince method (dopri5), with which the paper trains and samples.

    The step size is chosen for each sample. The details hold the mean and the largest number of evaluations per sample.
    """

    name = "dopri5"
    rtol: float = Field(1e-5, gt=0, description="relative tolerance")
    atol: float = Field(1e-5, gt=0, description="absolute tolerance")


class SolverOptions(trilemma.Config):
    """Options of the solver of the differential equation."""

    solver: Literal["rk4", "dopri5"] = Field(
        "rk4",
        description="rk4, the Runge-Kutta method of order 4 with equal steps (a likelihood divides rough ones), or "
        "dopri5, the adaptive method of the paper",
    )
    rtol: float = Field(1e-5, gt=0, description="relative tolerance of dopri5")
    atol: float = Field(1e-5, gt=0, description="absolute tolerance of dopri5")


class ContinuousFlow(trilemma.NeuralModel):
    """Continuous normalizing flow (Chen et al. 2018; FFJORD, Grathwohl et al. 2019), trained by maximum likelihood.

    Deviations from FFJORD: the default solver has equal steps, and `solver = "dopri5"` is the paper's, with the paper's
    tolerances; gradients go back through the steps of the solver and not through an adjoint equation (they differ by
    the error of the solver); dopri5 has a step size for each point and not for a batch; the trace is exact up to
    three dimensions, and probes are random signs; the network is an MLP with SiLU that sees the time in its first layer
    only.
    """

    name = "cnf"
    family = "flow"
    likelihood = "ode"
    image_space = "logit"
    samplers = (RungeKutta, AdaptiveRungeKutta)
    recipe = trilemma.Recipe(lr=5e-3, batch_size=256, schedule="cosine", ema=0.99, clip=10.0)

    class Config(SolverOptions):
        """Options of the network and of its training."""

        hidden: tuple[int, ...] = Field((64, 64, 64), min_length=1, description="widths of the hidden layers")
        steps: int = Field(5, ge=1, description="number of steps of rk4 in training")
        divergence: Literal["auto", "exact", "hutchinson"] = Field(
            "auto",
            description="trace of the Jacobian in training: exact, Hutchinson's estimate, or auto, which is exact up "
            f"to {TRAIN_EXACT_UP_TO} dimensions",
        )

    class Likelihood(SolverOptions):
        """Options of the log-density."""

        steps: int = Field(20, ge=1, description=f"number of steps of rk4{DIVIDED}")
        divergence: Literal["auto", "exact", "hutchinson"] = Field(
            "auto", description=f"exact, Hutchinson's estimate, or auto, which is exact up to {EXACT_UP_TO} dimensions"
        )
        probes: int = Field(4, ge=1, description="number of Rademacher probes in Hutchinson's estimate")

    def build(self, info: trilemma.DataInfo) -> None:
        self.base = StandardNormal(info.shape)
        self.velocity = Velocity(info.dim, self.config.hidden)

    def flow(self, x: Tensor, times: Tensor, vectors: Tensor, refine: int = 0) -> State:
        """The end points of `x`, `(n, d)`, after `times`, and the integrals of v'Jv, `(k, n)`.

        `vectors` holds the v, `(k, n, d)`. With `refine`, rough steps are divided up to so many times over.
        """

        def slope(y: Tensor, t: Tensor, rows: Tensor) -> State:
            v = vectors[:, rows] if refine else vectors
            value, products = self.velocity(y, t, v)
            return value, (products * v).sum(2)

        return runge_kutta(slope, x, times, refine=refine)

    def adaptive_flow(
        self, x: Tensor, start: float, end: float, vectors: Tensor, options: SolverOptions | AdaptiveRungeKutta
    ) -> tuple[State, Tensor]:
        """`flow` from the time `start` to `end` by the Dormand-Prince method, and the evaluations of each point.

        The integrals are part of the state, so that the tolerances hold for them too.
        """
        d = x.shape[1]

        def field(y: Tensor, t: Tensor, v: Tensor) -> Tensor:
            value, products = self.velocity(y[:, :d], t, v.transpose(0, 1))
            return torch.cat([value, (products.transpose(0, 1) * v).sum(2)], dim=1)

        state = torch.cat([x, x.new_zeros((len(x), len(vectors)))], dim=1)
        tolerances = {"rtol": options.rtol, "atol": options.atol}
        ended, evaluations = dormand_prince(field, state, start, end, **tolerances, constants=[vectors.transpose(0, 1)])
        return (ended[:, :d], ended[:, d:].T), evaluations

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        exact = _is_exact(self.config.divergence, x, TRAIN_EXACT_UP_TO)
        return -self._log_prob(x, self.config, exact, 1, ctx.generator).values.mean()

    def validation_loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        exact = _is_exact(self.config.divergence, x, EXACT_UP_TO)
        return -self._log_prob(x[:500], self.config, exact, 1, ctx.generator).values.mean()

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        z = self.base.sample(n, ctx.generator)
        no_vectors = z.new_zeros((0, *z.shape))
        if isinstance(ctx.sampler, AdaptiveRungeKutta):
            (x, _), evaluations = self.adaptive_flow(z, 1.0, 0.0, no_vectors, ctx.sampler)
            record_evaluations(ctx, evaluations)
            return x
        steps = ctx.sampler.steps if isinstance(ctx.sampler, RungeKutta) else RungeKutta().steps
        return self.flow(z, torch.linspace(1, 0, steps + 1, dtype=torch.float64), no_vectors)[0]

    @torch.no_grad()
    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        options = ctx.likelihood if isinstance(ctx.likelihood, self.Likelihood) else self.Likelihood()
        exact = _is_exact(options.divergence, x, EXACT_UP_TO)
        found = self._log_prob(x, options, exact, options.probes, ctx.generator, REFINE)
        ctx.details.update(_describe(options, exact))
        record_overflow(ctx, found.values)
        if found.evaluations is not None:
            record_evaluations(ctx, found.evaluations)
        if not exact and options.probes > 1:
            # The standard error of the log-density of one point, as a root mean square over the points.
            ctx.details["probe_standard_error"] = float(found.error)
        return found.values

    def _log_prob(
        self, x: Tensor, options: Any, exact: bool, probes: int, generator: torch.Generator, refine: int = 0
    ) -> Solved:
        """The log-density by the solver of the options, a `Config` or a `Likelihood`.

        log p(x) = log N(x(1); 0, I) + the integral of div f over t in (0, 1) (Grathwohl et al. 2019, eq. 3). The same
        probes are used along the whole path (section 3.1).
        """
        n, d = x.shape
        if exact:
            vectors = torch.eye(d, dtype=x.dtype, device=x.device).unsqueeze(1).expand(d, n, d)
        else:
            vectors = rademacher((probes, n, d), x, generator)
        evaluations = None
        if options.solver == "dopri5":
            (z, integrals), evaluations = self.adaptive_flow(x, 0.0, 1.0, vectors, options)
        else:
            times = torch.linspace(0, 1, options.steps + 1, dtype=torch.float64)
            # The mean of v'Jv over v = sqrt(d) e_i is the divergence, as with random probes: it says what is rough.
            z, integrals = self.flow(x, times, math.sqrt(d) * vectors if exact else vectors, refine)
            integrals = integrals / d if exact else integrals
        trace = integrals.sum(0) if exact else integrals.mean(0)
        error = (integrals.var(0, correction=min(1, probes - 1)).mean() / probes).sqrt()
        return Solved(self.base.log_prob(z) + trace, error.detach(), evaluations)


class Solved(NamedTuple):
    """Log-densities of points, and how they were got."""

    values: Tensor
    """Log-densities, `(n,)`."""
    error: Tensor
    """Their standard error from the probes, as a root mean square over the points."""
    evaluations: Tensor | None
    """Evaluations of each point, `(n,)`, by an adaptive solver."""


def _is_exact(divergence: str, x: Tensor, up_to: int) -> bool:
    return divergence == "exact" or (divergence == "auto" and x.shape[1] <= up_to)


def _describe(options: Any, exact: bool) -> dict[str, Any]:
    """The details of how a log-density was computed."""
    details: dict[str, Any] = {"solver": REFINED if options.solver == "rk4" else options.solver}
    if options.solver == "rk4":
        details["steps"] = options.steps
    else:
        details |= {"rtol": options.rtol, "atol": options.atol}
    details["divergence"] = "exact" if exact else "hutchinson"
    if not exact:
        details["probes"] = options.probes
    return details
