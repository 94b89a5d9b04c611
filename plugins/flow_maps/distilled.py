"""Flow maps that are distilled from trajectories of their own velocity, instead of by self-distillation."""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

import trilemma

from ..networks.mlp import MLPConfig
from ..networks.points import per_point, standard_normal
from .model import FewSteps, MapOctaves, MapOptions
from .networks import GatedMap, MapNetwork, as_evaluated
from .objectives import trajectory_error
from .times import QUARTER, TimeOptions, solver_times

AROUND = 0.03, 1.0
"""The least and the largest deviation of the points around the data at which trajectories back may start."""

_MOST_NUMBERS = 15_000_000  # in stored trajectories, which bounds memory and the size of a checkpoint in training


class DistillationOptions(TimeOptions):
    """Options of the trajectories, of the steps between their points, and of the times of the velocity."""

    first: float = Field(0.25, gt=0, lt=1, description="share of the budget that trains the velocity")
    trajectories: int = Field(
        40_000, ge=1, description="number of trajectories that are drawn from the velocity, fewer in many dimensions"
    )
    intervals: int = Field(24, ge=1, description="number of steps of Heun's method in a trajectory")
    whole: float = Field(0.3, ge=0, le=1, description="share of the steps that go to the end of their trajectory")
    from_end: float = Field(
        0.6, ge=0, le=1, description="share of steps that start at the noise, or at the data if they go back"
    )
    backward: float = Field(
        0.1, ge=0, le=1, description="share of steps that go back, for likelihoods; none with `to_data`"
    )
    around: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the steps back that are of trajectories from points around the data, where a map that is "
        "trained at the data alone folds",
    )

    @model_validator(mode="after")
    def _around_has_steps_back(self) -> Self:
        if self.around and (self.to_data or not self.backward):
            raise ValueError("'around' is a share of the steps back: it needs 'backward' above 0, and no 'to_data'")
        return self


class Steps(NamedTuple):
    """Steps between points of trajectories: their starts, the velocities there, their ends, and the noise of each."""

    x: Tensor
    velocity: Tensor
    end: Tensor
    noise: Tensor


class Trajectories:
    """Trajectories of a velocity between noise and data, by Heun's method: their points and the velocities there.

    The points are those at `intervals` + 1 times with even steps of the noise level, from noise to data. At most `size`
    trajectories are drawn, in parts of `part`, so that a short budget is not passed.
    """

    def __init__(self, size: int, intervals: int, part: int = 2_000) -> None:
        self.size = size
        self.part = part
        self.times = solver_times(intervals).flip(0).float()
        self.points: Tensor | None = None
        self.velocities: Tensor | None = None

    @torch.no_grad()
    def extend(self, v: MapNetwork, shape: tuple[int, ...], generator: torch.Generator) -> None:
        """Draw one more part from noise, of points of a `shape`, if there are too few trajectories."""
        if (n := self._missing()) > 0:
            points, velocities = self._solve(v, torch.randn((n, *shape), generator=generator, device=generator.device))
            self._add(points, velocities)

    @torch.no_grad()
    def extend_back(self, v: MapNetwork, data: Tensor, generator: torch.Generator) -> None:
        """Draw one more part back from points around `data` `(n, *shape)`, if there are too few trajectories.

        Points are moved by normal noise of log-uniform deviations within `AROUND`.
        """
        if (n := self._missing()) > 0:
            rows = torch.randint(len(data), (n,), generator=generator, device=data.device)
            low, high = map(math.log, AROUND)
            width = (low + (high - low) * torch.rand(n, generator=generator, device=data.device)).exp()
            start = data[rows] + per_point(width, data) * standard_normal(data[rows], generator)
            points, velocities = self._solve(v, start, back=True)
            self._add(points.flip(0), velocities.flip(0))

    def steps(self, i: Tensor, j: Tensor, generator: torch.Generator) -> Steps:
        """Steps from the times of the numbers `i` to those of `j`, both `(n,)`, each of a random trajectory."""
        assert self.points is not None
        assert self.velocities is not None
        rows = torch.randint(self.points.shape[1], i.shape, generator=generator, device=i.device)
        return Steps(self.points[i, rows], self.velocities[i, rows], self.points[j, rows], self.points[0, rows])

    def _missing(self) -> int:
        """The size of the next part, at most 0 if there are enough trajectories."""
        return min(self.size - (0 if self.points is None else self.points.shape[1]), self.part)

    def _add(self, points: Tensor, velocities: Tensor) -> None:
        self.points, self.velocities = _joined(self.points, points), _joined(self.velocities, velocities)

    def _solve(self, v: MapNetwork, x: Tensor, *, back: bool = False) -> tuple[Tensor, Tensor]:
        with as_evaluated(v):  # dropout would make each trajectory one of another velocity
            points, velocities = zip(*self._followed(v, x, self.times.flip(0) if back else self.times), strict=True)
        return torch.stack(points), torch.stack(velocities)

    def _followed(self, v: MapNetwork, x: Tensor, times: Tensor) -> list[tuple[Tensor, Tensor]]:
        times = times.to(x)
        at = [t.expand(len(x)) for t in times]
        found = [(x, v.instant(x, at[0]))]
        for k in range(len(times) - 1):
            x, slope = found[-1]
            h = times[k + 1] - times[k]
            x = x + h * (slope + v.instant(x + h * slope, at[k + 1])) / 2
            found.append((x, v.instant(x, at[k + 1])))
        return found

    def state(self) -> list[Tensor] | None:
        """Points and velocities, each `(intervals + 1, n, *shape)`; None if there are none yet."""
        return None if self.points is None or self.velocities is None else [self.points, self.velocities]

    def load_state(self, state: list[Tensor] | None, device: torch.device) -> None:
        """Go on with the trajectories that `state` returned."""
        self.points, self.velocities = (None, None) if state is None else (part.to(device) for part in state)


