"""The degradations of cold diffusion, and the two algorithms that undo them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn
from torch import Tensor

import trilemma
from trilemma.plugins.cold_diffusion.heat import HeatBlur, dct_matrix
from trilemma.plugins.cold_diffusion.images import Blur, Downsample, Mask
from trilemma.plugins.cold_diffusion.restoration import Degradation, Naive, Tacos
from trilemma.plugins.cold_diffusion.vectors import Fade, Morph


@pytest.mark.parametrize("n", [1, 5, 8])
def test_dct_matrix_is_orthonormal(n: int) -> None:
    torch.testing.assert_close(dct_matrix(n) @ dct_matrix(n).T, torch.eye(n, dtype=torch.float64))


def test_blur_is_the_cosine_solution_of_the_heat_equation(normal: Callable[..., Tensor]) -> None:
    x, sigma = normal((3, 2, 6, 8), 1), torch.tensor([0.0, 0.7, 3.0], dtype=torch.float64)
    found = HeatBlur(6, 8)(x, sigma)
    squared = (math.pi * np.arange(6)[:, None] / 6) ** 2 + (math.pi * np.arange(8) / 8) ** 2
    coefficients = dctn(x.numpy(), axes=(2, 3), norm="ortho")
    damping = np.exp(-squared * (sigma.numpy()[:, None, None, None]) ** 2 / 2)
    np.testing.assert_allclose(found.numpy(), idctn(damping * coefficients, axes=(2, 3), norm="ortho"), atol=1e-12)


def test_blur_is_a_semigroup_that_keeps_the_mean(normal: Callable[..., Tensor]) -> None:
    x, blur = normal((4, 1, 8, 8), 1), HeatBlur(8, 8)
    once = blur(x, torch.tensor(5.0**0.5))
    torch.testing.assert_close(blur(blur(x, torch.tensor(1.0)), torch.tensor(2.0)), once, atol=1e-6, rtol=0)
    torch.testing.assert_close(once.mean((1, 2, 3)), x.mean((1, 2, 3)))
    torch.testing.assert_close(blur(x, torch.tensor(100.0)), x.mean((2, 3), keepdim=True).expand_as(x))


DEGRADATIONS: list[tuple[Degradation, tuple[int, ...]]] = [
    (Morph((3,), 500), (3,)),
    (Fade((3,), 8.0), (3,)),
    (Blur(8, 8, 0.3, 4.0), (1, 8, 8)),
    (Mask(8, 8, 50, 0.04, 0.21), (1, 8, 8)),
    (Downsample(8, 8), (2, 8, 8)),
]


@pytest.mark.parametrize(("degrade", "shape"), DEGRADATIONS, ids=lambda value: type(value).__name__)
def test_severity_zero_is_the_point_itself_and_each_point_has_its_own(
    degrade: Degradation,
    shape: tuple[int, ...],
    generator: Callable[..., torch.Generator],
    normal: Callable[..., Tensor],
) -> None:
    x = normal((6, *shape), 1).float()
    degrade.fit(x, generator())
    z = degrade.partner(x, generator(1))
    torch.testing.assert_close(degrade(x, torch.zeros(()), z), x)
    t = torch.linspace(0, 1, 6)
    one_by_one = [degrade(x[i : i + 1], t[i], None if z is None else z[i : i + 1]) for i in range(6)]
    torch.testing.assert_close(degrade(x, t, z), torch.cat(one_by_one))


def test_morph_keeps_the_variance_and_knows_its_partner(
    generator: Callable[..., torch.Generator], normal: Callable[..., Tensor]
) -> None:
    degrade = Morph((2,), 4_000)
    x = normal((20_000, 2), 1).float()
    degrade.fit(x, generator())
    z = degrade.partner(x, generator(1))
    assert float(z.abs().max()) <= math.sqrt(3)  # not Gaussian
    for t in torch.tensor([0.2, 0.5, 0.9, 1.0]):
        degraded = degrade(x, t, z)
        torch.testing.assert_close(degraded.var(0), torch.ones(2), atol=0.05, rtol=0)
        torch.testing.assert_close(degrade.estimate_partner(degraded, x, t), z, atol=1e-4, rtol=0)
    torch.testing.assert_close(degrade(x, torch.ones(()), z), z, atol=1e-6, rtol=0)


def test_fade_damps_principal_components(
    generator: Callable[..., torch.Generator], normal: Callable[..., Tensor]
) -> None:
    x = normal((5_000, 2), 1) @ torch.tensor([[2.0, 0.5], [0.0, 0.3]], dtype=torch.float64)
    degrade = Fade((2,), 3.0)
    degrade.fit(x.float(), generator())
    faded = degrade(x, torch.tensor(0.5))
    _, directions = torch.linalg.eigh(x.T.cov())
    before, after = (((points - x.mean(0)) @ directions).flip(1).std(0) for points in (x, faded))
    damping = torch.tensor([math.exp(-0.75), math.exp(-1.5)], dtype=torch.float64)
    torch.testing.assert_close(after / before, damping, atol=1e-4, rtol=0)


def test_mask_is_the_running_product_of_gaussian_holes() -> None:
    steps, x, degrade = 5, torch.ones((1, 2, 6, 8), dtype=torch.float64), Mask(6, 8, 5, 0.1, 0.5)
    expected = np.ones((6, 8))
    for i in range(steps):
        deviation = 6 * (0.1 + 0.4 * i / (steps - 1))
        for row in range(6):
            for column in range(8):
                bump = math.exp(-((row - 2) ** 2) / (2 * deviation**2)) * math.exp(
                    -((column - 3) ** 2) / (2 * deviation**2)
                )
                expected[row, column] *= 1 - bump
        found = degrade(x, torch.tensor((i + 1) / steps, dtype=torch.float64))
        np.testing.assert_allclose(found[0, 1].numpy(), expected, atol=1e-12)
    assert expected[2, 3] == 0
    # Between two steps it is monotone too.
    left = [float(degrade(x, t).sum()) for t in torch.linspace(0, 1, 23)]
    assert left == sorted(left, reverse=True)


def test_downsampling_goes_through_means_of_squares(normal: Callable[..., Tensor]) -> None:
    x, degrade = normal((2, 1, 8, 8), 1), Downsample(8, 8)
    assert degrade.times(40, 2.0).tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0])
    two = degrade(x, torch.tensor(1 / 3))
    torch.testing.assert_close(two[:, :, :2, :2], x[:, :, :2, :2].mean((2, 3), keepdim=True).expand(2, 1, 2, 2))
    torch.testing.assert_close(degrade(x, torch.ones(())), x.mean((2, 3), keepdim=True).expand_as(x))
    with pytest.raises(trilemma.UnsupportedError):
        Downsample(5, 8)


@pytest.mark.parametrize("sampler", [Naive(steps=7), Tacos(steps=7), Tacos(steps=30, power=2.0)])
@pytest.mark.parametrize(("degrade", "shape"), DEGRADATIONS, ids=lambda value: type(value).__name__)
def test_a_perfect_restorer_gives_the_point_back(
    sampler: Naive | Tacos,
    degrade: Degradation,
    shape: tuple[int, ...],
    generator: Callable[..., torch.Generator],
    normal: Callable[..., Tensor],
) -> None:
    x = normal((5, *shape), 1).float()
    degrade.fit(x, generator())
    end = degrade(x, torch.ones(()), degrade.partner(x, generator(1)))
    torch.testing.assert_close(sampler.draw(lambda y, t: x, degrade, end), x, atol=1e-5, rtol=0)


class Shift(Degradation):
    """D(x, t) = x + t e."""

    def forward(self, x: Tensor, t: Tensor, z: Tensor | None = None) -> Tensor:
        return x + 2.0 * t.to(x).reshape(-1, 1)


def test_algorithm_two_is_exact_for_a_linear_degradation_whatever_the_restorer(normal: Callable[..., Tensor]) -> None:
    x = normal((5, 2), 1)

    def wrong(y: Tensor, t: Tensor) -> Tensor:
        return 0.3 * y + t

    torch.testing.assert_close(Tacos(steps=9).draw(wrong, Shift(), x + 2), x)
    assert float((Naive(steps=9).draw(wrong, Shift(), x + 2) - x).abs().mean()) > 0.3


def test_held_partner_makes_the_algorithms_differ_and_an_estimated_one_makes_them_the_same(
    generator: Callable[..., torch.Generator], normal: Callable[..., Tensor]
) -> None:
    degrade = Morph((2,), 500)
    degrade.fit(normal((5, 2), 1).float(), generator())
    start = degrade.end(40, generator(1))

    def rough(y: Tensor, t: Tensor) -> Tensor:
        return 0.3 * y + t

    # Algorithm 1 by hand, with the partner for which D(R, t) = x, and with the start as partner.
    found = {}
    for held in (False, True):
        x = start
        for i in range(6, 0, -1):
            angle, angle_next = (math.pi / 2 * k / 6 for k in (i, i - 1))
            restored = rough(x, torch.tensor(i / 6))
            z = start if held else (x - math.cos(angle) * restored) / math.sin(angle)
            x = math.cos(angle_next) * restored + math.sin(angle_next) * z
        found[held] = x
    torch.testing.assert_close(Tacos(steps=6).draw(rough, degrade, start), found[False], atol=1e-5, rtol=0)
    torch.testing.assert_close(Naive(steps=6).draw(rough, degrade, start), found[True], atol=1e-5, rtol=0)
    held = Tacos(steps=6, partner="held").draw(rough, degrade, start)
    assert float((held - found[True]).abs().mean()) > 0.05
    assert float((held - found[False]).abs().mean()) > 0.05


def test_noise_at_the_start_breaks_the_symmetry_of_a_constant_image(generator: Callable[..., torch.Generator]) -> None:
    # From a constant image, a restorer that treats all pixels alike gives constant images only.
    start, degrade = torch.full((200, 1, 8, 8), 0.3), Blur(8, 8, 0.3, 20.0)

    def sharper(x: Tensor, t: Tensor) -> Tensor:
        return x + 30 * (x - x.mean((2, 3), keepdim=True))

    torch.testing.assert_close(Tacos().begin(start, generator()), start)
    flat = Tacos(steps=5).draw(sharper, degrade, Tacos().begin(start, generator()))
    assert float(flat.std((2, 3)).max()) < 1e-4
    broken = Tacos(steps=5, start_noise=0.004)
    begun = broken.begin(start, generator())
    assert float((begun - start).std()) == pytest.approx(0.004, rel=0.05)
    assert float(broken.draw(sharper, degrade, begun).std((2, 3)).min()) > 0.05


def test_fade_of_one_coordinate_damps_its_distance_from_the_mean(
    generator: Callable[..., torch.Generator], normal: Callable[..., Tensor]
) -> None:
    x, degrade = 3 + normal((50, 1), 1), Fade((1,), 8.0)
    degrade.fit(x, generator())
    expected = x.mean() + (x - x.mean()) * math.exp(-4)
    torch.testing.assert_close(degrade(x, torch.tensor(0.5)), expected, atol=1e-5, rtol=0)
