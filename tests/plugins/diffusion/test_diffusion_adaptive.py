"""Adaptive solvers, which choose the step size for each sample separately."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.diffusion.adaptive import BrownianPaths, gotta_go_fast
from trilemma.plugins.diffusion.denoiser import DenoiserSampler, probability_flow
from trilemma.plugins.diffusion.ode_samplers import DormandPrince
from trilemma.plugins.diffusion.schedules import Diffusion, VariancePreserving
from trilemma.plugins.diffusion.sde_samplers import GottaGoFast, start
from trilemma.plugins.networks.dormand_prince import dormand_prince


def test_dormand_prince_keeps_its_tolerance_and_has_order_five(generator: Callable[..., torch.Generator]) -> None:
    def field(y: Tensor, t: Tensor) -> Tensor:
        return torch.stack([y[:, 1], -y[:, 0]], dim=1) * (1 + t.cos()).unsqueeze(1)

    y = torch.randn((20, 2), generator=generator(), dtype=torch.float64)
    turn = torch.tensor(3 + math.sin(3), dtype=torch.float64)
    rotation = torch.stack([torch.stack([turn.cos(), turn.sin()]), torch.stack([-turn.sin(), turn.cos()])])
    costs, errors = [], []
    for tolerance in (1e-4, 1e-6, 1e-8):
        end, evaluations = dormand_prince(field, y, 0.0, 3.0, rtol=tolerance, atol=tolerance)
        errors.append(float((end - y @ rotation.T).abs().max()))
        costs.append(float(evaluations.double().mean()))
        assert errors[-1] < 20 * tolerance
    # The error of order 5 falls with the fifth power of the number of steps.
    assert math.log(errors[0] / errors[2]) / math.log(costs[2] / costs[0]) > 4


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_adaptive_solvers_stop_at_values_that_are_not_finite(
    generator: Callable[..., torch.Generator], value: float
) -> None:
    calls = []

    def broken(x: Tensor, sigma: Tensor) -> Tensor:
        calls.append(len(x))
        return torch.full_like(x, value)

    x = torch.randn((4, 2), generator=generator(), dtype=torch.float64)
    with pytest.raises(trilemma.DivergedError, match="not finite"):
        dormand_prince(broken, x, 0.0, 1.0, rtol=1e-4, atol=1e-4)
    with pytest.raises(trilemma.DivergedError, match="not finite"):
        gotta_go_fast(broken, x, VariancePreserving(), generator(), eps=1e-3, rtol=0.01, atol=0.01)
    assert len(calls) < 20  # at once, not after thousands of ever smaller steps


def test_adaptive_solvers_do_not_couple_samples(gaussian: Any, generator: Callable[..., torch.Generator]) -> None:
    denoise, diffusion = gaussian.denoiser(), VariancePreserving()
    u = torch.randn((6, 3), generator=generator(), dtype=torch.float64)
    ends = [math.atan(80.0), math.atan(0.002)]

    def field(y: Tensor, angle: Tensor) -> Tensor:
        return probability_flow(denoise, y, angle.tan())

    together, evaluations = dormand_prince(field, u, *ends, rtol=1e-4, atol=1e-4)
    for i in range(6):
        alone, cost = dormand_prince(field, u[i : i + 1], *ends, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(alone[0], together[i])
        assert cost[0] == evaluations[i]
    assert gotta_go_fast(denoise, u, diffusion, generator(), eps=1e-3, rtol=0.05, atol=0.01)[1].unique().numel() > 1


@pytest.mark.parametrize("sampler", [GottaGoFast(), DormandPrince()])
def test_adaptive_samplers_count_every_evaluation(
    gaussian: Any, context: Callable[..., trilemma.Context], sampler: DenoiserSampler
) -> None:
    rows, exact = [], gaussian.denoiser()

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        rows.append(len(x))
        return exact(x, sigma)

    ctx = context(shape=(3,), sampler=sampler)
    for _ in range(2):
        noise = torch.randn((40, 3), generator=ctx.generator, dtype=torch.float64)
        sampler.draw(denoise, noise, VariancePreserving(), ctx)
    assert ctx.details["drawn"] == 80
    assert ctx.details["nfe_mean"] == pytest.approx(sum(rows) / 80)
    assert ctx.details["nfe_max"] <= max(len(rows) / 2 * 1.5, ctx.details["nfe_mean"] * 3)
    assert ctx.details["nfe_max"] >= ctx.details["nfe_mean"]


def test_refused_steps_bias_the_samples_unless_their_noise_is_kept(
    gaussian: Any, generator: Callable[..., torch.Generator], diffusion: Diffusion
) -> None:
    # The paper draws new noise, which is biased at every tolerance. The docstring of `gotta_go_fast` says so.
    noise = torch.randn((4_000, 3), generator=generator(3), dtype=torch.float64)
    x, denoise = start(noise, diffusion), gaussian.denoiser()
    ratios = []
    for memory in (True, False):
        samples, _ = gotta_go_fast(denoise, x, diffusion, generator(), eps=1e-3, rtol=0.02, atol=0.01, memory=memory)
        ratios.append(float(samples.T.cov().trace() / gaussian.covariance.trace()))
    assert ratios[0] == pytest.approx(1, abs=0.05)
    assert ratios[1] > 1.2


def test_increments_are_parts_of_one_brownian_path(generator: Callable[..., torch.Generator]) -> None:
    x = torch.zeros((40_000, 1), dtype=torch.float64)
    h = torch.ones(len(x), dtype=torch.float64)
    paths = BrownianPaths(x, generator())
    everything = torch.ones(len(x), dtype=torch.bool)
    _, whole = paths.draw(h, x)
    paths.put_back(everything, h, whole)
    _, first = paths.draw(0.5 * h, x)
    paths.put_back(everything, 0.5 * h, first)
    parts = [paths.draw(length * h, x) for length in (0.2, 0.7, 5.0)]
    # A step does not go beyond the known part of the path.
    for (found, _), expected in zip(parts, (0.2, 0.3, 0.5), strict=True):
        torch.testing.assert_close(found, expected * h)
    a, b, c = (part for _, part in parts)
    torch.testing.assert_close(a + b, first)
    torch.testing.assert_close(a + b + c, whole)
    distribution = torch.cat([a, b, c, paths.draw(2 * h, x)[1]], dim=1).T.cov()
    torch.testing.assert_close(distribution, torch.diag(torch.tensor([0.2, 0.3, 0.5, 2.0])).double(), atol=0.03, rtol=0)
