"""Sobolev descent (Mroueh, Sercu & Raj 2019) and unbalanced Sobolev descent (Mroueh & Rigotti 2020)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

import trilemma

from ..networks.mlp import FourierFeatures, initialize, mlp

Critic = Callable[[Tensor], Tensor]
"""Points `(n, *shape)` to values `(n,)`."""


def values_and_gradients(critic: Critic, x: Tensor, *, differentiable: bool = False) -> tuple[Tensor, Tensor]:
    """f(x_i), shape `(n,)`, and the gradient of f at each point, of the shape of `x`.

    The gradient of the sum is that of each value by itself, as no value depends on another point. `differentiable`:
    with respect to the critic's parameters.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        values = critic(x)
        gradients = torch.autograd.grad(values.sum(), x, create_graph=differentiable)[0]
    return (values, gradients) if differentiable else (values.detach(), gradients)


def sobolev_constraint(values: Tensor, gradients: Tensor, alpha: float) -> Tensor:
    """C = E_q|grad f|^2 + alpha Var_q f - 1, from f and its gradient at the particles.

    Sources: Mroueh, Sercu & Raj 2019, eq. 3 (alpha = 0); Mroueh & Rigotti 2020, section 3.
    """
    squared = gradients.square().flatten(1).sum(1)
    return squared.mean() + alpha * values.var(correction=0) - 1


def augmented_lagrangian(gap: Tensor, constraint: Tensor, multiplier: Tensor, rho: float) -> Tensor:
    """What the critic maximizes: (E_p f - E_q f) - lambda C - rho C^2 / 2."""
    return gap - multiplier * constraint - rho / 2 * constraint.square()


def birth_death(x: Tensor, values: Tensor, time: float, generator: torch.Generator) -> Tensor:
    """Particles `(n, *shape)` after births and deaths for `time` at the rates f - mean f; there are as many as before.

    Those with a positive rate are doubled and those with a negative one die, with probability 1 - exp(-time |rate|).
    The number is restored by dropping or doubling particles uniformly at random (Rotskoff et al. 2019, as in Mroueh &
    Rigotti 2020, algorithm 1).
    """
    rates = values - values.mean()
    chance = torch.rand(len(x), generator=generator, device=x.device)
    happens = chance < -(-time * rates.abs()).expm1()
    copies = torch.ones_like(rates, dtype=torch.long) + torch.where(rates > 0, 1, -1) * happens
    kept = torch.arange(len(x), device=x.device).repeat_interleave(copies)
    if len(kept) == 0:
        return x
    kept = kept[torch.randperm(len(kept), generator=generator, device=x.device)]
    if len(kept) < len(x):
        again = torch.randint(len(kept), (len(x) - len(kept),), generator=generator, device=x.device)
        kept = torch.cat([kept, kept[again]])
    return x[kept[: len(x)]]


def mmd(x: Tensor, y: Tensor, width: float) -> float:
    """Maximum mean discrepancy of two sets, the biased estimate (Gretton et al. 2012, eq. 5): never negative.

    The kernel is the mean of Gaussians of widths `width` x (1/4, 1/2, 1, 2, 4). Unlike the unbiased estimate, it has a
    floor above 0 for equal distributions, which falls as the root of the number of points.
    """

    def mean_kernel(a: Tensor, b: Tensor) -> float:
        """One exponential for the widest Gaussian; halving the width takes the fourth power."""
        power = (torch.cdist(a.flatten(1), b.flatten(1)).square() / (-2 * (4 * width) ** 2)).exp()
        total = power
        for _ in range(4):
            power = power**4
            total = total + power
        return float(total.double().mean()) / 5

    return math.sqrt(max(0.0, mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)))


def median_distance(x: Tensor) -> float:
    """Median distance between points `(n, *shape)`."""
    return float(torch.pdist(x.flatten(1)).median())


WARM_UP = 0.03  # share of the budget in which the critic learns before anything moves
CURVE_POINTS = 40  # of the MMD: one for each of the first steps, and as many over all
MMD_POINTS = 1_000


class Transport(trilemma.Sampler):
    """Fresh noise carried along the descent by the critics that were kept of it: one evaluation and gradient a step."""

    name = "transport"
    steps: int | None = Field(None, ge=1, description="steps taken, from the first; default: all")


