"""The fully degraded state that a restoration starts from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.cold_diffusion.cold_diffusion import ColdDiffusion
from trilemma.plugins.cold_diffusion.end_state import EndState, EndStateConfig, PriorAlone
from trilemma.plugins.cold_diffusion.vectors import ColdFade, Fade


@pytest.mark.parametrize("d", [3, 70])
def test_end_state_of_one_component_is_the_gaussian_of_the_degraded_points(
    d: int, generator: Callable[..., torch.Generator], normal: Callable[..., Tensor]
) -> None:
    scale = torch.linspace(2, 0.1, d, dtype=torch.float64)
    x = 1 + normal((3_000, d), 1) * scale
    state = EndState((d,), EndStateConfig(components=1))
    state.fit(x, x, generator())
    basis, covariance = state.basis, x.T.cov(correction=0)
    outside = torch.eye(d, dtype=torch.float64) - basis.T @ basis
    inside = basis.T @ basis
    covariance = inside @ (covariance + 1e-6 * torch.eye(d)) @ inside + state.rest * outside
    distribution = torch.distributions.MultivariateNormal(x.mean(0), covariance)
    torch.testing.assert_close(state.log_prob(x[:20]), distribution.log_prob(x[:20]), atol=1e-6, rtol=1e-6)
    drawn = state.sample(20_000, generator(1)).double()
    torch.testing.assert_close(drawn.mean(0), x.mean(0), atol=0.06, rtol=0)
    torch.testing.assert_close(drawn.var(0), covariance.diagonal(), atol=1e-3, rtol=0.05)


def test_linear_way_back_is_ridge_regression_and_undoes_an_invertible_degradation(
    generator: Callable[..., torch.Generator], normal: Callable[..., Tensor]
) -> None:
    x = normal((4_000, 3), 1)
    degrade = Fade((3,), 3.0)
    degrade.fit(x.float(), generator())
    state = EndState((3,), EndStateConfig(components=1, regularization=1e-9))
    ends = degrade(x, torch.ones(()))
    state.fit(ends, x, generator())
    torch.testing.assert_close(state.restore(ends), x, atol=1e-4, rtol=0)
    # What lies below the regularization is not brought back.
    state = EndState((3,), EndStateConfig(components=1, regularization=1.0))
    state.fit(ends, x, generator())
    centered = ends - ends.mean(0)
    ridge = torch.linalg.solve(centered.T @ centered / 4_000 + torch.eye(3), centered.T @ (x - x.mean(0)) / 4_000)
    torch.testing.assert_close(state.restore(ends), x.mean(0) + centered @ ridge)


def test_prior_alone_exposes_a_generator_that_hides_in_the_start(
    context: Callable[..., trilemma.Context], corners: Callable[..., Tensor], trained: Callable[..., ColdDiffusion]
) -> None:
    model = trained(ColdFade, corners(4_000, 1), 20, hidden=(16,), rate=4.0)
    x = model.sample(4_000, context(sampler=PriorAlone(restore="linear")))
    near = ((x.abs() - 1).norm(dim=1) < 0.6).float().mean()
    assert float(near) > 0.9  # no network was asked
