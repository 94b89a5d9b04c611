"""Conditional flow matching, with independent or optimal-transport pairs, and rectified flow.

The vector field is a view of a denoiser (`VelocityPrediction`), so that solvers and likelihood are those of diffusions:
Euler's method in the time of the path is DDIM at the noise levels (1 - s)/s.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

import trilemma

from ..networks.mlp import MLPConfig
from ..networks.points import ROWS, standard_normal, stratified
from .denoiser import Denoiser, VelocityPrediction, noise_residual
from .model import DiffusionModel
from .ode import ddim, dpm_solver_2m
from .samplers import ODE_SAMPLERS, DenoiserSampler, DpmSolver2M
from .schedules import Diffusion, StraightPath


class FlowEuler(DenoiserSampler):
    """Euler's method with even steps in the time of the path: `steps` evaluations."""

    name = "flow-euler"
    steps: int = Field(20, ge=1, description="steps from noise to data")

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return ddim(denoise, noise, path_noise_levels(self.steps, diffusion))


class FlowMultistep(DenoiserSampler):
    """DPM-Solver++(2M) with even steps in the time of the path: `steps` evaluations."""

    name = "flow-multistep"
    steps: int = Field(10, ge=1, description="steps from noise to data")

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return dpm_solver_2m(denoise, noise, path_noise_levels(self.steps, diffusion))


def path_noise_levels(steps: int, diffusion: Diffusion) -> Tensor:
    """The noise levels at the starts of `steps` even steps of time."""
    return diffusion.sigma(1 - torch.arange(steps, dtype=torch.float64) / steps)


