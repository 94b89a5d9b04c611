"""Flow maps as models: they train in all their forms, and come close to a mixture in a short training (slow)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.harness.plugins import Registry
from trilemma.plugins.flow_maps.distilled import DistilledFlowMap
from trilemma.plugins.flow_maps.flow_map import FlowMap
from trilemma.plugins.flow_maps.likelihoods import FlowMapLikelihood
from trilemma.plugins.flow_maps.named import Consistency, ConsistencySteps

REGISTRY = Registry(builtin_only=True)


def fit(kind: Any, x: Tensor, context: Callable[..., trilemma.Context], steps: int, **options: object) -> Any:
    model = kind(kind.Config(**options))
    clock = trilemma.Clock(trilemma.Budget(steps=steps))
    model.fit(trilemma.Split(x), context(tuple(x.shape[1:]), clock=clock, recipe=kind.recipe))
    return model


def pair(n: int, seed: int) -> Tensor:
    """Two Gaussians with deviation .4 at -.9 and .9 on the first axis. The second axis is standard normal."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn((n, 2), generator=g)
    side = 2.0 * torch.randint(0, 2, (n,), generator=g) - 1
    return torch.stack([0.9 * side + 0.4 * x[:, 0], x[:, 1]], dim=1)


@pytest.mark.parametrize("objective", ["lagrangian", "eulerian", "progressive"])
def test_every_objective_trains_with_head_and_penalty(objective: str, context: Callable[..., trilemma.Context]) -> None:
    options = {"objective": objective, "head": True, "invertibility": 1.0, "power": 0.5, "hidden": (16, 16)}
    model = fit(FlowMap, pair(600, 0), context, 3, **options)
    for method in ("ode", "head", "jacobian"):
        likelihood = FlowMapLikelihood(method=method, steps=2)  # type: ignore[arg-type]
        values = model.log_prob(pair(5, 1), context((2,), likelihood=likelihood))
        assert torch.isfinite(values).all()


def test_models_with_the_names_of_papers_are_choices_of_options(context: Callable[..., trilemma.Context]) -> None:
    chosen = {
        "meanflow": {"objective": "eulerian", "tangent": "path", "power": 1.0, "velocity_share": 0.75},
        "shortcut": {"objective": "progressive", "split": "middle", "velocity_share": 0.75},
        "consistency": {
            "objective": "eulerian",
            "tangent": "path",
            "to_data": True,
            "power": 0.0,
            "normalization": 0.1,
        },
    }
    for name, options in chosen.items():
        kind: Any = REGISTRY.get("models", name)
        told = kind.Config().model_dump()
        assert told == {**FlowMap.Config().model_dump(), **options}
        model = fit(kind, pair(600, 0), context, 2, hidden=(16, 16))
        x = model.sample(4, context((2,), sampler=kind.samplers[0](steps=3)))
        assert x.shape == (4, 2)


def test_consistency_models_step_to_the_data_and_back_to_the_path(
    covariance: Tensor, gaussian_map: Callable[..., Any], context: Callable[..., trilemma.Context]
) -> None:
    s, t = Consistency.Config().pairs(200, torch.Generator().manual_seed(0))
    assert bool((t == 1).all())
    assert bool((s < 1).all())
    model = Consistency()
    model.prepare(context((3,)).info)
    model.map = gaussian_map()
    x = model.sample(4_000, context((3,), sampler=ConsistencySteps(steps=4)))
    torch.testing.assert_close(x.T.cov().double(), covariance, atol=0.15, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [FlowMap, DistilledFlowMap])
def test_one_step_and_the_densities_come_close_to_a_mixture(
    kind: type[FlowMap | DistilledFlowMap], context: Callable[..., trilemma.Context]
) -> None:
    model = fit(kind, pair(50_000, 0), context, 1_500, head=True, invertibility=1.0, hidden=(64, 64))
    x = model.sample(20_000, context((2,)))
    assert float((x[:, 0] > 0).float().mean()) == pytest.approx(0.5, abs=0.03)
    assert float((x[:, 0].abs() - 0.9).std()) == pytest.approx(0.4, abs=0.06)
    assert float(x[:, 1].std()) == pytest.approx(1.0, abs=0.05)
    points = pair(2_000, 1)
    first = torch.stack([-0.5 * ((points[:, 0] - c) / 0.4) ** 2 for c in (-0.9, 0.9)]).logsumexp(0)
    true = first - torch.tensor(2 * 0.4 * 2 * torch.pi).log() - 0.5 * points[:, 1] ** 2
    # Where a map folds, or the head is wrong, the numbers of few steps are too large: they are no densities.
    for method, steps, low, high in (("ode", 20, -0.02, 0.05), ("head", 4, -0.6, 0.1), ("jacobian", 4, -0.1, 0.25)):
        likelihood = FlowMapLikelihood(method=method, steps=steps)  # type: ignore[arg-type]
        gap = true - model.log_prob(points, context((2,), likelihood=likelihood))
        assert low < float(gap.mean()) < high, method
