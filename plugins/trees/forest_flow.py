"""Forest-Flow (Jolicoeur-Martineau et al. 2024): flow matching with gradient-boosted trees, without a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

import trilemma

Array = NDArray[np.float64]

FIRST_TREES, MOST_TREES = 10, 160
"""Trees of the first ensemble of a regressor, and of the largest. Each doubles those of the last one that was kept."""


class ForestSampler(trilemma.Sampler):
    """Steps of the flow from noise to data, one for each time that the trees were trained at.

    Order 1 is Euler's method, as in the paper. Order 2 is the method of Adams and Bashforth, which uses the velocity
    of the step before too, at no further cost.
    """

    name = "forest"
    shows_chain = True
    order: int = Field(2, ge=1, le=2, description="order of the method: 1 is Euler's, 2 that of Adams and Bashforth")


class Boosted:
    """A regressor of one coordinate of the velocity: a sum of ensembles, each trained on what the others leave."""

    def __init__(self) -> None:
        self.ensembles: list[Any] = []

    def predict(self, x: Array) -> Array:
        """The sum at points `(n, d)`, `(n,)`. It is 0 before training, the mean of the velocity."""
        total = np.zeros(len(x))
        for ensemble in self.ensembles:
            total += ensemble.predict(x)
        return total

    def improve(self, x: Array, target: Array, valid: Array, valid_target: Array, config: Any, seed: int) -> None:
        """Train one more ensemble, which is kept if it lowers the squared error at the validation points."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        ensemble = HistGradientBoostingRegressor(
            max_iter=min(FIRST_TREES * 2 ** len(self.ensembles), MOST_TREES),
            learning_rate=config.learning_rate,
            max_leaf_nodes=config.leaves,
            min_samples_leaf=config.leaf_points,
            early_stopping=False,
            random_state=seed,
        ).fit(x, target - self.predict(x))
        error = valid_target - self.predict(valid)
        if np.square(error - ensemble.predict(valid)).sum() < np.square(error).sum():
            self.ensembles.append(ensemble)


def interpolated(points: Array, noise: Array, time: float) -> tuple[Array, Array]:
    """x_t = (1 - t) z + t x and its velocity x - z, with points x and noise z (Lipman et al. 2023, section 4)."""
    return (1 - time) * noise + time * points, points - noise


class ForestFlow(trilemma.Model):
    """Forest-Flow (Jolicoeur-Martineau et al. 2024): flow matching whose velocity comes from gradient-boosted trees.

    There is one regressor for each coordinate and each of `times` equally spaced times, trained on training points with
    noise, and the flow takes one step at each of the times. The trees are scikit-learn's
    `HistGradientBoostingRegressor`. Their velocity is constant in pieces, so that the model has no likelihood. A step
    of the budget trains one more ensemble of one regressor, so that a model needs `times` steps for each coordinate;
    the details say how many regressors were trained at all. The trees are not stored, so that a later evaluation
    trains the model again.

    Deviations from the paper: data is standardized (public code: scaled to [-1, 1] by minima and maxima, to which
    samples are clipped); scikit-learn in place of XGBoost, with at most 15 leaves and a learning rate of .1 (public
    code: depth 7 and .3); the trees of a regressor are trained in several rounds, so that training can end at any time,
    each with other points and other noise and twice as many trees as the last one that was kept; the paper trains all
    trees at once, on each point with 100 draws of the noise. An ensemble is kept if it lowers the error at validation
    points. There are 20 times (paper: 50), and the steps are of second order (`order`). Data is continuous: there is no
    label and nothing is missing.
    """

    name = "forest-flow"
    title = "Forest-Flow"
    family = "trees"
    samplers = (ForestSampler,)

    class Config(trilemma.Config):
        """Options of the flow and of the trees."""

        times: int = Field(20, ge=2, description="number of times, which is the number of steps of the flow too")
        points: int = Field(20_000, ge=10, description="noised training points for one ensemble of trees")
        leaves: int = Field(15, ge=2, description="largest number of leaves of a tree")
        leaf_points: int = Field(20, ge=1, description="smallest number of noised points in a leaf")
        learning_rate: float = Field(0.1, gt=0, le=1, description="shrinkage of the values of a tree")

    def times(self) -> Array:
        """The times of the regressors, from noise at 0 to before data at 1."""
        found: Array = np.arange(self.config.times) / self.config.times
        return found

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        assert ctx.clock is not None
        assert ctx.valid is not None
        config, d = self.config, ctx.info.dim
        points, valid = (split.x.flatten(1).double().cpu().numpy() for split in (train, ctx.valid))
        self.regressors = [[Boosted() for _ in range(d)] for _ in range(config.times)]
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=ctx.generator, device=ctx.device)))
        drawn: tuple[Array, Array, Array, Array] | None = None
        for step in ctx.clock:
            place, j = divmod(step, d)
            index = place % config.times
            if j == 0 or drawn is None:
                time = float(self.times()[index])
                drawn = (
                    *self.noised(points, config.points, time, rng),
                    *self.noised(valid, max(len(valid), config.points // 4), time, rng),
                )
            x, velocity, x_valid, valid_velocity = drawn
            seed = int(rng.integers(2**31))
            self.regressors[index][j].improve(x, velocity[:, j], x_valid, valid_velocity[:, j], config, seed)
            trained = min(step + 1, config.times * d)
            ctx.details.update({"regressors": config.times * d, "regressors_trained": trained})
            ctx.progress(ctx.clock.progress, f"round {place // config.times + 1}, time {time:.2f}, coordinate {j + 1}")

    def noised(self, points: Array, n: int, time: float, rng: np.random.Generator) -> tuple[Array, Array]:
        """`n` noised points and their velocities, each `(n, d)`: every point about equally often."""
        order = np.concatenate([rng.permutation(len(points)) for _ in range(-(-n // len(points)))])[:n]
        return interpolated(points[order], rng.standard_normal((n, points.shape[1])), time)

    def velocity(self, x: Array, index: int) -> Array:
        """The velocity at points `(n, d)` at the time of this number."""
        return np.stack([regressor.predict(x) for regressor in self.regressors[index]], axis=1)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        sampler = ctx.sampler
        assert isinstance(sampler, ForestSampler)
        noise = torch.randn((n, ctx.info.dim), generator=ctx.generator, device=ctx.device)
        x, step = noise.double().cpu().numpy(), 1 / self.config.times
        before: Array | None = None
        show(ctx, 0, x)
        for index in range(self.config.times):
            v = self.velocity(x, index)
            x = x + step * (v if sampler.order == 1 or before is None else 1.5 * v - 0.5 * before)
            before = v
            show(ctx, index + 1, x)
            ctx.progress((index + 1) / self.config.times, f"step {index + 1}")
        return torch.from_numpy(x).float().reshape(n, *ctx.info.shape).to(ctx.device)


def show(ctx: trilemma.Context, steps: int, x: Array) -> None:
    """Show the points after some steps."""
    ctx.show(steps, torch.from_numpy(x).float().reshape(len(x), *ctx.info.shape).to(ctx.device))
