"""The losses of flow maps at the exact flow map of Gaussian data, the path, and the derivatives of networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from trilemma.plugins.flow_maps.networks import GatedMap, MapMLP, MapNetwork, as_evaluated, gate
from trilemma.plugins.flow_maps.objectives import (
    divergence_error,
    eulerian_error,
    lagrangian_error,
    progressive_error,
    return_error,
)
from trilemma.plugins.flow_maps.times import TimeOptions, label_rate, on_path, solver_times, time_at, time_label

Draws = Callable[[int], tuple[Tensor, Tensor, Tensor, Tensor]]


def velocity_of(v: MapNetwork, x: Tensor, t: Tensor) -> Tensor:
    """v(x, t, t) without dropout."""
    with as_evaluated(v):
        return v.instant(x, t)


def errors(v: MapNetwork, draws: Draws) -> dict[str, Tensor]:
    x, z, s, t = draws(200)
    points, _ = on_path(x, z, s)
    return {
        "lagrangian": lagrangian_error(v, points, s, t),
        "eulerian": eulerian_error(v, points, s, t, velocity_of(v, points, s)),
        "progressive": progressive_error(v, points, s, s + 0.3 * (t - s), t),
        "return": return_error(v, points, s, t),
    }


def test_all_errors_of_steps_are_zero_at_the_exact_map_and_at_no_other(
    gaussian_map: Callable[..., MapNetwork], draws: Draws
) -> None:
    wrong = errors(gaussian_map(0.9), draws)
    for name, error in errors(gaussian_map(), draws).items():
        assert float(error.max()) < 1e-16, name
        assert float(wrong[name].median()) > 1e-6, name


def test_normalized_tangents_are_those_of_the_end_along_a_trajectory_divided_by_their_length(
    gaussian_map: Callable[..., MapNetwork], draws: Draws
) -> None:
    v, (x, z, s, t), h, c = gaussian_map(0.9), draws(200), 1e-5, 0.1
    points, _ = on_path(x, z, s)
    velocity = v(points, s, s)
    ends = [
        moved + (t - time).unsqueeze(1) * v(moved, time, t)
        for moved, time in ((points + h * velocity, s + h), (points - h * velocity, s - h))
    ]
    length = ((ends[0] - ends[1]) / (2 * h)).norm(dim=1)
    found = eulerian_error(v, points, s, t, velocity, normalization=c)
    torch.testing.assert_close(found.sqrt(), length / (length + c), atol=1e-4, rtol=1e-3)


def test_the_velocity_of_the_exact_map_is_the_regression_of_path_velocities(
    gaussian_map: Callable[..., MapNetwork], draws: Draws
) -> None:
    x, z, _, _ = draws(200_000)
    t = torch.full((len(x),), 0.7, dtype=torch.float64)
    points, velocities = on_path(x, z, t)
    fitted = torch.linalg.lstsq(points, velocities).solution
    exact = gaussian_map()(torch.eye(3, dtype=torch.float64), t[:3], t[:3])
    torch.testing.assert_close(fitted, exact, atol=0.02, rtol=0)


def test_along_path_velocities_the_eulerian_loss_is_stationary_at_the_exact_map(
    gaussian_map: Callable[..., MapNetwork], draws: Draws
) -> None:
    x, z, s, t = draws(100_000)
    points, velocities = on_path(x, z, s)

    def gradient(off: float) -> Tensor:
        scaled = gaussian_map(torch.tensor(off, dtype=torch.float64, requires_grad=True))
        error = eulerian_error(scaled, points, s, t, velocities).mean()
        found: Tensor = torch.autograd.grad(error, scaled.off)[0]  # type: ignore[arg-type]
        return found

    assert abs(float(gradient(1.0))) < 0.05 * abs(float(gradient(0.8)))


def test_the_path_has_the_velocity_of_its_points_and_labels_have_their_rates() -> None:
    g = torch.Generator().manual_seed(1)
    x, z = (torch.randn((1, 2), generator=g, dtype=torch.float64) for _ in range(2))
    for value in (0.0, 0.3, 1.0):
        t = torch.tensor([value], dtype=torch.float64)
        _, velocity = on_path(x, z, t)
        moved = torch.func.jvp(lambda time: on_path(x, z, time)[0], (t,), (torch.ones_like(t),))[1]
        torch.testing.assert_close(velocity, moved)
        torch.testing.assert_close(label_rate(t), torch.func.jvp(time_label, (t,), (torch.ones_like(t),))[1])
    torch.testing.assert_close(on_path(x, z, torch.zeros(1).double())[0], z)
    torch.testing.assert_close(on_path(x, z, torch.ones(1).double())[0], x)


def test_noise_at_a_time_is_that_of_its_noise_level() -> None:
    sigma = torch.tensor([0.1, 1.0, 7.0], dtype=torch.float64)
    ends = [
        on_path(*pair, time_at(sigma))[0]
        for pair in ((torch.eye(3), torch.zeros(3, 3)), (torch.zeros(3, 3), torch.eye(3)))
    ]
    torch.testing.assert_close(ends[1].diagonal().double() / ends[0].diagonal().double(), sigma, rtol=1e-5, atol=0)
    times = solver_times(10)
    assert times[0] == 1
    assert times[-1] == 0
    assert bool((times.diff() < 0).all())


@pytest.mark.parametrize("direction", ["x", "s", "t", "all"])
def test_derivatives_of_the_network_are_those_of_autograd(direction: str) -> None:
    torch.manual_seed(0)
    parts = [MapMLP(2, (16, 16), octaves=2, outputs=2, times=times) for times in (1, 2)]
    net = GatedMap(*parts).double()
    g = torch.Generator().manual_seed(2)
    x, s, t = (torch.rand(shape, generator=g, dtype=torch.float64) for shape in ((5, 2), (5,), (5,)))
    moves: list[Any] = [torch.randn(a.shape, generator=g, dtype=torch.float64) for a in (x, s, t)]
    chosen = [m if direction in (name, "all") else None for name, m in zip("xst", moves, strict=True)]
    value, rate = net.along(x, s, t, tuple(chosen))  # type: ignore[arg-type]
    zeros = tuple(torch.zeros_like(m) if c is None else m for m, c in zip(moves, chosen, strict=True))
    expected = torch.func.jvp(net, (x, s, t), zeros)
    torch.testing.assert_close((value, rate), expected)


def test_the_divergence_head_is_trained_to_the_change_of_volume(
    gaussian_map: Callable[..., MapNetwork], gaussian_head: MapNetwork, draws: Draws, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, z, s, t = draws(300)
    points, _ = on_path(x, z, s)
    generator = torch.Generator().manual_seed(0)
    error = divergence_error(gaussian_head, gaussian_map(), points, s, t, generator)
    assert float(error.max()) < 1e-16
    assert float(divergence_error(gaussian_head, gaussian_map(0.9), points, s, t, generator).median()) > 1e-5
    # One random probe adds a variance, and no bias: the mean difference to the exact divergence is zero.
    monkeypatch.setattr("trilemma.plugins.flow_maps.objectives.EXACT_IN_TRAINING", 2)
    assert float(divergence_error(gaussian_head, gaussian_map(), points, s, t, generator).max()) > 1e-3


def test_steps_run_forward_and_back_and_a_share_of_them_from_the_ends() -> None:
    options = TimeOptions(from_end=0.5, backward=0.25)
    s, t = options.pairs(4_000, torch.Generator().manual_seed(0))
    back = s > t
    assert abs(float(back.double().mean()) - 0.25) < 0.01
    assert float((s[~back] == 0).double().mean()) == pytest.approx(0.5, abs=0.03)
    assert float((s[back] == 1).double().mean()) == pytest.approx(0.5, abs=0.05)
    assert bool(((t > 0) & (t < 1)).all())
    levels = (1 / (torch.pi / 2 * options.times(4_000, torch.Generator().manual_seed(1)).double()).tan()).log()
    assert float(levels.mean()) == pytest.approx(-0.8, abs=0.01)
    assert float(levels.std()) == pytest.approx(1.6, abs=0.03)


def test_steps_train_the_correction_and_the_velocity_is_trained_where_times_are_equal() -> None:
    torch.manual_seed(0)
    velocity, correction = (MapMLP(2, (8,), octaves=1, outputs=2, times=times) for times in (1, 2))
    net = GatedMap(velocity, correction)
    x, s, t = torch.randn(4, 2), torch.full((4,), 0.2), torch.full((4,), 0.6)
    lagrangian_error(net, x, s, t).sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is None for parameter in velocity.parameters())
    assert all(bool(parameter.grad.any()) for parameter in correction.parameters() if parameter.grad is not None)
    torch.testing.assert_close(net.instant(x, t), net(x, t, t))
    value, in_s, in_t = gate(s.double(), t.double())
    assert bool((value > 0).all())
    moved = torch.func.jvp(lambda a, b: gate(a, b)[0], (s.double(), t.double()), (torch.ones(4).double(),) * 2)[1]
    torch.testing.assert_close(in_s + in_t, moved)


@pytest.mark.parametrize("name", ["lagrangian", "eulerian", "progressive"])
def test_targets_are_without_dropout(name: str, draws: Draws) -> None:
    """Where the correction is 0, what is random in an error of a step can only come from its target."""
    torch.manual_seed(0)
    v = GatedMap(*(MapMLP(3, (32, 32), octaves=1, outputs=3, times=n, dropout=0.5) for n in (1, 2))).double()
    assert isinstance(v.correction, MapMLP)
    with torch.no_grad():
        for parameter in v.correction.body[-1].parameters():
            parameter.zero_()
    v.train()
    first, second = (errors(v, draws)[name] for _ in range(2))
    assert torch.equal(first, second)
    assert all(module.training for module in v.modules()), "and training goes on with dropout"
    torch.testing.assert_close(first, errors(v.eval(), draws)[name])


def test_the_target_of_the_divergence_head_is_without_dropout(draws: Draws) -> None:
    torch.manual_seed(0)
    v = GatedMap(*(MapMLP(3, (32, 32), octaves=1, outputs=3, times=n, dropout=0.5) for n in (1, 2))).double()
    head = MapMLP(3, (32,), octaves=1, outputs=1, dropout=0.5).double()
    with torch.no_grad():
        for parameter in head.body[-1].parameters():
            parameter.zero_()  # what is random in the error can only come from its target
    x, _, s, t = draws(50)
    first, second = (
        divergence_error(head.train(), v.train(), x, s, t, torch.Generator().manual_seed(1)) for _ in range(2)
    )
    assert torch.equal(first, second)
