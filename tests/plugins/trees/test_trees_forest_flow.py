"""Forest-Flow against the closed-form flow of Gaussian data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import trilemma
from trilemma.plugins.trees.forest_flow import Boosted, ForestFlow, ForestSampler, interpolated

Array = NDArray[np.float64]
COVARIANCE = np.array([[1.0, 0.8], [0.8, 1.0]])


def gaussian(n: int, seed: int) -> Array:
    points: Array = np.random.default_rng(seed).multivariate_normal(np.zeros(2), COVARIANCE, n)
    return points


def velocity(x: Array, t: float) -> Array:
    """E[x_1 - z | x_t = x] for Gaussian data and noise, by the regression of jointly Gaussian variables."""
    variance = t**2 * COVARIANCE + (1 - t) ** 2 * np.eye(2)
    joint = t * COVARIANCE - (1 - t) * np.eye(2)
    found: Array = x @ np.linalg.solve(variance, joint)
    return found


def trained(steps: int, times: int) -> tuple[ForestFlow, trilemma.Context]:
    model = ForestFlow(ForestFlow.Config(times=times))
    ctx = trilemma.Context(
        info=trilemma.DataInfo(name="toy", kind="vector", shape=(2,), n_train=3_000),
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(0),
        valid=trilemma.Split(torch.from_numpy(gaussian(500, 2)).float()),
        clock=trilemma.Clock(trilemma.Budget(steps=steps)),
        sampler=ForestSampler(),
    )
    model.fit(trilemma.Split(torch.from_numpy(gaussian(3_000, 1)).float()), ctx)
    return model, ctx


def test_noised_points_and_their_velocities_lie_on_straight_lines() -> None:
    points, noise = gaussian(5, 0), gaussian(5, 1)
    x, v = interpolated(points, noise, 0.3)
    np.testing.assert_allclose(x + 0.7 * v, points)
    np.testing.assert_allclose(x - 0.3 * v, noise)


def test_trees_learn_the_flow_of_gaussian_data() -> None:
    model, ctx = trained(steps=20, times=5)
    for index, t in enumerate(model.times()):
        x, _ = interpolated(gaussian(2_000, 5), np.random.default_rng(6).standard_normal((2_000, 2)), t)
        expected = velocity(x, t)
        assert np.sqrt(np.mean((model.velocity(x, index) - expected) ** 2)) < 0.2
        assert np.sqrt(np.mean(expected**2)) > 0.55
    assert ctx.clock is not None
    assert ctx.clock.step == 20
    samples = model.sample(3_000, ctx)
    np.testing.assert_allclose(np.cov(samples.T.double().numpy()), COVARIANCE, atol=0.2)


@pytest.mark.parametrize(("order", "power"), [(1, 1), (2, 2)])
def test_steps_have_their_order_on_the_exact_flow(order: int, power: int) -> None:
    """Halving the step halves the error of Euler's method, and quarters that of Adams and Bashforth."""
    errors = []
    for times in (20, 40):
        model, ctx = ForestFlow(ForestFlow.Config(times=times)), trained(steps=1, times=2)[1]

        def exact(x: Array, index: int, times: int = times) -> Array:
            return velocity(x, index / times)

        model.velocity = exact  # type: ignore[method-assign]
        ctx.sampler = ForestSampler(order=order)
        ctx.generator.manual_seed(3)
        noise = torch.randn((200, 2), generator=torch.Generator().manual_seed(3)).double().numpy()
        values, axes = np.linalg.eigh(COVARIANCE)
        exact = noise @ axes * np.sqrt(values) @ axes.T
        errors.append(np.abs(model.sample(200, ctx).double().numpy() - exact).max())
    assert errors[0] / errors[1] == pytest.approx(2**power, rel=0.3)


def test_an_ensemble_is_kept_only_if_it_lowers_the_error_at_validation_points() -> None:
    rng, config = np.random.default_rng(0), ForestFlow.Config()
    x, x_valid = rng.standard_normal((500, 1)), rng.standard_normal((500, 1))
    useful, useless = Boosted(), Boosted()
    useful.improve(x, x[:, 0], x_valid, x_valid[:, 0], config, 0)
    useless.improve(x, rng.standard_normal(500), x_valid, rng.standard_normal(500), config, 0)
    assert len(useful.ensembles) == 1
    assert not useless.ensembles
    assert np.abs(useful.predict(x_valid) - x_valid[:, 0]).mean() < 0.35  # without trees it is .8
    assert (useless.predict(x_valid) == 0).all()