class CriticNetwork(nn.Module):
    """A critic f on vectors: an MLP over Fourier features of the point. `(n, d)` to `(n,)`."""

    def __init__(self, d: int, hidden: tuple[int, ...], octaves: int) -> None:
        super().__init__()
        self.features = FourierFeatures(octaves)
        self.body = mlp((self.features.width(d), *hidden, 1))
        initialize(self.body, last_gain=0.5)

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = self.body(self.features(x))[:, 0]
        return value


class SobolevDescent(trilemma.NeuralModel):
    """Sobolev descent (Mroueh, Sercu & Raj 2019): particles follow the gradient of a critic from noise to data.

    Training moves a set of particles; the critic of every step is kept. A sample is fresh noise carried along by all of
    them, so that samples are independent and none is a particle that was trained on. The budget is spread evenly over
    the steps: what it buys is steps of the critic in between.
    """

    name = "sobolev-descent"
    family = "descent"
    samplers = (Transport,)
    recipe = trilemma.Recipe(
        lr=1e-3, batch_size=512, betas=(0.5, 0.9), schedule="constant", clip=None, ema=None, keep="last", validations=0
    )
    unbalanced: ClassVar[bool] = False
    multiplier: Tensor
    path: Tensor
    particles: Tensor

    class Config(trilemma.Config):
        """The critic and the descent."""

        hidden: tuple[int, ...] = Field((64, 64), description="widths of the critic's hidden layers")
        octaves: int = Field(2, ge=0, description="octaves of Fourier features of the point")
        particles: int = Field(4_000, ge=2, description="particles of the descent in training")
        steps: int = Field(200, ge=1, description="steps of the descent")
        step: float = Field(0.04, gt=0, description="length of the first step; it falls linearly to 0")
        alpha: float = Field(0.0, ge=0, description="weight of the critic's variance in its constraint")
        rho: float = Field(0.1, gt=0, description="weight of the squared constraint")

    def build(self, info: trilemma.DataInfo) -> None:
        config = self.config
        self.critic = CriticNetwork(info.dim, config.hidden, config.octaves)
        size = sum(p.numel() for p in self.critic.parameters())
        self.register_buffer("multiplier", torch.zeros(()))
        self.register_buffer("path", torch.zeros((config.steps, size)))
        self.register_buffer("particles", torch.zeros((config.particles, *info.shape)))

    def networks(self) -> Iterable[nn.Module]:
        return (self.critic,)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"all": list(self.critic.parameters())}

    # Training

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        """Train the critic and move the particles by turns; `ctx.curves` gets the MMD along the descent, and its floor.

        The MMD is that to validation points, the floor that of training points to them.
        """
        super().fit(train, ctx)
        while self._moved < self.config.steps:
            self.move(ctx)

    def initialize(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self._moved = 0
        self.particles.normal_(generator=ctx.generator)
        self._width = median_distance(train.x[:MMD_POINTS])
        self.record(ctx)
        if ctx.valid is not None:
            ctx.curves["mmd_floor"] = [self.discrepancy(train.x, ctx.valid)]

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """What the critic minimizes on data `x` and as many particles: minus the augmented Lagrangian."""
        return self.objective(x, ctx)[0]

    def objective(self, x: Tensor, ctx: trilemma.Context) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, the gap E_p f - E_q f, and the constraint."""
        rows = torch.randint(len(self.particles), (len(x),), generator=ctx.generator, device=x.device)
        values, gradients = values_and_gradients(self.critic, self.particles[rows], differentiable=True)
        gap = self.critic(x).mean() - values.mean()
        constraint = sobolev_constraint(values, gradients, self.config.alpha)
        return -augmented_lagrangian(gap, constraint, self.multiplier, self.config.rho), gap, constraint

    def training_step(self, x: Tensor, ctx: trilemma.Context, update: trilemma.Update) -> dict[str, Tensor]:
        """One step of the critic and its multiplier, then the steps of the descent that are due."""
        loss, gap, constraint = self.objective(x, ctx)
        update(loss)
        # The supremum is one over C <= 0: a negative multiplier would only make the critic overshoot.
        self.multiplier.add_(self.config.rho * constraint.detach()).clamp_(min=0)
        if ctx.clock is not None:
            due = self.config.steps * (ctx.clock.progress - WARM_UP) / (1 - WARM_UP)
            while self._moved < due:
                self.move(ctx)
        return {"loss": loss.detach(), "gap": gap.detach(), "constraint": constraint.detach()}

    @torch.no_grad()
    def move(self, ctx: trilemma.Context) -> None:
        """One step of all particles along the critic, which is kept."""
        self.path[self._moved] = parameters_to_vector(self.critic.parameters())
        self.particles.copy_(self.step(self.particles, self._moved, ctx.generator))
        self._moved += 1
        if self._moved <= CURVE_POINTS or self._moved % max(1, self.config.steps // CURVE_POINTS) == 0:
            self.record(ctx)

    def record(self, ctx: trilemma.Context) -> None:
        """Note the MMD between particles and validation points."""
        if ctx.valid is not None:
            ctx.curves.setdefault("mmd_step", []).append(self._moved)
            ctx.curves.setdefault("mmd", []).append(self.discrepancy(self.particles, ctx.valid))

    def discrepancy(self, x: Tensor, valid: trilemma.Split) -> float:
        """The MMD between the first points of two sets."""
        return mmd(x[:MMD_POINTS], valid.x[:MMD_POINTS].to(x), self._width)

    # The descent

    def step(self, x: Tensor, k: int, generator: torch.Generator) -> Tensor:
        """x + eps_k grad f_k, with the critic of step k."""
        _, gradients = self.evaluate(x, k)
        return x + self.step_size(k) * gradients

    def step_size(self, k: int) -> float:
        """eps_k."""
        size: float = self.config.step * (1 - k / self.config.steps)
        return size

    def evaluate(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The critic of step k and its gradients at `x`."""
        sizes = [p.numel() for p in self.critic.parameters()]
        names = [name for name, _ in self.critic.named_parameters()]
        weights = {
            name: flat.reshape(p.shape)
            for name, flat, p in zip(names, torch.split(self.path[k], sizes), self.critic.parameters(), strict=True)
        }
        return values_and_gradients(lambda y: torch.func.functional_call(self.critic, weights, (y,)), x)

    def carry(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """Noise carried along the descent."""
        sampler = ctx.sampler
        assert isinstance(sampler, Transport)
        for k in range(min(sampler.steps or self.config.steps, self.config.steps)):
            x = self.step(x, k, ctx.generator)
        return x

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        noise = torch.randn((n, *ctx.info.shape), generator=ctx.generator, device=ctx.device)
        return torch.cat([self.carry(part, ctx) for part in torch.split(noise, self.config.particles)])


class UnbalancedSobolevDescent(SobolevDescent):
    """Unbalanced Sobolev descent (Mroueh & Rigotti 2020): particles also double and die by the critic's value.

    Births and deaths need a population. So samples are drawn from whole populations of fresh noise, as large as that of
    training, all of whose evaluations count. They also amplify what a fresh population has more or less of than that of
    training: with `tau` three times the default, fresh noise can end elsewhere than the particles did.
    """

    name = "unbalanced-sobolev-descent"

    class Config(SobolevDescent.Config):
        """The critic and the descent."""

        alpha: float = Field(0.3, gt=0, description="weight of the critic's variance in its constraint, and of births")
        tau: float = Field(0.1, gt=0, description="time of births and deaths in the first step; it falls linearly to 0")

    def step(self, x: Tensor, k: int, generator: torch.Generator) -> Tensor:
        values, gradients = self.evaluate(x, k)
        time = self.config.alpha * self.config.tau * self.step_size(k) / self.config.step
        return birth_death(x + self.step_size(k) * gradients, values, time, generator)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        size = self.config.particles
        populations = []
        for _ in range(-(-n // size)):
            noise = torch.randn((size, *ctx.info.shape), generator=ctx.generator, device=ctx.device)
            populations.append(self.carry(noise, ctx))
        everyone = torch.cat(populations)
        return everyone[torch.randperm(len(everyone), generator=ctx.generator, device=ctx.device)[:n]]
