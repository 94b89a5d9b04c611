"""Variational bounds of the log-density."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from trilemma.plugins.diffusion.bounds import continuous_bound, discrete_bound
from trilemma.plugins.diffusion.reverse_chain import Variance
from trilemma.plugins.diffusion.schedules import DiscreteCosine, DiscreteVariancePreserving, geometric_grid


def test_the_bound_of_the_exact_denoiser_is_close_and_never_above_the_density(
    gaussian: Any, generator: Callable[..., torch.Generator]
) -> None:
    x = gaussian.points(16_000, 9)
    truth = gaussian.log_prob(x, 0.0).mean()
    denoise = gaussian.denoiser()
    fine = continuous_bound(denoise, x, 0.01, 80.0, 6, generator())
    assert -0.04 < float(fine.total.mean() - truth) < 0.02
    # The bound over finitely many steps is looser, by an amount inversely proportional to their number.
    grids = [geometric_grid(n, 0.01, 80.0) for n in (31, 61, 121)]
    coarse = [discrete_bound(denoise, x, grid, generator(), "small") for grid in grids]
    costs = [float((b.prior + b.diffusion - fine.prior - fine.diffusion).mean()) for b in coarse]
    assert costs[2] > 0.3
    for first, second in itertools.pairwise(costs):
        assert first / second == pytest.approx(2, abs=0.35)


def test_terms_of_the_bound_add_up_and_prior_vanishes_at_high_noise_levels(
    gaussian: Any, generator: Callable[..., torch.Generator]
) -> None:
    x = gaussian.points(50)
    bound = discrete_bound(gaussian.denoiser(), x, geometric_grid(10, 0.01, 300.0), generator(), "small")
    torch.testing.assert_close(bound.total, -(bound.prior + bound.diffusion + bound.reconstruction))
    assert 0 < bound.means()["prior"] < 1e-3
    distribution = torch.distributions.Normal(0.0, math.sqrt(1 + 2.0**2))
    posterior = torch.distributions.Normal(x, 2.0)
    expected = torch.distributions.kl_divergence(posterior, distribution).sum(1)
    coarse = discrete_bound(gaussian.denoiser(), x, torch.tensor([2.0, 1.0]).double(), generator(), "large")
    torch.testing.assert_close(coarse.prior, expected)


def test_bound_of_a_worse_denoiser_is_lower(gaussian: Any, generator: Callable[..., torch.Generator]) -> None:
    x = gaussian.points(2_000)
    good = continuous_bound(gaussian.denoiser(), x, 0.01, 80.0, 2, generator())
    poor = continuous_bound(gaussian.denoiser(torch.eye(3).double()), x, 0.01, 80.0, 2, generator())
    # The excess is the KL divergence from the data to N(0, I), for which the poor denoiser is exact.
    kl = 0.5 * (gaussian.covariance.trace() - 3 - gaussian.covariance.logdet())
    assert float(good.total.mean() - poor.total.mean()) == pytest.approx(float(kl), abs=0.06)


@pytest.mark.parametrize("variance", ["small", "large"])
def test_bound_from_a_few_steps_for_each_point_has_the_mean_of_the_whole_bound(
    ring8: Any, generator: Callable[..., torch.Generator], variance: Variance
) -> None:
    x, sigmas, calls = ring8.points(8_000), DiscreteVariancePreserving(steps=100).noise_levels(), 0

    def denoise(y: Tensor, sigma: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        clean: Tensor = ring8.denoise(y, sigma)
        return 0.9 * clean  # a wrong denoiser, whose terms differ from step to step

    whole = discrete_bound(denoise, x, sigmas, generator(), variance)
    assert calls == 100
    few = discrete_bound(denoise, x, sigmas, generator(1), variance, sampled_steps=9)
    assert calls == 110
    for one, other in ((few.diffusion, whole.diffusion), (few.reconstruction, whole.reconstruction)):
        error = float((one.var() + other.var()) / len(x)) ** 0.5
        assert error < 0.05 * float(other.mean())
        assert float(one.mean()) == pytest.approx(float(other.mean()), abs=4 * error)
    torch.testing.assert_close(few.prior, whole.prior)


@pytest.mark.parametrize("steps", [100, 1_000])
def test_a_few_steps_find_an_error_at_the_first_step_of_the_cosine_schedule(
    gaussian: Any, generator: Callable[..., torch.Generator], steps: int
) -> None:
    """The first step has about no term for the exact denoiser, and more than 1 nat for this one."""
    exact, sigmas = gaussian.denoiser(torch.eye(3).double()), DiscreteCosine(steps).noise_levels()

    def denoise(y: Tensor, sigma: Tensor) -> Tensor:
        clean: Tensor = exact(y, sigma) + 0.03 * sigma.reshape(-1, 1)
        return clean

    x = gaussian.points(500, covariance=torch.eye(3).double())
    whole = discrete_bound(denoise, x, sigmas, generator(), "small").diffusion
    assert float(whole.mean() - discrete_bound(exact, x, sigmas, generator(), "small").diffusion.mean()) > 1
    for seed in range(4):
        few = discrete_bound(denoise, x, sigmas, generator(seed), "small", sampled_steps=20).diffusion
        error = float((few.var() + whole.var()) / len(x)) ** 0.5
        assert error < 0.2
        assert float(few.mean()) == pytest.approx(float(whole.mean()), abs=4 * error)
