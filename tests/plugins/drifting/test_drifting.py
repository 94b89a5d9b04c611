"""Drifting: the field against quadrature, where it vanishes, and what a generator learns from it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.drifting.drifting import Drifting
from trilemma.plugins.drifting.field import distances, drift


def points(n: int, d: int, seed: int, mean: float = 0.0) -> Tensor:
    return mean + torch.randn((n, d), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mean_shift(x: float, mean: float, temperature: float) -> float:
    """The mean shift at `x` of the kernel exp(-|x - y| / temperature) under N(mean, 1), by quadrature."""
    y = torch.linspace(mean - 9, mean + 9, 20_001, dtype=torch.float64)
    weight = (-(y - x).abs() / temperature - 0.5 * (y - mean) ** 2).exp()
    return float((weight * (y - x)).sum() / weight.sum())


@pytest.mark.parametrize("x", [-1.0, 0.3, 2.0])
def test_field_of_many_points_is_that_of_their_distributions(x: float) -> None:
    data, own = points(200_000, 1, 0, mean=1.0), points(200_000, 1, 1)
    at = torch.tensor([[x]], dtype=torch.float64)
    expected = mean_shift(x, 1.0, 0.7) - mean_shift(x, 0.0, 0.7)
    assert float(drift(at, data, own, [0.7], balanced=False)) == pytest.approx(expected, abs=0.02)
    both = expected / 2 + (mean_shift(x, 1.0, 0.2) - mean_shift(x, 0.0, 0.2)) / 2
    assert float(drift(at, data, own, [0.7, 0.2], balanced=False)) == pytest.approx(both, abs=0.02)


@pytest.mark.parametrize("balanced", [True, False])
def test_field_changes_sign_with_the_distributions_and_vanishes_when_they_agree(balanced: bool) -> None:
    x, data, own = points(20, 3, 0), points(40, 3, 1, mean=0.5), points(30, 3, 2)
    field = drift(x, data, own, [0.5], balanced=balanced)
    assert field.norm() > 0.1
    torch.testing.assert_close(drift(x, own, data, [0.5], balanced=balanced), -field)
    assert float(drift(x, data, data.flip(0), [0.5], balanced=balanced).abs().max()) < 1e-12


@pytest.mark.parametrize("balanced", [True, False])
def test_field_of_samples_of_the_data_falls_with_their_number(balanced: bool) -> None:
    sizes = []
    for n in (100, 3_200):
        own = points(n, 2, 1)
        sizes.append(float(drift(own, points(n, 2, 2), own, [1.0], balanced=balanced).square().mean().sqrt()))
    assert sizes[1] < sizes[0] / 3  # 1/sqrt(32) is .18


def test_field_points_to_the_data_and_no_point_repels_itself() -> None:
    own = points(50, 2, 0)
    assert (drift(own, points(50, 2, 1, mean=3.0), own, [0.5]).mean(0) > 0.1).all()
    assert torch.isinf(distances(own, points(50, 2, 1), own)[:, 50:].diagonal()).all()
    pair = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    pushed = drift(pair, torch.tensor([[0.5, 5.0]]), pair, [1.0], balanced=False)
    torch.testing.assert_close(pushed, torch.tensor([[-0.5, 5.0], [0.5, 5.0]]))


def trained(x: Tensor, steps: int) -> tuple[Drifting, trilemma.Context]:
    model = Drifting()
    info = trilemma.DataInfo(name="toy", kind="vector", shape=tuple(x.shape[1:]), n_train=len(x))
    ctx = trilemma.Context(
        info=info,
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(0),
        recipe=model.recipe,
        clock=trilemma.Clock(trilemma.Budget(steps=steps)),
    )
    model.fit(trilemma.Split(x), ctx)
    return model, ctx


def test_gradient_of_the_loss_moves_samples_along_the_field() -> None:
    model, ctx = trained(points(512, 2, 0).float(), 1)
    x = points(256, 2, 1, mean=1.0).float()
    made: list[Tensor] = []

    def keep(module: torch.nn.Module, inputs: object, output: Tensor) -> None:
        output.retain_grad()
        made.append(output)

    model.generator.register_forward_hook(keep)
    model.train()
    model.loss(x, ctx).backward()  # type: ignore[no-untyped-call]
    (samples,) = made
    assert samples.grad is not None
    own = samples.detach()
    scale = torch.cdist(own[:128], x[:128]).mean()
    field = drift(own, x, own, [0.02 * scale, 0.1 * scale])
    torch.testing.assert_close(-samples.grad * samples.numel() / 2, field, atol=1e-5, rtol=1e-3)


def test_validation_loss_is_the_energy_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    """E|x - y| is 2 / sqrt(pi) for two standard normal variables, and the distance of the means if it is large."""
    model, ctx = trained(points(300, 1, 0).float(), 1)
    x = points(1_000, 1, 6).float()
    for mean, expected in ((0.0, 2 / math.pi**0.5), (30.0, 60 - 2 / math.pi**0.5)):
        monkeypatch.setattr(model, "generated", lambda n, ctx, mean=mean: points(n, 1, 7, mean).float())
        assert float(model.validation_loss(x, ctx)) == pytest.approx(expected, abs=0.15)


def test_generator_learns_two_modes_in_one_evaluation() -> None:
    signs = torch.randint(2, (4_000, 1), generator=torch.Generator().manual_seed(5)) * 2 - 1
    x = torch.cat([signs + 0.2 * points(4_000, 1, 3), points(4_000, 1, 4)], dim=1).float()
    model, ctx = trained(x, 200)
    assert [type(net).__name__ for net in model.networks()] == ["Generator"]
    samples = model.sample(4_000, ctx)
    left = samples[:, 0] < 0
    assert 0.42 < float(left.float().mean()) < 0.58
    assert float(samples[:, 0].abs().median()) == pytest.approx(1.0, abs=0.15)  # that of N(0, 1) is .67
    assert float(samples[:, 1].std()) == pytest.approx(1.0, abs=0.15)


@pytest.mark.slow
def test_all_modes_of_the_ring_are_found() -> None:
    angles = torch.arange(8) * math.pi / 4
    centers = 2 * torch.stack([angles.cos(), angles.sin()], dim=1)
    g = torch.Generator().manual_seed(0)
    x = (centers[torch.randint(8, (20_000,), generator=g)] + 0.2 * torch.randn((20_000, 2), generator=g)) / 1.428
    model, ctx = trained(x, 1_500)
    apart, nearest = torch.cdist(1.428 * model.sample(4_000, ctx), centers).min(1)
    counts = torch.bincount(nearest[apart < 0.6], minlength=8)
    assert (counts > 250).all()
    assert float((apart < 0.6).float().mean()) > 0.7
