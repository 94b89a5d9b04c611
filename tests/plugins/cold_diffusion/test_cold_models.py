"""Cold diffusion in training, its samples, and a degradation of one's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import trilemma
from trilemma.plugins.cold_diffusion.cold_diffusion import ColdDiffusion, VectorConfig
from trilemma.plugins.cold_diffusion.end_state import PriorAlone
from trilemma.plugins.cold_diffusion.images import ColdBlur, ColdDownsample, ColdMask
from trilemma.plugins.cold_diffusion.restoration import Degradation, Naive, Tacos
from trilemma.plugins.cold_diffusion.vectors import ColdMorph
from trilemma.plugins.networks.mlp import MLP_RECIPE


def test_morph_reaches_the_distribution_from_a_start_that_saw_training_points_alone(
    context: Callable[..., trilemma.Context], corners: Callable[..., Tensor], trained: Callable[..., ColdDiffusion]
) -> None:
    model = trained(ColdMorph, corners(4_000, 1), 600, hidden=(64, 64))
    alone = model.sample(2_000, context(sampler=PriorAlone()))
    assert float(alone.abs().max()) < 4  # validation points are at 50
    x = model.sample(2_000, context(sampler=Tacos()))

    def near(points: Tensor) -> float:
        return float(((points.abs() - 1).norm(dim=1) < 0.6).float().mean())

    assert near(corners(2_000, 9)) > 0.98
    assert near(x) > 0.93
    assert near(alone) < 0.6
    quadrants = (x > 0).float() @ torch.tensor([2.0, 1.0])
    assert float(torch.bincount(quadrants.long(), minlength=4).min()) > 400
    # The partner of the start does not explain what the restorer finds later.
    assert near(model.sample(2_000, context(sampler=Tacos(partner="held")))) < 0.6


@pytest.mark.parametrize("kind", [ColdBlur, ColdMask, ColdDownsample])
def test_restored_images_stay_in_the_range_of_the_data_and_cost_one_evaluation_a_step(
    kind: type[ColdDiffusion],
    generator: Callable[..., torch.Generator],
    context: Callable[..., trilemma.Context],
    trained: Callable[..., ColdDiffusion],
) -> None:
    x = torch.rand((300, 1, 8, 8), generator=generator(1)) * torch.linspace(0, 1, 8)
    model = trained(kind, x, 5, widths=(8, 8))
    rows = 0

    def count(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal rows
        rows += len(args[0])

    (network,) = model.networks()
    handle = network.register_forward_pre_hook(count)
    ctx = context(x.shape[1:], sampler=PriorAlone())
    ends = model.sample(50, ctx)
    assert rows == 0
    model.sample(50, context(x.shape[1:], sampler=Naive(steps=6)))
    handle.remove()
    assert rows == 50 * (3 if kind is ColdDownsample else 6)
    estimate = model.estimate(100 * ends, torch.tensor(0.5))
    assert float(estimate.detach().max()) == 1
    assert float(estimate.detach().min()) >= 0


def test_conditional_restoration_is_that_of_the_two_algorithms(
    context: Callable[..., trilemma.Context], corners: Callable[..., Tensor], trained: Callable[..., ColdDiffusion]
) -> None:
    model = trained(ColdShrink, corners(4_000, 1), 5, hidden=(16,))
    x = corners(50, 3)
    degraded = model.degrade(x, context(sampler=Naive(steps=1)))
    torch.testing.assert_close(degraded, 0.01 * x)
    torch.testing.assert_close(
        model.restore(degraded, context(sampler=Naive(steps=1))), model.estimate(degraded, torch.tensor(1.0)).detach()
    )
    y = degraded
    for i in range(4, 0, -1):
        restored = model.estimate(y, torch.tensor(i / 4)).detach()
        y = y - (1 - 0.99 * i / 4) * restored + (1 - 0.99 * (i - 1) / 4) * restored
    torch.testing.assert_close(model.restore(degraded, context(sampler=Tacos(steps=4))), y, atol=1e-5, rtol=0)
    torch.testing.assert_close(model.restore(degraded, context(sampler=PriorAlone())), degraded)
    with pytest.raises(trilemma.UnsupportedError, match="partner"):
        trained(ColdMorph, corners(400, 1), 1, hidden=(4,)).degrade(x, context())


class ColdShrink(ColdDiffusion):
    """Points shrink towards the origin, as a third party would write it."""

    name = "cold-shrink"
    recipe = MLP_RECIPE

    class Config(VectorConfig):
        """The network and the fully degraded state."""

    class Shrink(Degradation):
        """D(x, t) = (1 - .99 t) x."""

        def forward(self, x: Tensor, t: Tensor, z: Tensor | None = None) -> Tensor:
            return (1 - 0.99 * t.to(x).reshape(-1, 1)) * x

    def make_degradation(self, info: trilemma.DataInfo) -> Degradation:
        return self.Shrink()


@pytest.mark.parametrize("check", trilemma.conformance_checks(ColdShrink), ids=str)
def test_degradation_of_ones_own(check: trilemma.Check) -> None:
    check()
