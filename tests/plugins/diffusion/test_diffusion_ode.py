"""Solvers over noise levels: their order, their cost, and the noise that some of them add."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from trilemma.plugins.diffusion.ode import Churn, ddim, dpm_solver_2m, euler_angle, heun, heun_angle, midpoint
from trilemma.plugins.diffusion.schedules import geometric_grid, rho_grid


@pytest.mark.parametrize(
    ("solve", "order", "rho"),
    [
        (ddim, 1, 7.0),
        (euler_angle, 1, 7.0),
        (heun, 2, 7.0),
        (heun_angle, 2, 7.0),
        (midpoint, 2, 7.0),
        (dpm_solver_2m, 2, 0.0),
    ],
)
def test_solvers_converge_with_their_order(
    generator: Callable[..., torch.Generator], gaussian: Any, solve: Callable[..., Tensor], order: int, rho: float
) -> None:
    # The multistep method has its order for even steps in ln(sigma).
    grids = [rho_grid(steps, 1e-5, 10.0, rho) if rho else geometric_grid(steps, 1e-5, 10.0) for steps in (65, 129, 257)]
    u = torch.randn((50, 3), generator=generator(), dtype=torch.float64)
    exact = gaussian.end_of_flow(u, 10.0)
    # The largest error against the exact flow, without the error that the last step adds.
    errors = [float((solve(gaussian.denoiser(), u, grid) - exact).abs().max()) for grid in grids]
    orders = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert all(order - 0.25 < found < order + 0.35 for found in orders), orders


@pytest.mark.parametrize(
    ("solve", "evaluations"),
    [(heun, 35), (heun_angle, 35), (midpoint, 35), (ddim, 18), (euler_angle, 18), (dpm_solver_2m, 18)],
)
def test_solvers_take_the_documented_number_of_evaluations(
    gaussian: Any, generator: Callable[..., torch.Generator], solve: Callable[..., Tensor], evaluations: int
) -> None:
    denoise = gaussian.denoiser()
    solve(denoise, torch.randn((4, 3), generator=generator()), rho_grid(18, 0.002, 80.0))
    assert denoise.calls == evaluations


def test_churn_preserves_the_marginal_and_no_churn_is_heun(
    gaussian: Any, generator: Callable[..., torch.Generator]
) -> None:
    denoise, grid = gaussian.denoiser(), rho_grid(100, 0.002, 80.0)
    u = torch.randn((20_000, 3), generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(heun(denoise, u, grid, Churn(0.0), generator()), heun(denoise, u, grid))
    stirred = heun(denoise, u, grid, Churn(20.0, 0.05, 50.0), generator(1))
    assert float((stirred - heun(denoise, u, grid)).abs().max()) > 0.1
    torch.testing.assert_close(stirred.T.cov(), gaussian.covariance, atol=0.04, rtol=0)


def test_ancestral_steps_draw_from_the_posterior_of_a_known_point(generator: Callable[..., torch.Generator]) -> None:
    # A denoiser that knows x_0 turns every step into q(x_s | x_t, x_0): at s the distribution is N(x_0, s^2) again.
    center = torch.tensor([0.7, -0.2], dtype=torch.float64)
    seen: list[Tensor] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append((x - center) / sigma)
        return center.expand_as(x)

    u = torch.randn((40_000, 2), generator=generator(2), dtype=torch.float64)
    sigmas = torch.tensor([300.0, 5.0, 2.0, 0.3], dtype=torch.float64)
    ddim(denoise, u, sigmas, 1.0, generator(3))
    for state in seen[1:]:
        torch.testing.assert_close(state.T.cov(), torch.eye(2).double(), atol=0.03, rtol=0)
    # The part of the noise that is kept from t to s is s / t.
    assert float((seen[1] * seen[2]).mean()) == pytest.approx(2 / 5, abs=0.02)
