"""Flow matching on chosen pairs of noise and points: minibatch optimal transport and rectified flow."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

import trilemma

from ..networks.mlp import MLP_RECIPE, MLPConfig
from ..networks.points import ROWS, standard_normal
from ..networks.unet import UNET_RECIPE
from .autoguidance import Guided
from .denoiser import Denoiser, VelocityPrediction
from .flow_matching import (
    FLOW_SAMPLERS,
    PathConfig,
    StraightPath,
    flow_matching_loss,
    path_times,
    u_shaped_times,
)
from .likelihood import OdeDensity
from .model import Denoising
from .ode_samplers import DpmSolver2M

PAIRED_RECIPE = MLP_RECIPE.model_copy(update={"keep": "last"})
"""The training recipe for chosen pairs. The last weights are kept, because the validation loss uses other pairs."""

PAIRED_UNET_RECIPE = UNET_RECIPE.model_copy(update={"keep": "last"})
"""The training recipe for chosen pairs of noise and images."""


def optimal_pairs(x: Tensor, noise: Tensor, batch: int) -> Tensor:
    """`noise` in the order that pairs it with `x` at the least total squared distance, in groups of `batch` points.

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


class PairedMLPConfig(MLPConfig):
    """Options of the network for a flow on chosen pairs of noise and points."""

    octaves: int = Field(
        4,
        ge=0,
        description="number of octaves in the Fourier features of a point; high, because neighboring paths separate "
        "sharply",
    )


class PairingOptions(PathConfig):
    """Options of the path and of minibatch optimal transport."""

    ot_batch: int = Field(512, ge=2, description="number of points that are paired at once, at most the batch size")
    every: int = Field(16, ge=1, description="number of training steps from one pairing to the next")
    pool: int = Field(50_000, ge=1, description="number of pairs that are kept, the latest ones")


class ReflowOptions(PathConfig):
    """Options of the path and of the reflow."""

    first: float = Field(0.5, gt=0, lt=1, description="share of the budget before the reflow")
    pairs: int = Field(50_000, ge=1, description="number of pairs of noise and sample that the reflow trains on")
    steps: int = Field(25, ge=1, description="number of network evaluations to draw a pair")
    times: Literal["uniform", "u-shaped"] = Field(
        "u-shaped",
        description="distribution of times in the reflow: uniform as in the paper, or u-shaped, with more times near "
        "the ends, where a straight flow is hardest to learn (Lee et al. 2024)",
    )


