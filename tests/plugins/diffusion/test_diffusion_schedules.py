"""Noise schedules: the equations of diffusions, and grids of noise levels."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trilemma.plugins.diffusion.flow_matching import StraightPath
from trilemma.plugins.diffusion.ode_samplers import DpmSolver2M
from trilemma.plugins.diffusion.schedules import (
    Diffusion,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
    geometric_grid,
    rho_grid,
)
from trilemma.plugins.diffusion.score_sde import SubVpOptions, VeOptions, VpOptions
from trilemma.plugins.networks.points import standard_normal, stratified


@given(st.floats(1e-3, 1))
@settings(max_examples=30, deadline=None)
def test_marginals_solve_the_equations_of_the_diffusion(diffusion: Diffusion, time: float) -> None:
    t = torch.tensor(time, dtype=torch.float64, requires_grad=True)
    alpha = diffusion.alpha(t)
    # d/dt E[x] = f E[x] and d/dt Var[x] = 2 f Var[x] + g^2.
    slope = torch.autograd.grad(alpha.sum() + 0 * t, t, retain_graph=True)[0]
    torch.testing.assert_close(slope, diffusion.drift(t) * alpha)
    variance = (alpha * diffusion.sigma(t)) ** 2
    slope = torch.autograd.grad(variance, t)[0]
    torch.testing.assert_close(slope, 2 * diffusion.drift(t) * variance + diffusion.squared_diffusion(t))


@given(st.floats(1e-5, 1))
@settings(max_examples=30, deadline=None)
def test_times_are_the_inverse_of_noise_levels(time: float) -> None:
    t = torch.tensor(time, dtype=torch.float64)
    for diffusion in (VariancePreserving(), SubVariancePreserving(), VarianceExploding(), StraightPath()):
        torch.testing.assert_close(diffusion.time(diffusion.sigma(t)), t, rtol=1e-6, atol=0)


def test_marginals_are_those_of_the_paper() -> None:
    # Song et al. 2021, eq. 29 with eq. 30 to 33: .5 t^2 (20 - .1) + .1 t is .418, 4.9455 and 10.05 at these times.
    t, exponents = torch.tensor([0.2, 0.7, 1.0], dtype=torch.float64), [0.418, 4.9455, 10.05]
    mean = torch.tensor([math.exp(-x / 2) for x in exponents], dtype=torch.float64)
    variance = torch.tensor([1 - math.exp(-x) for x in exponents], dtype=torch.float64)
    for diffusion, std in ((VpOptions().diffusion(), variance.sqrt()), (SubVpOptions().diffusion(), variance)):
        torch.testing.assert_close(diffusion.alpha(t), mean)
        torch.testing.assert_close(diffusion.alpha(t) * diffusion.sigma(t), std)
    # From .01 to 50 as in appendix C. The levels at 1/2 and 1/4 of the time are geometric means, .01 50 = .5.
    exploding, t = VeOptions(sigma_min=0.01).diffusion(), torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
    levels = torch.tensor([0.01, math.sqrt(0.01 * math.sqrt(0.5)), math.sqrt(0.5), 50], dtype=torch.float64)
    torch.testing.assert_close(exploding.sigma(t), levels)
    assert torch.equal(exploding.alpha(t), torch.ones(4).double())


@pytest.mark.parametrize("diffusion", [VariancePreserving(), SubVariancePreserving()])
def test_marginals_agree_with_a_simulation_of_the_diffusion(
    generator: Callable[..., torch.Generator], diffusion: Diffusion
) -> None:
    steps, x0 = 400, 1.7
    x, noise = torch.full((20_000,), x0, dtype=torch.float64), generator(1)
    for t in torch.linspace(0, 0.5, steps + 1, dtype=torch.float64)[:-1] + 0.5 / steps / 2:
        dt = 0.5 / steps
        x = x + diffusion.drift(t) * x * dt + (diffusion.squared_diffusion(t) * dt).sqrt() * standard_normal(x, noise)
    end = torch.tensor(0.5, dtype=torch.float64)
    assert float(x.mean()) == pytest.approx(float(diffusion.alpha(end)) * x0, abs=0.03)
    assert float(x.var()) == pytest.approx(float((diffusion.alpha(end) * diffusion.sigma(end)) ** 2), rel=0.04)


def test_geometric_grid_has_one_ratio() -> None:
    grid = geometric_grid(5, 0.01, 100.0)
    torch.testing.assert_close(grid, torch.tensor([100.0, 10.0, 1.0, 0.1, 0.01], dtype=torch.float64))


def test_rho_grid_runs_between_its_ends() -> None:
    grid = rho_grid(18, 0.002, 80.0)
    assert len(grid) == 18
    torch.testing.assert_close(grid[[0, -1]], torch.tensor([80.0, 0.002], dtype=torch.float64))
    assert (grid.diff() < 0).all()
    torch.testing.assert_close(
        rho_grid(5, 1.0, 5.0, rho=1.0), torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0], dtype=torch.float64)
    )


def test_the_multistep_solver_takes_noise_levels_in_a_constant_ratio() -> None:
    sigmas = DpmSolver2M(steps=9, sigma_min=0.01).grid(VarianceExploding(highest=40.0))
    torch.testing.assert_close(sigmas[[0, -1]], torch.tensor([40.0, 0.01], dtype=torch.float64))
    ratio = sigmas[1:] / sigmas[:-1]
    torch.testing.assert_close(ratio, ratio[0].expand_as(ratio))


@given(st.integers(1, 50))
@settings(max_examples=20, deadline=None)
def test_stratified_numbers_fall_one_in_each_part(generator: Callable[..., torch.Generator], n: int) -> None:
    assert torch.equal((stratified(n, generator(n)) * n).floor(), torch.arange(n).float())