def flow_matching_loss(denoise: Denoiser, x: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    """E|v(x_s, s) - (x - z)|^2 on x_s = (1 - s) z + s x (Lipman et al. 2023, eq. 23), per coordinate; `share` is s.

    The residual of the denoiser is that of the velocity over (1 + sigma)^2.
    """
    sigma = (1 - share) / share
    return ((1 + sigma) ** 2 * noise_residual(denoise, x, noise, sigma)).mean() / x[0].numel()


def optimal_pairs(x: Tensor, noise: Tensor, batch: int) -> Tensor:
    """The noise in the order that pairs it with `x` at least squared distance, within groups of `batch` points.

    Minibatch optimal transport (Tong et al. 2024, section 3.3; Pooladian et al. 2023), solved exactly.
    """
    import ot

    paired = []
    for points, candidates in zip(torch.split(x, batch), torch.split(noise, batch), strict=True):
        cost = torch.cdist(points.flatten(1), candidates.flatten(1)).square().double().cpu().numpy()
        weights = np.full(len(points), 1 / len(points))
        plan = torch.as_tensor(ot.emd(weights, weights, cost))
        paired.append(candidates[plan.argmax(1).to(candidates.device)])
    return torch.cat(paired)


class FlowMatching(DiffusionModel):
    """Conditional flow matching along straight paths (Lipman et al. 2023), with an MLP on vectors."""

    name = "flow-matching"
    samplers = (FlowEuler, FlowMultistep, *ODE_SAMPLERS)

    class Config(MLPConfig):
        """The network."""

        edge: float = Field(1e-3, gt=0, lt=0.5, description="share of time at both ends that is not seen in training")

    def build(self, info: trilemma.DataInfo) -> None:
        self.diffusion = StraightPath(1 / self.config.edge)  # no further than the network has seen
        self.denoiser = VelocityPrediction(self.network(info))

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The flow matching loss at times drawn uniformly, one in each of equal parts."""
        return self.loss_on_pairs(x, self.pair(x, standard_normal(x, ctx.generator)), ctx)

    def pair(self, x: Tensor, noise: Tensor) -> Tensor:
        """The noise that each point is paired with."""
        return noise

    def loss_on_pairs(self, x: Tensor, noise: Tensor, ctx: trilemma.Context) -> Tensor:
        """The loss of given pairs of points and noise."""
        edge = self.config.edge
        order = torch.randperm(len(x), generator=ctx.generator, device=x.device)
        share = edge + (1 - 2 * edge) * stratified(len(x), ctx.generator)[order]
        return flow_matching_loss(self.denoiser, x, noise, share)


class PairedFlow(FlowMatching):
    """Flow matching on a pool of chosen pairs of noise and points, which is made while training."""

    class Config(FlowMatching.Config):
        """The network."""

        octaves: int = Field(4, ge=0, description="octaves of Fourier features of the point: the paths part sharply")

    _pairs: tuple[Tensor, Tensor] | None = None

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self._pairs = None
        super().fit(train, ctx)
        self._pairs = None

    def loss_on_pool(self, n: int, ctx: trilemma.Context) -> Tensor:
        """The loss of `n` pairs of the pool, at times of their own."""
        assert self._pairs is not None
        noise, ends = self._pairs
        rows = torch.randint(len(noise), (n,), generator=ctx.generator, device=noise.device)
        return self.loss_on_pairs(ends[rows], noise[rows], ctx)

    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        """Raises UnsupportedError: paired with data, the noise of a path is not independent of it."""
        return trilemma.Model.score(self, x, sigma, ctx)


class OtFlowMatching(PairedFlow):
    """Flow matching on pairs by minibatch optimal transport (Tong et al. 2024): straighter paths, fewer steps.

    A large minibatch gives straighter paths, and its pairing costs more than a step: pairs go to a pool, from which
    every step draws. The pairing runs outside the graph (POT on the CPU), so its loss cannot be compiled whole.
    """

    name = "ot-flow-matching"
    recipe = FlowMatching.recipe.model_copy(update={"keep": "last"})
    validation_draws = 1

    class Config(PairedFlow.Config):
        """The network and the pairing."""

        ot_batch: int = Field(512, ge=2, description="points among which pairs are chosen, at most those of a step")
        every: int = Field(16, ge=1, description="steps from one pairing to the next")
        pool: int = Field(50_000, ge=1, description="pairs that are kept: the latest")

    def training_step(self, x: Tensor, ctx: trilemma.Context, update: trilemma.Update) -> dict[str, Tensor]:
        """A step on pairs of the pool, to which now and then those of a new minibatch are added."""
        if ctx.clock is None:  # outside of `fit`, where the cost of a step is counted
            return super().training_step(x, ctx, update)
        if self._pairs is None or ctx.clock.step % self.config.every == 0:
            self._add(self.pair(x, standard_normal(x, ctx.generator)), x)
        loss = self.loss_on_pool(len(x), ctx)
        update(loss)
        return {"loss": loss.detach()}

    def _add(self, noise: Tensor, x: Tensor) -> None:
        if self._pairs is not None:
            noise, x = torch.cat([self._pairs[0], noise]), torch.cat([self._pairs[1], x])
        self._pairs = noise[-self.config.pool :], x[-self.config.pool :]

    def pair(self, x: Tensor, noise: Tensor) -> Tensor:
        return optimal_pairs(x, noise, self.config.ot_batch)


class RectifiedFlow(PairedFlow):
    """Rectified flow with one reflow (Liu et al. 2023): flow matching, then again on the pairs that it made.

    The first share of the budget trains the flow; then an average of its weights draws pairs of noise and sample by
    DPM-Solver++(2M), and the rest of the budget trains on those.
    """

    name = "rectified-flow"
    recipe = FlowMatching.recipe.model_copy(update={"keep": "last"})

    class Config(PairedFlow.Config):
        """The network and the reflow."""

        first: float = Field(0.3, gt=0, lt=1, description="share of the budget before the reflow")
        pairs: int = Field(50_000, ge=1, description="pairs of noise and sample that the reflow trains on")
        steps: int = Field(25, ge=1, description="evaluations for each pair")

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self._teacher: list[AveragedModel] = []  # in a list, so that it is no part of the model
        super().fit(train, ctx)
        del self._teacher

    def training_step(self, x: Tensor, ctx: trilemma.Context, update: trilemma.Update) -> dict[str, Tensor]:
        """A step on data, or past the first share of the budget on pairs that the flow made."""
        if ctx.clock is None:  # outside of `fit`, where the cost of a step is counted
            return super().training_step(x, ctx, update)
        if not self._teacher:
            self._teacher.append(AveragedModel(self.denoiser, avg_fn=ramped_average))
        if ctx.clock.progress < self.config.first:
            loss = self.loss(x, ctx)
            update(loss)
            self._teacher[0].update_parameters(self.denoiser)
        else:
            if self._pairs is None:
                self._pairs = self.make_pairs(self._teacher[0], ctx)
            loss = self.loss_on_pool(len(x), ctx)
            update(loss)
        return {"loss": loss.detach()}

    def make_pairs(self, denoise: Denoiser, ctx: trilemma.Context) -> tuple[Tensor, Tensor]:
        """Noise and where the flow carries it."""
        sampler = DpmSolver2M(steps=self.config.steps)
        noise = torch.randn((self.config.pairs, *ctx.info.shape), generator=ctx.generator, device=ctx.device)
        with torch.no_grad():
            ends = torch.cat([sampler.draw(denoise, z, self.diffusion, ctx) for z in torch.split(noise, ROWS)])
        return noise, ends


def ramped_average(average: Tensor, latest: Tensor, count: Tensor | int) -> Tensor:
    """The running average of weights after `count` of them: soon that of all, later that of the last few hundred."""
    return torch.lerp(latest, average, min(0.998, (1 + int(count)) / (10 + int(count))))
