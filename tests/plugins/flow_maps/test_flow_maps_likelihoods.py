"""The log-densities of flow maps against closed forms, and the mass of a map that is not invertible."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.flow_maps.flow_map import FlowMap
from trilemma.plugins.flow_maps.likelihoods import (
    FlowMapLikelihood,
    head_log_prob,
    jacobian_log_prob,
    ode_log_prob,
    ode_slope,
)
from trilemma.plugins.flow_maps.model import FlowMapSteps
from trilemma.plugins.flow_maps.networks import Direction, MapNetwork

Draws = Callable[[int], tuple[Tensor, Tensor, Tensor, Tensor]]


@pytest.fixture
def true(covariance: Tensor) -> Any:
    """The distribution of the Gaussian data."""
    return torch.distributions.MultivariateNormal(torch.zeros(3, dtype=torch.float64), covariance)


@pytest.mark.parametrize("steps", [1, 3])
def test_few_steps_of_the_exact_map_have_the_density_of_the_data(
    steps: int,
    true: Any,
    gaussian_map: Callable[..., MapNetwork],
    gaussian_head: MapNetwork,
    draws: Draws,
) -> None:
    x = draws(50)[0]
    torch.testing.assert_close(jacobian_log_prob(gaussian_map(), x, steps), true.log_prob(x))
    torch.testing.assert_close(head_log_prob(gaussian_map(), gaussian_head, x, steps), true.log_prob(x))


def test_the_ode_of_the_exact_velocity_has_the_density_of_the_data(
    true: Any, gaussian_map: Callable[..., MapNetwork], draws: Draws
) -> None:
    x, generator = draws(50)[0], torch.Generator().manual_seed(0)
    values, details = ode_log_prob(gaussian_map(), x, FlowMapLikelihood(), generator)
    torch.testing.assert_close(values, true.log_prob(x), atol=2e-4, rtol=0)
    assert details == {"solver": "refined rk4", "divergence": "exact"}
    probed, details = ode_log_prob(gaussian_map(), x, FlowMapLikelihood(divergence="hutchinson", probes=50), generator)
    error = details["probe_standard_error"]
    assert float((probed - true.log_prob(x)).square().mean().sqrt()) < 2 * error + 1e-3
    assert 0 < error < 0.5


class Exact(MapNetwork):
    """A network whose velocity is that of the flow to data with this denoiser."""

    def __init__(self, denoise: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.denoise = denoise

    def forward(self, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
        angle = (math.pi / 2 * t).clamp(1e-4, math.pi / 2 - 1e-4).unsqueeze(1)
        denoised = self.denoise(x / angle.sin(), 1 / angle.tan())
        return math.pi / 2 * (denoised - angle.sin() * x) / angle.cos()

    def along(self, x: Tensor, s: Tensor, t: Tensor, direction: Direction) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


def test_rough_paths_between_modes_have_the_closed_form_likelihood(narrow: Any) -> None:
    x, generator = narrow.points(), torch.Generator().manual_seed(0)
    values, _ = ode_log_prob(Exact(narrow.denoise), x, FlowMapLikelihood(), generator)
    assert float((values - narrow.log_prob(x)).abs().max()) < 1  # of 200 to 270 nats between the modes


def test_the_slope_of_some_points_has_their_probes(narrow: Any, generator: Callable[..., torch.Generator]) -> None:
    x, rows, t = narrow.points(), torch.tensor([7, 2, 30]), torch.tensor(0.8, dtype=torch.float64)
    slope = ode_slope(Exact(narrow.denoise), torch.randn((3, *x.shape), generator=generator()).double())
    whole, part = slope(x, t, torch.arange(len(x))), slope(x[rows], t, rows)
    torch.testing.assert_close(part, (whole[0][rows], whole[1][:, rows]))


class Fold(MapNetwork):
    """A map that carries x to x^3 - 3 x in one step from time 1 to 0: three points to each z between -2 and 2."""

    def forward(self, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
        return x - (x**3 - 3 * x)

    def along(self, x: Tensor, s: Tensor, t: Tensor, direction: Direction) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


def test_the_mass_of_a_folded_map_is_the_mean_number_of_points_that_it_carries_to_one() -> None:
    x = torch.linspace(-6, 6, 60_001, dtype=torch.float64).unsqueeze(1)
    mass = float(jacobian_log_prob(Fold(), x, 1).exp().sum()) * 12 / 60_000
    assert mass == pytest.approx(1 + 2 * math.erf(2 / math.sqrt(2)), abs=1e-4)


def test_the_score_is_that_of_the_data_with_noise(
    covariance: Tensor, gaussian_map: Callable[..., MapNetwork], draws: Draws, context: Callable[..., trilemma.Context]
) -> None:
    model = FlowMap()
    model.prepare(context().info)
    model.map = gaussian_map()
    x = draws(20)[0]
    for level in (0.05, 1.0, 30.0):
        sigma = torch.tensor(level, dtype=torch.float64)
        expected = -torch.linalg.solve(covariance + level**2 * torch.eye(3).double(), x.T).T
        torch.testing.assert_close(model.score(x, sigma, context()), expected, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 4])
def test_samples_of_the_exact_map_have_the_covariance_of_the_data(
    steps: int, covariance: Tensor, gaussian_map: Callable[..., MapNetwork], context: Callable[..., trilemma.Context]
) -> None:
    model = FlowMap()
    model.prepare(context().info)
    model.map = gaussian_map()
    seen: list[int] = []
    ctx = context(sampler=FlowMapSteps(steps=steps), show=lambda number, x: seen.append(number))
    x = model.sample(2_000, ctx)
    torch.testing.assert_close(x.T.cov().double(), covariance, atol=0.15, rtol=0)
    assert seen == list(range(steps + 1))


def test_each_method_has_its_kind_and_a_head_that_is_not_there_is_unsupported(
    context: Callable[..., trilemma.Context],
) -> None:
    model = FlowMap()
    kinds = {method: model.likelihood_kind(FlowMapLikelihood(method=method)) for method in ("ode", "head", "jacobian")}  # type: ignore[arg-type]
    assert kinds == {"ode": "ode", "head": "estimate", "jacobian": "map"}
    model.prepare(context((2,)).info)
    with pytest.raises(trilemma.UnsupportedError, match="head"):
        model.log_prob(torch.zeros(3, 2), context((2,), likelihood=FlowMapLikelihood(method="head")))
    ctx = context((2,), likelihood=FlowMapLikelihood(method="jacobian", steps=2))
    assert model.log_prob(torch.zeros(3, 2), ctx).shape == (3,)
    assert ctx.details == {"steps": 2, "method": "exact Jacobian", "divergence": None, "probes": None}
