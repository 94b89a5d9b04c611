"""The probability-flow likelihood, and divergences."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from trilemma.plugins.diffusion import likelihood
from trilemma.plugins.diffusion.likelihood import OdeLikelihood, integrate, ode_log_prob
from trilemma.plugins.networks.divergence import exact_divergence, probe_divergence
from trilemma.plugins.networks.points import rademacher


@pytest.mark.parametrize("divergence", ["exact", "hutchinson"])
def test_gaussian_data_has_the_closed_form_likelihood(
    gaussian: Any, generator: Callable[..., torch.Generator], divergence: str
) -> None:
    x = gaussian.points(200, 5)
    options = OdeLikelihood(steps=40, divergence=divergence, probes=64)  # type: ignore[arg-type]
    values, details = ode_log_prob(gaussian.denoiser(), x, 150.0, options, generator())
    error = values - gaussian.log_prob(x, options.sigma_min)
    if divergence == "exact":
        assert error.abs().max() < 2e-4
    else:
        assert 0.5 < float(error.square().mean().sqrt()) / details["probe_standard_error"] < 2


def test_details_say_how_the_likelihood_was_computed(gaussian: Any, generator: Callable[..., torch.Generator]) -> None:
    x = gaussian.points(5)
    _, details = ode_log_prob(gaussian.denoiser(), x, 50.0, OdeLikelihood(steps=7, sigma_min=0.01), generator())
    assert details == {"solver": "refined rk4", "steps": 7, "eps": 0.01, "sigma_max": 50.0, "divergence": "exact"}


def test_likelihood_solver_converges_with_order_four(gaussian: Any, generator: Callable[..., torch.Generator]) -> None:
    x = gaussian.points(50, 6)
    values = [
        ode_log_prob(gaussian.denoiser(), x, 150.0, OdeLikelihood(steps=steps), generator())[0]
        for steps in (8, 16, 32, 256)
    ]
    errors = [float((value - values[-1]).abs().max()) for value in values[:-1]]
    orders = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert all(3.5 < order < 5.5 for order in orders), orders


def test_rough_paths_between_modes_have_the_closed_form_likelihood(
    narrow: Any, generator: Callable[..., torch.Generator], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, options = narrow.points(), OdeLikelihood(divergence="exact")
    errors = []
    for refine in (likelihood.REFINE, 0):
        monkeypatch.setattr(likelihood, "REFINE", refine)
        values, _ = ode_log_prob(narrow.denoise, x, 150.0, options, generator())
        errors.append((values - narrow.log_prob(x, options.sigma_min)).abs().unflatten(0, (-1, 2)).amax(0))
    assert errors[0].max() < 1  # of 200 to 270 nats between the modes
    assert errors[1][1] > 5


def test_rough_points_keep_their_probes_and_leave_other_points_alone(
    narrow: Any, generator: Callable[..., torch.Generator]
) -> None:
    x = narrow.points()
    probes = rademacher((3, *x.shape), x, generator())
    log_sigmas = torch.linspace(math.log(0.01), math.log(100.0), 31, dtype=torch.float64)
    end, integrals = integrate(narrow.denoise, x, log_sigmas, probes)
    for row in range(6):
        part = slice(row, row + 1)
        alone, integral = integrate(narrow.denoise, x[part], log_sigmas, probes[:, part])
        torch.testing.assert_close(end[part], alone, rtol=1e-7, atol=1e-7)
        torch.testing.assert_close(integrals[:, part], integral, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("divergence", ["exact", "hutchinson"])
def test_a_point_whose_path_overflows_has_no_density_and_costs_no_other_point(
    gaussian: Any, generator: Callable[..., torch.Generator], divergence: str
) -> None:
    x = gaussian.points(20, 5)
    x[4:7] *= 1e3
    exact = gaussian.denoiser()

    def denoise(y: Tensor, sigma: Tensor) -> Tensor:
        far = y.flatten(1).norm(dim=1, keepdim=True) > 300 * (1 + sigma**2).sqrt()
        return torch.where(far, -1e12 * y, exact(y, sigma))

    options = OdeLikelihood(divergence=divergence)  # type: ignore[arg-type]
    values, _ = ode_log_prob(denoise, x, 150.0, options, generator())
    assert values[4:7].tolist() == [-torch.inf] * 3
    near = torch.tensor([row for row in range(20) if row not in (4, 5, 6)])
    expected = gaussian.log_prob(x[near], options.sigma_min)
    torch.testing.assert_close(values[near], expected, atol=1e-3 if divergence == "exact" else 3.0, rtol=0)


def test_integration_carries_points_along_the_flow(gaussian: Any) -> None:
    x = gaussian.points(20, 7)
    log_sigmas = torch.linspace(math.log(1e-4), math.log(20.0), 61, dtype=torch.float64)
    end, _ = integrate(gaussian.denoiser(), x, log_sigmas)
    torch.testing.assert_close(gaussian.end_of_flow(end, 20.0), x, atol=1e-5, rtol=1e-5)


def curl(x: Tensor) -> Tensor:
    """A field that is neither linear nor a gradient."""
    return torch.stack([x[:, 0] * x[:, 1], x[:, 1].sin() + x[:, 2], x[:, 2] ** 3 - x[:, 0], x[:, 3] * x[:, 0]], dim=1)


def test_exact_divergence_is_the_trace_of_the_jacobian(generator: Callable[..., torch.Generator]) -> None:
    x = torch.randn((6, 4), generator=generator(), dtype=torch.float64)
    value, divergence = exact_divergence(curl, x)
    traces = [torch.autograd.functional.jacobian(lambda p: curl(p[None])[0], p).trace() for p in x]
    torch.testing.assert_close(divergence, torch.stack(traces))
    torch.testing.assert_close(value, curl(x))


def test_exact_divergence_is_the_mean_over_all_sign_probes(generator: Callable[..., torch.Generator]) -> None:
    x = torch.randn((6, 4), generator=generator(), dtype=torch.float64)
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=4)), dtype=torch.float64)
    value, estimates = probe_divergence(curl, x, signs.unsqueeze(1).expand(16, 6, 4))
    torch.testing.assert_close(estimates.mean(0), exact_divergence(curl, x)[1])
    torch.testing.assert_close(value, curl(x))


def test_rademacher_probes_are_signs_of_mean_zero(generator: Callable[..., torch.Generator]) -> None:
    probes = rademacher((50, 200), torch.zeros(1, dtype=torch.float64), generator())
    assert set(probes.unique().tolist()) == {-1.0, 1.0}
    assert probes.dtype == torch.float64
    assert abs(float(probes.mean())) < 0.05
