"""Distilled flow maps: their trajectories against a closed form, and the steps that are fitted to them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.flow_maps.distilled import DistilledFlowMap, Trajectories
from trilemma.plugins.flow_maps.likelihoods import FlowMapLikelihood
from trilemma.plugins.flow_maps.networks import GatedMap, MapMLP, MapNetwork
from trilemma.plugins.flow_maps.objectives import trajectory_error

Context = Callable[..., trilemma.Context]


def small(**options: object) -> DistilledFlowMap:
    return DistilledFlowMap(
        DistilledFlowMap.Config.model_validate(
            {"trajectories": 60, "intervals": 4, "hidden": (16, 16), "head": True, "invertibility": 1.0} | options
        )
    )


def test_trajectories_of_gaussian_data_keep_their_place_in_deviations(
    gaussian_map: Callable[..., MapNetwork], covariance: Tensor
) -> None:
    """The flow to N(0, C) carries z to C^(1/2) z, and on the way to (cos^2 a + sin^2 a C)^(1/2) z."""
    found = Trajectories(500, intervals=200)
    found.extend(gaussian_map(), (3,), torch.Generator().manual_seed(0))
    assert found.points is not None
    assert found.velocities is not None
    z = found.points[0].double()
    variances, axes = torch.linalg.eigh(covariance)
    for k in (50, 120, 200):
        angle = torch.pi / 2 * found.times[k].double()
        deviations = (angle.cos() ** 2 + angle.sin() ** 2 * variances).sqrt()
        torch.testing.assert_close(found.points[k].double(), z @ axes * deviations @ axes.T, atol=2e-3, rtol=0)
    # A velocity is the slope of the trajectory.
    before, after = (found.points[k].double() for k in (119, 121))
    slope = (after - before) / (found.times[121] - found.times[119])
    torch.testing.assert_close(found.velocities[120].double(), slope, atol=2e-2, rtol=0)


def test_trajectories_back_start_around_the_data_and_keep_their_place_too(
    gaussian_map: Callable[..., MapNetwork], covariance: Tensor
) -> None:
    data = 5.0 * torch.nn.functional.one_hot(torch.arange(300) % 3, 3)
    found = Trajectories(3_000, intervals=200)
    for _ in range(2):
        found.extend_back(gaussian_map(), data, torch.Generator().manual_seed(0))
    assert found.points is not None
    assert found.points.shape == (201, 3_000, 3)
    variances, axes = torch.linalg.eigh(covariance)
    end = found.points[-1].double()
    z = (end @ axes / variances.sqrt()) @ axes.T
    torch.testing.assert_close(found.points[0].double(), z, atol=0.02, rtol=0.01)
    away = torch.cdist(end, 5.0 * torch.eye(3).double()).min(1).values.square() / 3
    # The mean of the squared deviations, whose logarithm is uniform between those of .03 and 1.
    assert float(away.mean()) == pytest.approx((1 - 0.03**2) / (2 * math.log(1 / 0.03)), rel=0.1)


def test_steps_around_the_data_are_those_back_alone(gaussian_map: Callable[..., MapNetwork]) -> None:
    model = small(around=1.0, backward=0.4, head=False, invertibility=0.0)
    velocity, seen = gaussian_map(), []

    class Watched(GatedMap):
        def average(self, x: Tensor, s: Tensor, t: Tensor, start: Tensor) -> Tensor:
            seen.append((x, s, t))
            return start

    model.map, model.head = Watched(velocity, velocity), None
    model._trajectories, model._around = Trajectories(50, 4), Trajectories(50, 4)
    generator = torch.Generator().manual_seed(0)
    model._trajectories.extend(velocity, (3,), generator)
    model._around.extend_back(velocity, torch.full((5, 3), 30.0), generator)
    model.distillation_loss(400, generator)
    ((x, s, t),) = seen
    assert float((t < s).float().mean()) == pytest.approx(0.4, abs=0.08)
    assert bool(((x.abs().amax(1) > 10) == (t < s)).all())


def test_the_error_is_zero_at_the_exact_map_alone(
    gaussian_map: Callable[..., MapNetwork], draws: Callable[[int], tuple[Tensor, Tensor, Tensor, Tensor]]
) -> None:
    x, _, s, t = draws(200)
    exact = gaussian_map()
    end = x + (t - s).unsqueeze(1) * exact(x, s, t)
    assert float(trajectory_error(exact(x, s, t), x, end, s, t).max()) < 1e-20
    off = gaussian_map(1.1)(x, s, t)
    # Velocities that are off by e give |t - s| e^2.
    expected = (t - s).abs() * (off - exact(x, s, t)).square().sum(1)
    torch.testing.assert_close(trajectory_error(off, x, end, s, t), expected)


@pytest.mark.parametrize("to_data", [False, True])
def test_steps_lead_from_each_time_to_a_later_one_and_a_share_back(to_data: bool) -> None:
    model = small(to_data=to_data, intervals=6, backward=0.3, whole=0.2)
    model._trajectories = Trajectories(1, 6)
    i, j = model.step_ends(100_000, torch.Generator().manual_seed(0))
    assert int(min(i.min(), j.min())) == 0
    assert int(max(i.max(), j.max())) == 6
    assert bool((i != j).all())
    share = float((j < i).float().mean())
    assert share == pytest.approx(0.0 if to_data else 0.3, abs=0.02)
    assert bool((j == 6).all()) == to_data
    assert {(int(a), int(b)) for a, b in zip(i, j, strict=True) if a < b} == {
        (a, b) for a in range(6) for b in range(a + 1, 7) if b == 6 or not to_data
    }


@pytest.mark.parametrize("around", [0.0, 0.5])
def test_a_training_ends_with_samples_and_all_likelihoods(around: float, context: Context) -> None:
    model = small(around=around, backward=0.5)
    x = torch.randn((300, 2), generator=torch.Generator().manual_seed(0))
    stored: list[int] = []
    draw = Trajectories.extend

    def watched(self: Trajectories, *args: Any) -> None:
        draw(self, *args)
        stored.append(0 if self.points is None else self.points.shape[1])

    clock = trilemma.Clock(trilemma.Budget(steps=8))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Trajectories, "extend", watched)
        patched.setattr(DistilledFlowMap, "part", 40)
        model.fit(trilemma.Split(x), context((2,), clock=clock, recipe=model.recipe))
    assert stored == [40, 60, 60, 60, 60, 60]  # a quarter of the budget is over after two steps
    assert torch.isfinite(model.sample(5, context((2,)))).all()
    for method in ("ode", "head", "jacobian"):
        likelihood = FlowMapLikelihood(method=method, steps=2)  # type: ignore[arg-type]
        assert torch.isfinite(model.log_prob(x[:5], context((2,), likelihood=likelihood))).all()


def test_steps_do_not_move_the_velocity(context: Context) -> None:
    model = small(head=False, invertibility=0.0, first=0.5)
    model.prepare(context((2,)).info)
    model._trajectories = Trajectories(60, 4)
    generator = torch.Generator().manual_seed(0)
    model._trajectories.extend(model.map, (2,), generator)
    model.distillation_loss(50, generator).backward()  # type: ignore[no-untyped-call]
    assert isinstance(model.map, GatedMap)
    assert all(p.grad is None for p in model.map.velocity.parameters())
    assert all(p.grad is not None for p in model.map.correction.parameters())


def test_each_stage_has_a_schedule_of_its_own() -> None:
    model = small(first=0.25)
    assert [model.schedule_progress(p) for p in (0.0, 0.125, 0.25, 0.625, 1.0)] == [0.0, 0.5, 0.0, 0.5, 1.0]


def test_trajectories_are_of_the_network_without_dropout() -> None:
    torch.manual_seed(0)
    v = MapMLP(2, (16, 16), octaves=2, outputs=2, times=1, dropout=0.5).train()
    ends = []
    for _ in range(2):
        found = Trajectories(20, intervals=4)
        found.extend(v, (2,), torch.Generator().manual_seed(0))
        assert found.points is not None
        ends.append(found.points[-1])
    assert torch.equal(*ends)
    assert v.training


def test_without_steps_back_there_is_no_density_by_steps(context: Context) -> None:
    model = small(to_data=True)
    model.prepare(context((2,)).info)
    x = torch.randn((3, 2), generator=torch.Generator().manual_seed(0))
    for method in ("head", "jacobian"):
        likelihood = FlowMapLikelihood(method=method)  # type: ignore[arg-type]
        with pytest.raises(trilemma.UnsupportedError, match="no step goes from data to noise"):
            model.log_prob(x, context((2,), likelihood=likelihood))
    assert torch.isfinite(model.log_prob(x, context((2,), likelihood=FlowMapLikelihood()))).all()


@pytest.mark.parametrize("options", [{"backward": 0.0}, {"to_data": True}])
def test_trajectories_around_the_data_need_steps_back(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="'around' is a share of the steps back"):
        small(around=0.5, **options)
    small(around=0.0, **options)
