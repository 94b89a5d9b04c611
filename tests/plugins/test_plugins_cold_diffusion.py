"""Cold diffusion: its degradations, its two algorithms, the state it starts from, and degradations of one's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn
from torch import Tensor, nn

import trilemma
from trilemma.plugins.cold_diffusion.cold_diffusion import ColdDiffusion, ColdVectors
from trilemma.plugins.cold_diffusion.end_state import EndState, EndStateConfig, PriorAlone
from trilemma.plugins.cold_diffusion.heat import HeatBlur, dct_matrix
from trilemma.plugins.cold_diffusion.images import Blur, ColdBlur, ColdDownsample, ColdMask, Downsample, Mask
from trilemma.plugins.cold_diffusion.restoration import Degradation, Naive, Tacos
from trilemma.plugins.cold_diffusion.vectors import ColdFade, ColdMorph, Fade, Morph


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def context(shape: tuple[int, ...] = (2,), n_train: int = 4_000, **fields: object) -> trilemma.Context:
    kind = "vector" if len(shape) == 1 else "image"
    support = None if kind == "vector" else (0.0, 1.0)
    info = trilemma.DataInfo(name="toy", kind=kind, shape=shape, n_train=n_train, support=support)  # type: ignore[arg-type]
    return trilemma.Context(info=info, device=torch.device("cpu"), generator=generator(3), **fields)  # type: ignore[arg-type]


# The blur


@pytest.mark.parametrize("n", [1, 5, 8])
def test_dct_matrix_is_orthonormal(n: int) -> None:
    torch.testing.assert_close(dct_matrix(n) @ dct_matrix(n).T, torch.eye(n, dtype=torch.float64))


def test_blur_is_the_cosine_solution_of_the_heat_equation() -> None:
    x, sigma = normal((3, 2, 6, 8), 1), torch.tensor([0.0, 0.7, 3.0], dtype=torch.float64)
    found = HeatBlur(6, 8)(x, sigma)
    squared = (math.pi * np.arange(6)[:, None] / 6) ** 2 + (math.pi * np.arange(8) / 8) ** 2
    coefficients = dctn(x.numpy(), axes=(2, 3), norm="ortho")
    damping = np.exp(-squared * (sigma.numpy()[:, None, None, None]) ** 2 / 2)
    np.testing.assert_allclose(found.numpy(), idctn(damping * coefficients, axes=(2, 3), norm="ortho"), atol=1e-12)


def test_blur_is_a_semigroup_that_keeps_the_mean() -> None:
    x, blur = normal((4, 1, 8, 8), 1), HeatBlur(8, 8)
    once = blur(x, torch.tensor(5.0**0.5))
    torch.testing.assert_close(blur(blur(x, torch.tensor(1.0)), torch.tensor(2.0)), once, atol=1e-6, rtol=0)
    torch.testing.assert_close(once.mean((1, 2, 3)), x.mean((1, 2, 3)))
    torch.testing.assert_close(blur(x, torch.tensor(100.0)), x.mean((2, 3), keepdim=True).expand_as(x))


# Degradations


DEGRADATIONS: list[tuple[Degradation, tuple[int, ...]]] = [
    (Morph((3,), 500), (3,)),
    (Fade((3,), 8.0), (3,)),
    (Blur(8, 8, 0.3, 4.0), (1, 8, 8)),
    (Mask(8, 8), (1, 8, 8)),
    (Downsample(8, 8), (2, 8, 8)),
]


@pytest.mark.parametrize(("degrade", "shape"), DEGRADATIONS, ids=lambda value: type(value).__name__)
def test_severity_zero_is_the_point_itself_and_each_point_has_its_own(
    degrade: Degradation, shape: tuple[int, ...]
) -> None:
    x = normal((6, *shape), 1).float()
    degrade.fit(x, generator())
    z = degrade.partner(x, generator(1))
    torch.testing.assert_close(degrade(x, torch.zeros(()), z), x)
    t = torch.linspace(0, 1, 6)
    one_by_one = [degrade(x[i : i + 1], t[i], None if z is None else z[i : i + 1]) for i in range(6)]
    torch.testing.assert_close(degrade(x, t, z), torch.cat(one_by_one))


def test_morph_keeps_the_variance_and_knows_its_partner() -> None:
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


def test_fade_damps_principal_components() -> None:
    x = normal((5_000, 2), 1) @ torch.tensor([[2.0, 0.5], [0.0, 0.3]], dtype=torch.float64)
    degrade = Fade((2,), 3.0)
    degrade.fit(x.float(), generator())
    faded = degrade(x, torch.tensor(0.5))
    _, directions = torch.linalg.eigh(x.T.cov())
    before, after = (((points - x.mean(0)) @ directions).flip(1).std(0) for points in (x, faded))
    damping = torch.tensor([math.exp(-0.75), math.exp(-1.5)], dtype=torch.float64)
    torch.testing.assert_close(after / before, damping, atol=1e-4, rtol=0)


def test_mask_grows_until_the_border_is_left() -> None:
    x, degrade = torch.ones((1, 1, 8, 8)), Mask(8, 8)
    left = [float(degrade(x, t).sum()) for t in torch.linspace(0, 1, 9)]
    assert left == sorted(left, reverse=True)
    end = degrade(x, torch.ones(()))[0, 0]
    assert float(end.sum()) == 28
    assert float(end[1:-1, 1:-1].abs().sum()) == 0


def test_downsampling_goes_through_means_of_squares() -> None:
    x, degrade = normal((2, 1, 8, 8), 1), Downsample(8, 8)
    assert degrade.times(40, 2.0).tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0])
    two = degrade(x, torch.tensor(1 / 3))
    torch.testing.assert_close(two[:, :, :2, :2], x[:, :, :2, :2].mean((2, 3), keepdim=True).expand(2, 1, 2, 2))
    torch.testing.assert_close(degrade(x, torch.ones(())), x.mean((2, 3), keepdim=True).expand_as(x))
    with pytest.raises(trilemma.UnsupportedError):
        Downsample(5, 8)


# Sampling


@pytest.mark.parametrize("sampler", [Naive(steps=7), Tacos(steps=7), Tacos(steps=30, power=2.0)])
@pytest.mark.parametrize(("degrade", "shape"), DEGRADATIONS, ids=lambda value: type(value).__name__)
def test_a_perfect_restorer_gives_the_point_back(
    sampler: Naive | Tacos, degrade: Degradation, shape: tuple[int, ...]
) -> None:
    x = normal((5, *shape), 1).float()
    degrade.fit(x, generator())
    end = degrade(x, torch.ones(()), degrade.partner(x, generator(1)))
    torch.testing.assert_close(sampler.draw(lambda y, t: x, degrade, end), x, atol=1e-5, rtol=0)


class Shift(Degradation):
    """D(x, t) = x + t e."""

    def forward(self, x: Tensor, t: Tensor, z: Tensor | None = None) -> Tensor:
        return x + 2.0 * t.to(x).reshape(-1, 1)


def test_algorithm_two_is_exact_for_a_linear_degradation_whatever_the_restorer() -> None:
    x = normal((5, 2), 1)

    def wrong(y: Tensor, t: Tensor) -> Tensor:
        return 0.3 * y + t

    torch.testing.assert_close(Tacos(steps=9).draw(wrong, Shift(), x + 2), x)
    assert float((Naive(steps=9).draw(wrong, Shift(), x + 2) - x).abs().mean()) > 0.3


# The fully degraded state


@pytest.mark.parametrize("d", [3, 70])
def test_end_state_of_one_component_is_the_gaussian_of_the_degraded_points(d: int) -> None:
    scale = torch.linspace(2, 0.1, d, dtype=torch.float64)
    x = 1 + normal((3_000, d), 1) * scale
    state = EndState((d,), EndStateConfig(components=1))
    state.fit(x, x, generator())
    basis, covariance = state.basis, x.T.cov(correction=0)
    outside = torch.eye(d, dtype=torch.float64) - basis.T @ basis
    inside = basis.T @ basis
    covariance = inside @ (covariance + 1e-6 * torch.eye(d)) @ inside + state.rest * outside
    distribution = torch.distributions.MultivariateNormal(x.mean(0), covariance)
    torch.testing.assert_close(state.log_prob(x[:20]), distribution.log_prob(x[:20]), atol=1e-6, rtol=1e-6)
    drawn = state.sample(20_000, generator(1)).double()
    torch.testing.assert_close(drawn.mean(0), x.mean(0), atol=0.06, rtol=0)
    torch.testing.assert_close(drawn.var(0), covariance.diagonal(), atol=1e-3, rtol=0.05)


def test_linear_way_back_is_ridge_regression_and_undoes_an_invertible_degradation() -> None:
    x = normal((4_000, 3), 1)
    degrade = Fade((3,), 3.0)
    degrade.fit(x.float(), generator())
    state = EndState((3,), EndStateConfig(components=1, regularization=1e-9))
    ends = degrade(x, torch.ones(()))
    state.fit(ends, x, generator())
    torch.testing.assert_close(state.restore(ends), x, atol=1e-4, rtol=0)
    # What lies below the regularization is not brought back.
    state = EndState((3,), EndStateConfig(components=1, regularization=1.0))
    state.fit(ends, x, generator())
    centered = ends - ends.mean(0)
    ridge = torch.linalg.solve(centered.T @ centered / 4_000 + torch.eye(3), centered.T @ (x - x.mean(0)) / 4_000)
    torch.testing.assert_close(state.restore(ends), x.mean(0) + centered @ ridge)


def trained(kind: type[ColdDiffusion], x: Tensor, steps: int, **options: object) -> ColdDiffusion:
    model = kind(kind.Config(**options))
    recipe = kind.recipe.model_copy(update={"batch_size": 256, "keep": "last"})
    clock = trilemma.Clock(trilemma.Budget(steps=steps))
    far = trilemma.Split(x[:100] + 50)
    model.fit(trilemma.Split(x), context(tuple(x.shape[1:]), len(x), clock=clock, recipe=recipe, valid=far))
    return model


def corners(n: int, seed: int) -> Tensor:
    """Four Gaussians of spread .2 at (+-1, +-1), standardized but for the spread."""
    side = 2.0 * torch.randint(0, 2, (n, 2), generator=generator(seed)) - 1
    return side + 0.2 * torch.randn((n, 2), generator=generator(seed + 50))


def test_morph_reaches_the_distribution_from_a_start_that_saw_training_points_alone() -> None:
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
    assert near(model.sample(2_000, context(sampler=Tacos(fixed_partner=True)))) < 0.6


@pytest.mark.parametrize("kind", [ColdBlur, ColdMask, ColdDownsample])
def test_restored_images_stay_in_the_range_of_the_data_and_cost_one_evaluation_a_step(
    kind: type[ColdDiffusion],
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
    estimate = model.restore(100 * ends, torch.tensor(0.5))
    assert float(estimate.detach().max()) == 1
    assert float(estimate.detach().min()) >= 0


# A degradation of one's own


class ColdShrink(ColdVectors):
    """Points shrink towards the origin, as a third party would write it."""

    name = "cold-shrink"

    class Shrink(Degradation):
        """D(x, t) = (1 - .99 t) x."""

        def forward(self, x: Tensor, t: Tensor, z: Tensor | None = None) -> Tensor:
            return (1 - 0.99 * t.to(x).reshape(-1, 1)) * x

    def make_degradation(self, info: trilemma.DataInfo) -> Degradation:
        return self.Shrink()


@pytest.mark.parametrize("check", trilemma.conformance_checks(ColdShrink), ids=str)
def test_degradation_of_ones_own(check: trilemma.Check) -> None:
    check()


def test_prior_alone_exposes_a_generator_that_hides_in_the_start() -> None:
    model = trained(ColdFade, corners(4_000, 1), 20, hidden=(16,), rate=4.0)
    x = model.sample(4_000, context(sampler=PriorAlone(restore="linear")))
    near = ((x.abs() - 1).norm(dim=1) < 0.6).float().mean()
    assert float(near) > 0.9  # no network was asked