class Pairs:
    """The latest `size` chosen pairs of noise and points, each `(n, *shape)`, that a flow trains on."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._pairs: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        return 0 if self._pairs is None else len(self._pairs[0])

    def add(self, noise: Tensor, x: Tensor) -> None:
        """Add pairs, and drop the oldest if there are more than `size`."""
        if self._pairs is not None:
            noise, x = torch.cat([self._pairs[0], noise]), torch.cat([self._pairs[1], x])
        self._pairs = noise[-self._size :], x[-self._size :]

    def state(self) -> list[Tensor] | None:
        """The noise and the points; None if there are no pairs yet."""
        return None if self._pairs is None else list(self._pairs)

    def load_state(self, state: list[Tensor] | None, device: torch.device) -> None:
        """Go on with the pairs that `state` returned."""
        self._pairs = None if state is None else (state[0].to(device), state[1].to(device))

    def loss(self, denoise: Denoiser, times: Tensor, generator: torch.Generator) -> Tensor:
        """The flow matching loss of randomly drawn pairs, one for each of the `times`, `(n,)`."""
        assert self._pairs is not None
        noise, x = self._pairs
        rows = torch.randint(len(x), times.shape, generator=generator, device=x.device)
        return flow_matching_loss(denoise, x[rows], noise[rows], times)


class WithoutScore:
    """A mixin for flows that give no score, because their noise depends on the point that it is paired with."""

    name: ClassVar[str]

    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        """Raises UnsupportedError."""
        raise trilemma.UnsupportedError(f"model '{self.name}' has no score: its noise depends on the points")

    def score_levels(self) -> tuple[float, float]:
        """Raises UnsupportedError."""
        raise trilemma.UnsupportedError(f"model '{self.name}' has no score: its noise depends on the points")


class OtFlowMatching(WithoutScore, OdeDensity, Denoising, Guided, trilemma.NeuralModel):
    """Flow matching on pairs from minibatch optimal transport (Tong et al. 2024), for straighter paths and fewer steps.

    A larger minibatch gives straighter paths, but pairing it costs more than a training step. The pairs are therefore
    kept, and every step draws from them. The pairing runs outside the autograd graph (POT on the CPU), so that the loss
    cannot be compiled as a whole.

    Deviations: pairs are used more than once, where the paper pairs every batch anew; a share `edge` of
    the time is left out at both ends, the network sees ln(sigma)/4 in place of the time, and times are stratified, as
    in `flow-matching`.
    """

    name = "ot-flow-matching"
    samplers = FLOW_SAMPLERS
    recipe = PAIRED_RECIPE
    validation_draws = 1

    class Config(PairingOptions, PairedMLPConfig):
        """Options of the network, of the path and of the pairing."""

    def build(self, info: trilemma.DataInfo) -> None:
        self.diffusion = StraightPath(self.config.edge)
        self.denoiser = VelocityPrediction(self.config.network(info))

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self._pairs = Pairs(self.config.pool)
        super().fit(train, ctx)
        del self._pairs

    def training_state(self) -> dict[str, Any]:
        return {"pairs": self._pairs.state()}

    def load_training_state(self, state: dict[str, Any]) -> None:
        self._pairs.load_state(state["pairs"], next(self.parameters()).device)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The flow matching loss of points and the noise that optimal transport pairs them with."""
        noise = self.paired_noise(x, ctx)
        return flow_matching_loss(self.denoiser, x, noise, path_times(len(x), self.config.edge, ctx.generator))

    def paired_noise(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """Noise in the order that pairs it with `x`."""
        return optimal_pairs(x, standard_normal(x, ctx.generator), self.config.ot_batch)

    def training_step(self, x: Tensor, ctx: trilemma.Context, update: trilemma.Update) -> dict[str, Tensor]:
        """Take a step on kept pairs. Every `every` steps the pairs of a new minibatch are added first."""
        if ctx.clock is None:  # outside of `fit`: the harness measures the cost of a step
            return super().training_step(x, ctx, update)
        if not self._pairs or ctx.clock.step % self.config.every == 0:
            self._pairs.add(self.paired_noise(x, ctx), x)
        times = path_times(len(x), self.config.edge, ctx.generator)
        loss = self._pairs.loss(self.denoiser, times, ctx.generator)
        update(loss)
        return {"loss": loss.detach()}


class RectifiedFlow(WithoutScore, OdeDensity, Denoising, Guided, trilemma.NeuralModel):
    """Rectified flow with one reflow (Liu et al. 2023): flow matching on data, then on pairs drawn from that flow.

    In the first share of the budget the flow trains on data. In the rest it trains on pairs of noise and sample that an
    average of its weights draws by DPM-Solver++(2M). The schedule of the learning rate runs over the reflow: the first
    flow trains at the peak, because its weights are averaged. The pairs are drawn in parts, with a training step after
    each, so that a short budget is not passed.

    Deviations from the paper: times of the reflow are u-shaped as in Lee, Lin & Fanti 2024, but steeper (8 in place of
    4), unless `times` is `uniform`. A straight flow chooses the mode at once, so that its velocity is steep near the
    noise, where uniform times are few. The choice of 8 rests on one training on ring8 at each, no more.
    The second flow starts from the weights of the first. Pairs are drawn by DPM-Solver++(2M). The deviations of
    `flow-matching` are here too.
    """

    name = "rectified-flow"
    samplers = FLOW_SAMPLERS
    recipe = PAIRED_RECIPE
    part: ClassVar[int] = 2_000
    """Pairs that are drawn before one training step."""

    class Config(ReflowOptions, PairedMLPConfig):
        """Options of the network, of the path and of the reflow."""

    def build(self, info: trilemma.DataInfo) -> None:
        self.diffusion = StraightPath(self.config.edge)
        self.denoiser = VelocityPrediction(self.config.network(info))

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self._pairs = Pairs(self.config.pairs)
        self._teacher: list[AveragedModel] = []  # in a list, so that its weights are not registered with the model
        super().fit(train, ctx)
        del self._pairs, self._teacher

    def training_state(self) -> dict[str, Any]:
        return {"pairs": self._pairs.state(), "teacher": [teacher.state_dict() for teacher in self._teacher]}

    def load_training_state(self, state: dict[str, Any]) -> None:
        self._pairs.load_state(state["pairs"], next(self.parameters()).device)
        self._teacher = [AveragedModel(self.denoiser, avg_fn=ramped_average) for _ in state["teacher"]]
        for teacher, weights in zip(self._teacher, state["teacher"], strict=True):
            teacher.load_state_dict(weights)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The flow matching loss of points and independent noise."""
        noise = standard_normal(x, ctx.generator)
        return flow_matching_loss(self.denoiser, x, noise, path_times(len(x), self.config.edge, ctx.generator))

    def training_step(self, x: Tensor, ctx: trilemma.Context, update: trilemma.Update) -> dict[str, Tensor]:
        """Take a step on data or, after the first share of the budget, on pairs drawn from the flow."""
        if ctx.clock is None:  # outside of `fit`: the harness measures the cost of a step
            return super().training_step(x, ctx, update)
        if not self._teacher:
            self._teacher.append(AveragedModel(self.denoiser, avg_fn=ramped_average))
        if ctx.clock.progress < self.config.first:
            loss = self.loss(x, ctx)
            update(loss)
            self._teacher[0].update_parameters(self.denoiser)
        else:
            if (missing := self.config.pairs - len(self._pairs)) > 0:
                self._pairs.add(*self.make_pairs(min(missing, self.part), self._teacher[0], ctx))
            draw_times = u_shaped_times if self.config.times == "u-shaped" else path_times
            times = draw_times(len(x), self.config.edge, ctx.generator)
            loss = self._pairs.loss(self.denoiser, times, ctx.generator)
            update(loss)
        return {"loss": loss.detach()}

    def schedule_progress(self, progress: float) -> float:
        first: float = self.config.first
        return max(0.0, (progress - first) / (1 - first))

    def make_pairs(self, n: int, denoise: Denoiser, ctx: trilemma.Context) -> tuple[Tensor, Tensor]:
        """Noise and the samples to which the flow carries it, each `(n, *shape)`."""
        sampler = DpmSolver2M(steps=self.config.steps)
        noise = torch.randn((n, *ctx.info.shape), generator=ctx.generator, device=ctx.device)
        with torch.no_grad():
            ends = torch.cat([sampler.draw(denoise, z, self.diffusion, ctx) for z in torch.split(noise, ROWS)])
        return noise, ends


def ramped_average(average: Tensor, latest: Tensor, count: Tensor | int) -> Tensor:
    """The running average of weights after `count` updates: first over most of them, later over the last hundreds."""
    return torch.lerp(latest, average, min(0.998, (1 + int(count)) / (10 + int(count))))
