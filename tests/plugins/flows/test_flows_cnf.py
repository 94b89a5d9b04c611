"""The adaptive solver of continuous flows: its densities and samples, its gradients, and what it says of its cost."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy.integrate import solve_ivp

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
