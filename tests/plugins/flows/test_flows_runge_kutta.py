"""The Runge-Kutta method of continuous flows: its order, and both directions of the flow."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from trilemma.plugins.flows.cnf import ContinuousFlow, RungeKutta
from trilemma.plugins.networks.runge_kutta import runge_kutta


def test_the_method_has_order_four() -> None:
    # y' = A y (1 + cos t) has the solution exp(A (t + sin t)) y, and div = tr A (1 + cos t).
    matrix = torch.tensor([[0.2, -1.0], [1.3, -0.5]], dtype=torch.float64)
    x = torch.tensor([[1.0, 0.5], [-2.0, 0.3]], dtype=torch.float64)
    exact = x @ torch.matrix_exp(matrix * (3 + math.sin(3))).T

    def slope(y: Tensor, t: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        rate = 1 + t.cos()
        return rate * (y @ matrix.T), rate * matrix.trace()

    errors = []
    for steps in (8, 16, 32):
        end, trace = runge_kutta(slope, x, torch.linspace(0, 3, steps + 1, dtype=torch.float64))
        errors.append([float((end - exact).abs().max()), float((trace + 0.3 * (3 + math.sin(3))).abs().max())])
    for coarse, fine in itertools.pairwise(errors):
        for before, after in zip(coarse, fine, strict=True):
            assert 3.5 < math.log2(before / after) < 5


def test_a_path_that_overflows_ends_at_infinity_and_costs_no_other_point() -> None:
    # y' = 0 within 2 of 0, so that points stay there; beyond it y' = 5,000 y, which single precision cannot follow.
    x = torch.tensor([[1.0, 0.5], [2.0, 2.0], [-1.0, 0.0]])

    def slope(y: Tensor, t: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        rate = torch.where(y.norm(dim=1) > 2, 5e3, 0.0)
        return rate[:, None] * y, torch.stack([2 * rate + 1, 2 * rate - 1])

    end, total = runge_kutta(slope, x, torch.linspace(0, 1, 41, dtype=torch.float64), refine=2)
    torch.testing.assert_close(end, torch.tensor([[1.0, 0.5], [torch.inf, torch.inf], [-1.0, 0.0]]))
    torch.testing.assert_close(total, torch.tensor([[1.0, 0.0, 1.0], [-1.0, 0.0, -1.0]]))


def test_rough_steps_are_refined_for_their_points_alone() -> None:
    # y' = k y for the coordinates: k is 1 for the first point, and at 60 the classical method is wrong with h = 1/8.
    x = torch.tensor([[1.0, -0.5], [1.0, 2.0]], dtype=torch.float64)
    rate = torch.tensor([1.0, 60.0], dtype=torch.float64)
    seen: list[list[int]] = []

    def slope(y: Tensor, t: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(rows.tolist())
        return rate[rows, None] * y, torch.stack([2 * rate[rows], 2 * rate[rows]])

    times = torch.linspace(0, 1, 9, dtype=torch.float64)
    plain, _ = runge_kutta(slope, x, times)
    assert seen == [[0, 1]] * 32
    end, total = runge_kutta(slope, x, times, refine=3)
    expected = x * rate.exp()[:, None]
    assert (plain[1] / expected[1]).max() < 1e-5
    torch.testing.assert_close(end, expected, rtol=0.03, atol=0)
    torch.testing.assert_close(end[0], plain[0], rtol=0, atol=0)
    torch.testing.assert_close(total, torch.stack([2 * rate, 2 * rate]))
    assert {tuple(rows) for rows in seen} == {(0, 1), (1,)}


def test_refined_steps_follow_a_rough_velocity() -> None:
    # y' = 3 tanh(w) with w = 20 sin(3 y + t), whose divergence is 180 cos(3 y + t) / cosh(w)^2: 0 nearly everywhere.
    x = torch.linspace(-1, 1, 21, dtype=torch.float64).unsqueeze(1)

    def slope(y: Tensor, t: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        w = 20 * (3 * y + t).sin()
        return 3 * w.tanh(), (180 * (3 * y + t).cos() / w.cosh() ** 2).flatten()

    def both(t: float, state: Any) -> Any:
        w = 20 * np.sin(3 * state[:21] + t)
        return np.concatenate([3 * np.tanh(w), 180 * np.cos(3 * state[:21] + t) / np.cosh(w) ** 2])

    exact = solve_ivp(both, (0, 0.5), np.r_[x.flatten(), np.zeros(21)], "Radau", rtol=1e-9, atol=1e-9).y[21:, -1]
    times = torch.linspace(0, 0.5, 21, dtype=torch.float64)
    errors = [np.abs(runge_kutta(slope, x, times, refine=refine)[1].numpy() - exact) for refine in (0, 2)]
    assert errors[0].max() > 10
    assert errors[1].max() < 3  # by its own estimate, at most .1 in each of the 20 steps


def test_what_changes_along_a_path_is_refined() -> None:
    # Both points move at speed 1. The integrand is a bell in time for one and in the place for the other, and holds 8.
    x = torch.zeros(2, 1, dtype=torch.float64)

    def slope(y: Tensor, t: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        place = torch.where(rows == 0, t, y.flatten())
        return torch.ones_like(y), 8 * 25 * (-torch.pi * (25 * (place - 0.52)) ** 2).exp()

    times = torch.linspace(0, 1, 11, dtype=torch.float64)
    errors = [(runge_kutta(slope, x, times, refine=refine)[1] - 8).abs() for refine in (0, 2)]
    assert errors[0].min() > 2
    assert errors[1].max() < 0.02


def test_a_velocity_that_changes_in_time_is_refined() -> None:
    # y' is a bell in time, with the integral 8.
    def slope(y: Tensor, t: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full_like(y, float(8 * 25 * (-torch.pi * (25 * (t - 0.52)) ** 2).exp())), torch.zeros(1)

    times = torch.linspace(0, 1, 11, dtype=torch.float64)
    ends = [float(runge_kutta(slope, torch.zeros(1, 1), times, refine=refine)[0]) for refine in (0, 2)]
    assert abs(ends[0] - 8) > 2
    assert abs(ends[1] - 8) < 0.02


Stages = tuple[float, float, float, float]


def is_divided(x: Tensor, velocities: Stages, rates: Stages = (0, 0, 0, 0), shares: Tensor | None = None) -> bool:
    """Whether a step of length 1 is divided, if its stages give this for all coordinates. `shares` are of probes."""
    calls = 0

    def slope(y: Tensor, t: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal calls
        v, d = (velocities[calls], rates[calls]) if calls < 4 else (0.0, 0.0)
        calls += 1
        rate = torch.full((len(y),), d, dtype=torch.float64)
        return torch.full_like(y, v), rate if shares is None else rate * shares[:, None]

    runge_kutta(slope, x, torch.tensor([0.0, 1.0], dtype=torch.float64), refine=1)
    return calls > 4


def test_a_step_is_divided_if_its_estimates_differ_by_a_tenth() -> None:
    # A tenth of 1 + rms(x) for points, and of a nat for each coordinate for the integral, by the mean over probes.
    near, far = torch.zeros(1, 4, dtype=torch.float64), torch.full((1, 4), 9.0, dtype=torch.float64)
    for x, limit in ((near, 0.1), (far, 1.0)):
        for factor, divided in ((0.95, False), (1.05, True)):
            e = factor * limit
            assert is_divided(x, (0, e / 2, -e / 2, 0)) is divided
            assert is_divided(x, (0, 0, 0, 6 * e)) is divided
            assert is_divided(x, (0, 0, 0, 0), (0, 0.2 * factor, -0.2 * factor, 0)) is divided
            assert is_divided(x, (0, 0, 0, 0), (0, 0, 0, 2.4 * factor)) is divided
    for shares, divided in (([1.8, 0.0], False), ([2.2, 0.0], True), ([0.9, 0.9], False)):
        rates = (0, 0.2, -0.2, 0)
        assert is_divided(near, (0, 0, 0, 0), rates, torch.tensor(shares, dtype=torch.float64)) is divided


def test_a_step_that_meets_nan_in_its_middle_is_divided() -> None:
    # y' = -40 y is NaN below -.5, where a whole step of .1 leads by its first estimate, and the path itself does not.
    def slope(y: Tensor, t: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return torch.where(y < -0.5, torch.nan, -40 * y), torch.full((len(y),), -40.0, dtype=torch.float64)

    x = torch.ones(1, 1, dtype=torch.float64)
    end, total = runge_kutta(slope, x, torch.tensor([0.0, 0.1], dtype=torch.float64), refine=2)
    assert abs(float(end) - math.exp(-4)) < 1e-3
    assert abs(float(total) + 4) < 1e-6


@pytest.mark.parametrize("power", [1, 3])
def test_growth_without_limit_ends_at_infinity(power: int) -> None:
    # y' = 200 y, and y' = y^3 - y, whose stages are NaN where both powers are infinite.
    def slope(y: Tensor, t: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return (200 * y if power == 1 else y**3 - y), y.sum(1) ** 2

    x = torch.tensor([[1.0, 2.0], [5.0, -4.0]])
    end, total = runge_kutta(slope, x, torch.linspace(0, 1, 3, dtype=torch.float64), refine=2)
    assert end.isinf().tolist() == [[True, True]] * 2
    assert total.tolist() == [0, 0]


def test_no_points_have_no_ends() -> None:
    x = torch.zeros(0, 2)
    end, total = runge_kutta(lambda y, t, rows: (y, y.sum(1)), x, torch.linspace(0, 1, 3).double(), refine=2)
    assert end.shape == (0, 2)
    assert total.shape == (0,)


@pytest.mark.parametrize("refine", [0, 2])
@pytest.mark.parametrize("where", ["velocity", "divergence"])
def test_a_velocity_that_is_nan_stays_nan(where: str, refine: int) -> None:
    x = torch.tensor([[-1.0], [2.0]])

    def slope(y: Tensor, t: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        broken = torch.where(y > 1.5, torch.nan, 1.0)
        return y * (broken if where == "velocity" else 1), (broken if where == "divergence" else y * 0 + 1).flatten()

    end, total = runge_kutta(slope, x, torch.linspace(0, 1, 5, dtype=torch.float64), refine=refine)
    assert (end if where == "velocity" else total).isnan().flatten().tolist() == [False, True]
    torch.testing.assert_close(total[0], torch.tensor(1.0))


def test_sampling_inverts_the_density_pass(family: Any) -> None:
    model = ContinuousFlow(ContinuousFlow.Config(hidden=(16, 16)))
    torch.manual_seed(0)
    model.build(family.info("cnf", 3))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ctx = family.context("cnf", 3, seed=5)
    ctx.sampler = RungeKutta(steps=60)
    x = model.sample(20, ctx)
    start = model.base.sample(20, family.context("cnf", 3, seed=5).generator)
    times = torch.linspace(0, 1, 61, dtype=torch.float64)
    assert float((x - start).abs().max()) > 0.1
    back, _ = model.flow(x, times, x.new_zeros((0, *x.shape)))
    torch.testing.assert_close(back, start, atol=1e-4, rtol=0)
