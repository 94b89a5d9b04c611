"""The adaptive solver of continuous flows: its densities and samples, its gradients, and what it says of its cost."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn

import trilemma
from trilemma.harness.evaluation.calls import CallCounter
from trilemma.harness.evaluation.nfe import rows_of
from trilemma.plugins.flows.cnf import AdaptiveRungeKutta, ContinuousFlow, RungeKutta


def built(family: Any, d: int, **config: object) -> ContinuousFlow:
    torch.manual_seed(0)
    model = ContinuousFlow(ContinuousFlow.Config(hidden=(16, 16), **config))  # type: ignore[arg-type]
    model.build(family.info("cnf", d))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.double()


def test_adaptive_densities_agree_with_scipy(family: Any) -> None:
    model, x = built(family, 3), torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ctx = family.context("cnf", 3)
    ctx.likelihood = ContinuousFlow.Likelihood(solver="dopri5", rtol=1e-9, atol=1e-9)
    found = model.log_prob(x, ctx)

    def slope(t: float, y: Any) -> Any:
        def velocity(p: torch.Tensor) -> torch.Tensor:
            value: torch.Tensor = model.velocity(p[None], torch.tensor(t, dtype=torch.float64), x.new_zeros((0, 1, 3)))
            return value[0][0]

        point = torch.tensor(y[:3])
        trace = torch.autograd.functional.jacobian(velocity, point).trace()
        return [*velocity(point).tolist(), float(trace)]

    for point, value in zip(x, found, strict=True):
        end = solve_ivp(slope, (0, 1), [*point.tolist(), 0.0], method="RK45", rtol=1e-9, atol=1e-9).y[:, -1]
        normal = torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor(end[:3])).sum()
        assert float(value) == pytest.approx(float(normal) + end[3], abs=1e-6)
    assert ctx.details["solver"] == "dopri5"
    assert ctx.details["rtol"] == 1e-9
    assert "steps" not in ctx.details
    assert ctx.details["nfe_max"] >= ctx.details["nfe_mean"] > 7


class Steep(nn.Module):
    """A velocity with steep walls, y' = 3 tanh(w) with w = 20 sin(3 y + t) for each coordinate, and its derivatives."""

    def forward(self, y: Tensor, t: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        w = 20 * (3 * y + t).sin()
        return 3 * w.tanh(), 180 * (3 * y + t).cos() / w.cosh() ** 2 * vectors


@pytest.mark.parametrize("divergence", ["exact", "hutchinson"])
def test_rough_steps_of_a_likelihood_are_divided(family: Any, divergence: str) -> None:
    model, x = built(family, 2), torch.linspace(-0.8, 0.9, 42, dtype=torch.float64).reshape(21, 2)
    model.velocity = Steep()  # type: ignore[assignment]
    ctx = family.context("cnf", 2)
    ctx.likelihood = ContinuousFlow.Likelihood(steps=20, divergence=divergence)  # type: ignore[arg-type]
    found = model.log_prob(x, ctx)
    axes = torch.eye(2, dtype=torch.float64).unsqueeze(1).expand(2, 21, 2)
    end, integrals = model.flow(x, torch.linspace(0, 1, 10_001, dtype=torch.float64), axes)
    expected = model.base.log_prob(end) + integrals.sum(0)
    assert float((found - expected).abs().median()) < 2
    assert ctx.details["solver"] == "refined rk4"
    end, integrals = model.flow(x, torch.linspace(0, 1, 21, dtype=torch.float64), axes)
    assert float((model.base.log_prob(end) + integrals.sum(0) - expected).abs().median()) > 20


def test_rough_points_keep_their_vectors(family: Any) -> None:
    model, x = built(family, 2), torch.linspace(-0.8, 0.9, 42, dtype=torch.float64).reshape(21, 2)
    model.velocity = Steep()  # type: ignore[assignment]
    times, vectors = torch.linspace(0, 1, 21, dtype=torch.float64), torch.randn(3, 21, 2, dtype=torch.float64)
    _, together = model.flow(x, times, vectors, 2)
    for row in (0, 7, 20):
        part = slice(row, row + 1)
        torch.testing.assert_close(model.flow(x[part], times, vectors[:, part], 2)[1], together[:, part])


@pytest.mark.parametrize("divergence", ["exact", "hutchinson"])
def test_gradients_through_the_adaptive_solver_are_those_of_many_small_steps(family: Any, divergence: str) -> None:
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for options in ({"solver": "dopri5", "rtol": 1e-8, "atol": 1e-8}, {"solver": "rk4", "steps": 60}):
        model = built(family, 2, divergence=divergence, **options)
        model.loss(x, family.context("cnf")).backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert found[0].norm() > 0.1
    torch.testing.assert_close(*found, atol=1e-6, rtol=1e-5)


def test_adaptive_samples_are_those_of_small_steps_and_their_evaluations_are_counted(family: Any) -> None:
    model = built(family, 3).float()
    drawn = {}
    for sampler in (AdaptiveRungeKutta(rtol=1e-5, atol=1e-5), RungeKutta(steps=60)):
        ctx = family.context("cnf", 3, seed=2)
        ctx.sampler = sampler
        with CallCounter(model.networks()).observed(40) as draw:
            drawn[sampler.name] = model.sample(40, ctx)
        if sampler.name == "dopri5":
            rows = max(rows_of(draw, {}).values())
            assert rows == pytest.approx(40 * ctx.details["nfe_mean"])
            assert rows < 40 * ctx.details["nfe_max"]
    torch.testing.assert_close(drawn["dopri5"], drawn["rk4"], atol=1e-4, rtol=1e-4)


def test_the_adaptive_solver_trains(family: Any) -> None:
    model = ContinuousFlow(ContinuousFlow.Config(hidden=(16,), solver="dopri5", rtol=1e-2, atol=1e-2))
    ctx = family.context("cnf", clock=trilemma.Clock(trilemma.Budget(steps=15)))
    ctx.valid = trilemma.Split(family.blobs(100, 2))
    ctx.recipe = model.recipe.model_copy(update={"batch_size": 64, "lr": 2e-2, "validations": 2})
    model.fit(trilemma.Split(family.blobs(500, 1)), ctx)
    x = family.blobs(200, 3)
    gain = model.log_prob(x, ctx).mean() - torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(1).mean()
    assert gain > 0.02
