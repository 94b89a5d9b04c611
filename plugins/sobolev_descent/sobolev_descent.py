"""Sobolev descent (Mroueh, Sercu & Raj 2019) and unbalanced Sobolev descent (Mroueh & Rigotti 2020)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

import trilemma

from .critic import Critic, CriticNetwork, augmented_lagrangian, sobolev_constraint, values_and_gradients
from .particles import birth_death, median_distance, mmd

WARM_UP = 0.03  # share of the budget in which the critic learns before the particles move
CURVE_POINTS = 40  # points of the MMD curve: one at each of the first 40 steps, and about 40 spread over all steps
MMD_POINTS = 500


class Transport(trilemma.Sampler):
    """Moves fresh noise along the descent, with the stored critic of each step.

    A step takes one evaluation, and two with births and deaths.
    """

    name = "transport"
    steps: int | None = Field(None, ge=1, description="number of steps to take, from the first; by default all")


class SobolevDescent(trilemma.NeuralModel):
    """Sobolev descent (Mroueh, Sercu & Raj 2019): particles follow the gradient of a critic from noise to data.

    Training moves a set of particles and stores the critic of every step. Sampling moves fresh noise by all the stored
    critics, so samples are independent of each other and of the training particles. The number of descent steps is
    fixed, and a larger budget trains the critic longer between two of them.

    Deviations from the paper: it moves one set of particles and has no sampler. The critic is an MLP with SiLU
    activations over Fourier features, instead of ReLU layers with dropout. The number of its steps between two steps of
    the particles depends on the budget, and it learns for 3 % of the budget before they move. The step size falls to 0,
    unless `decay` is 0 as in the paper. The multiplier of the constraint is kept from becoming negative. The constraint
    bounds the squared gradient under the equal mixture of particles and data, as in the Sobolev GAN of the same authors
    (2018); with `measure = "particles"` it does so under the particles alone, as in the paper. Then nothing bounds the
    critic at data between particles, and narrow modes end too narrow. The constraint takes the gradient of each
    particle by itself, as in the paper; the public code of the authors uses the gradient of the mean.

    On narrow modes the critic is the limit. The constraint keeps the mean squared gradient at 1 however close the
    particles are, so that they come to rest only because the step falls. On `grid25` each mode has about its mass, but
    its particles form a cluster that is narrower than the mode and beside its center. A mode whose cluster is more than
    three standard deviations beside it counts as missing. A larger `decay` or more `octaves` may help there.
    """

    name = "sobolev-descent"
    family = "descent"
    expected_failures = {"sample-size": "after so few steps, the critics carry most particles to the same few points"}
    samplers = (Transport,)
    recipe = trilemma.Recipe(
        lr=2e-3, batch_size=512, betas=(0.5, 0.9), schedule="cosine", clip=None, ema=None, keep="last", validations=0
    )
    multiplier: Tensor
    path: Tensor
    particles: Tensor

    class Config(trilemma.Config):
        """The critic and the descent."""

        hidden: tuple[int, ...] = Field((64, 64), description="widths of the critic's hidden layers")
        octaves: int = Field(4, ge=0, description="octaves of Fourier features of the point")
        particles: int = Field(4_000, ge=2, description="particles of the descent in training")
        steps: int = Field(200, ge=1, description="steps of the descent")
        step: float = Field(0.04, gt=0, description="length of the first step, from which it falls to 0")
        decay: float = Field(
            1.0,
            ge=0,
            description="power of the share of steps left, by which the step falls; 0 is constant, as in the paper",
        )
        alpha: float = Field(0.0, ge=0, description="weight of the critic's variance in its constraint")
        measure: Literal["mixture", "particles"] = Field(
            "mixture",
            description="points at which the constraint takes the critic's gradient: particles, as in the paper, or "
            "particles and data in equal parts",
        )
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
        """Train the critic and move the particles in turns.

        `ctx.curves` gets `mmd`, the MMD between particles and validation points along the descent, and `mmd_floor`, the
        MMD between training points and validation points.
        """
        super().fit(train, ctx)
        while self._moved < self.config.steps:
            self.move(ctx)

    def initialize(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self._moved = 0
        self.particles.normal_(generator=ctx.generator)
        self._width = median_distance(train.x[:MMD_POINTS])
        self.record(ctx, train)

    def training_state(self) -> dict[str, Any]:
        return {"moved": self._moved}

    def load_training_state(self, state: dict[str, Any]) -> None:
        self._moved = state["moved"]

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The loss of the critic, minus the augmented Lagrangian, on data `x` and an equal number of particles."""
        return self.objective(x, ctx)[0]

    def objective(self, x: Tensor, ctx: trilemma.Context) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, the gap E_p f - E_q f, and the constraint."""
        n = len(x)
        particles = self.particles[torch.randint(len(self.particles), (n,), generator=ctx.generator, device=x.device)]
        # Gradients are what costs most, so they are taken at n points: particles alone, or data in one half of them.
        k = n // 2 if self.config.measure == "mixture" else 0
        values, gradients = values_and_gradients(self.critic, torch.cat([x[:k], particles[k:]]), differentiable=True)
        others = self.critic(torch.cat([x[k:], particles[:k]]))
        of_data, of_particles = torch.cat([values[:k], others[: n - k]]), torch.cat([values[k:], others[n - k :]])
        gap = of_data.mean() - of_particles.mean()
        constraint = sobolev_constraint(of_particles, gradients, self.config.alpha)
        return -augmented_lagrangian(gap, constraint, self.multiplier, self.config.rho), gap, constraint

    def training_step(self, x: Tensor, ctx: trilemma.Context, update: trilemma.Update) -> dict[str, Tensor]:
        """One step of the critic and of the multiplier, then the steps of the descent that are due."""
        loss, gap, constraint = self.objective(x, ctx)
        update(loss)
        # The constraint is C <= 0, so the multiplier must not be negative; below 0 it would make the critic overshoot.
        self.multiplier.add_(self.config.rho * constraint.detach()).clamp_(min=0)
        if ctx.clock is not None:
            due = self.config.steps * (ctx.clock.progress - WARM_UP) / (1 - WARM_UP)
            while self._moved < due:
                self.move(ctx)
        return {"loss": loss.detach(), "gap": gap.detach(), "constraint": constraint.detach()}

    @torch.no_grad()
    def move(self, ctx: trilemma.Context) -> None:
        """Store the critic, and move all particles one step along its gradient."""
        self.path[self._moved] = parameters_to_vector(self.critic.parameters())
        self.particles.copy_(self.step(self.particles, self._moved, ctx.generator))
        self._moved += 1
        if self._moved <= CURVE_POINTS or self._moved % max(1, self.config.steps // CURVE_POINTS) == 0:
            self.record(ctx)

    def record(self, ctx: trilemma.Context, train: trilemma.Split | None = None) -> None:
        """Append the MMD between particles and validation points to the curves, and that of training points once.

        The budget does not pay for it.
        """
        if ctx.valid is None:
            return
        with ctx.clock.paused() if ctx.clock is not None else nullcontext():
            ctx.curves.setdefault("mmd_step", []).append(self._moved)
            ctx.curves.setdefault("mmd", []).append(self.discrepancy(self.particles, ctx.valid))
            if train is not None:
                ctx.curves["mmd_floor"] = [self.discrepancy(train.x, ctx.valid)]

    def discrepancy(self, x: Tensor, valid: trilemma.Split) -> float:
        """The MMD between the first `MMD_POINTS` points of `x` and of the validation split."""
        return mmd(x[:MMD_POINTS], valid.x[:MMD_POINTS].to(x), self._width)

    # The descent

    def step(self, x: Tensor, k: int, generator: torch.Generator) -> Tensor:
        """x + eps_k grad f_k, with the critic of step k."""
        return x + self.step_size(k) * values_and_gradients(self.stored(k), x)[1]

    def step_size(self, k: int) -> float:
        """The step size eps_k."""
        size: float = self.config.step * (1 - k / self.config.steps) ** self.config.decay
        return size

    def stored(self, k: int) -> Critic:
        """The critic of step k."""
        sizes = [p.numel() for p in self.critic.parameters()]
        weights = {
            name: flat.reshape(p.shape)
            for (name, p), flat in zip(self.critic.named_parameters(), torch.split(self.path[k], sizes), strict=True)
        }
        return lambda x: torch.func.functional_call(self.critic, weights, (x,))

    def carry(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """Move noise `x` along the descent."""
        sampler = ctx.sampler
        assert isinstance(sampler, Transport)
        for k in range(min(sampler.steps or self.config.steps, self.config.steps)):
            x = self.step(x, k, ctx.generator)
        return x

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        noise = torch.randn((n, *ctx.info.shape), generator=ctx.generator, device=ctx.device)
        return torch.cat([self.carry(part, ctx) for part in torch.split(noise, self.config.particles)])


class UnbalancedSobolevDescent(SobolevDescent):
    """Unbalanced Sobolev descent (Mroueh & Rigotti 2020): Sobolev descent in which particles are also born and die.

    A step moves the particles, and then takes births and deaths at the rates of the critic at the moved particles
    (algorithm 1). The deviations are those of `sobolev-descent`, and the time of births and deaths falls with the step
    size.

    Births and deaths need a population, so samples are drawn from populations of fresh noise with as many particles as
    in training. The evaluations of the whole population count as cost. Births and deaths also amplify random
    differences between a fresh population and the training particles. With `tau` of .3, fresh noise can end in a
    different distribution than the training particles. With the default, all steps together take about as much time
    of births and deaths as in the public code of the authors. Modes that are missing on `grid25` are not due to births
    and deaths, which leave each mode its mass, but to the critic, as in `sobolev-descent`.
    """

    name = "unbalanced-sobolev-descent"

    class Config(SobolevDescent.Config):
        """The critic and the descent."""

        alpha: float = Field(
            0.3, gt=0, description="weight of the variance of the critic in its constraint, and of births and deaths"
        )
        tau: float = Field(0.02, gt=0, description="time of births and deaths in the first step; it falls as the step")

    def step(self, x: Tensor, k: int, generator: torch.Generator) -> Tensor:
        x = super().step(x, k, generator)
        values = self.stored(k)(x)
        time = self.config.alpha * self.config.tau * self.step_size(k) / self.config.step
        return birth_death(x, values, time, generator)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        size = self.config.particles
        populations = []
        for _ in range(-(-n // size)):
            noise = torch.randn((size, *ctx.info.shape), generator=ctx.generator, device=ctx.device)
            populations.append(self.carry(noise, ctx))
        everyone = torch.cat(populations)
        return everyone[torch.randperm(len(everyone), generator=ctx.generator, device=ctx.device)[:n]]