def _joined(old: Tensor | None, new: Tensor) -> Tensor:
    return new if old is None else torch.cat([old, new], dim=1)


class DistilledFlowMap(FewSteps, trilemma.NeuralModel):
    """Flow map that is trained on trajectories of its own velocity, with an MLP on vectors. A method of ours.

    It is the map of `flow-map`, trained in two stages. Flow matching trains the velocity in the first share of the
    budget. Then trajectories of this velocity are solved and stored, and the steps X_{s,t}(x) = x + (t - s) v(x, s, t)
    are fitted to pairs of their points by least squares. For the whole way from noise to data that is the distillation
    of Luhman & Luhman (2021); here it is done for all pairs of times and with one training. Targets are ends of solved
    trajectories and not steps of a map that is still learned, as they are in self-distillation (Boffi, Albergo &
    Vanden-Eijnden 2025), so steps get sharper within a short training. They cannot become better than the velocity.

    With `head`, a network of its own learns divergences in the second stage, at points of the trajectories (F2D2, Ai et
    al. 2026, where they are one more output of the map). As in the paper, the velocity that was trained before gives
    the targets. `invertibility` is the weight of FALCON's penalty (Rehman et al. 2026) on the steps between points of
    trajectories. Like the errors of these steps, it is divided by d (pi/2)^2 in d dimensions and trains the correction
    alone. FALCON has no trajectories, and takes densities of the samples that it draws, from the steps between noise
    and data; here the likelihood `jacobian` is that of given points, from the steps back.

    Each stage has a schedule of the learning rate of its own. The option `to_data` makes all steps end at the data.
    With `around`, trajectories from points around the data train the steps back too: their Jacobian gives a density
    only if they do not fold, and steps that are trained at the data alone fold beside it.
    """

    name = "distilled-flow-map"
    recipe = FewSteps.recipe.model_copy(update={"lr": 5e-3})
    part: ClassVar[int] = 2_000
    """The number of trajectories that are drawn at once."""
    every: ClassVar[int] = 1
    """The number of training steps from one part to the next."""

    class Config(MapOptions, DistillationOptions, MapOctaves, MLPConfig):
        """Options of the network and of its training."""

        octaves: int = Field(7, ge=0, description="number of octaves in the Fourier features of a point, in steps")

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        numbers = (4 if self.config.around else 2) * (self.config.intervals + 1) * train.x[0].numel()
        size = max(1, min(self.config.trajectories, _MOST_NUMBERS // numbers))
        self._trajectories, self._around = (Trajectories(size, self.config.intervals, self.part) for _ in range(2))
        super().fit(train, ctx)
        del self._trajectories, self._around

    def training_state(self) -> dict[str, Any]:
        return {"trajectories": self._trajectories.state(), "around": self._around.state()}

    def load_training_state(self, state: dict[str, Any]) -> None:
        device = next(self.parameters()).device
        self._trajectories.load_state(state["trajectories"], device)
        self._around.load_state(state["around"], device)

    def schedule_progress(self, progress: float) -> float:
        first: float = self.config.first
        return progress / first if progress < first else (progress - first) / (1 - first)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The flow matching loss of the velocity."""
        error = self.velocity_errors(x, standard_normal(x, ctx.generator), ctx.generator)
        return error.sum() / (x.numel() * QUARTER**2)

    def training_step(self, x: Tensor, ctx: trilemma.Context, update: trilemma.Update) -> dict[str, Tensor]:
        """Take a step on data or, after the first share of the budget, on pairs of points of trajectories."""
        if ctx.clock is None or ctx.clock.progress < self.config.first:
            return super().training_step(x, ctx, update)
        if self._trajectories.points is None or ctx.clock.step % self.every == 0:
            self._trajectories.extend(self.map, ctx.info.shape, ctx.generator)
            if self.config.around:
                assert self._trajectories.points is not None
                self._around.extend_back(self.map, self._trajectories.points[-1], ctx.generator)
        loss = self.distillation_loss(len(x), ctx.generator)
        update(loss)
        return {"loss": loss.detach()}

    def distillation_loss(self, n: int, generator: torch.Generator) -> Tensor:
        """The mean error of `n` steps between points of stored trajectories, with those of the head and the penalty.

        Points around the data may lead to noise far outside of its distribution. The errors of these steps are divided
        by the mean square of that noise, if it is above 1.
        """
        assert isinstance(self.map, GatedMap)
        i, j = self.step_ends(n, generator)
        steps, weight = self._trajectories.steps(i, j, generator), torch.ones(n, device=i.device)
        if self.config.around:
            other = (i > j) & (torch.rand(n, generator=generator, device=i.device) < self.config.around)
            found = self._around.steps(i, j, generator)
            steps = Steps(*(torch.where(per_point(other, a).bool(), b, a) for a, b in zip(steps, found, strict=True)))
            weight = torch.where(other, 1 / steps.noise.flatten(1).square().mean(1).clamp_min(1), weight)
        times = self._trajectories.times.to(steps.x)
        x, s, t = steps.x, times[i], times[j]
        average = self.map.average(x, s, t, steps.velocity)
        error = (weight * trajectory_error(average, x, steps.end, s, t)).sum()
        return (error + self.further_error(x, s, t, generator)) / (x.numel() * QUARTER**2)

    def step_ends(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The numbers of the times at which `n` steps start and end."""
        config, last = self.config, self.config.intervals

        def drawn() -> Tensor:
            return torch.rand(n, generator=generator, device=generator.device)

        # Starts are even in time, as the steps of the sampler are, and not in the noise level.
        before = torch.searchsorted(self._trajectories.times.to(generator.device), drawn(), right=True) - 1
        i = torch.where(drawn() < config.from_end, 0, before.clamp(0, last - 1))
        j = (i + 1 + (drawn() * (last - i)).long()).clamp(max=last)
        j = torch.where(drawn() < (1.0 if config.to_data else config.whole), last, j)
        back = torch.zeros(n, dtype=torch.bool, device=i.device) if config.to_data else drawn() < config.backward
        return torch.where(back, last - i, i), torch.where(back, last - j, j)
