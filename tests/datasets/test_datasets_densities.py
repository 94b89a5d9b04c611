"""Single distributions against something independent: torch.distributions, scipy quadrature, autograd, closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import integrate, stats
from torch import Tensor

import trilemma
from trilemma.datasets.circles import FourCircles, Rings
from trilemma.datasets.curves import Moons, SwissRoll, moon_curve, roll_curve
from trilemma.datasets.gaussian_mixture import GaussianMixture
from trilemma.datasets.highdim import Funnel, GaussianMixture16, ManyWell, double_well
from trilemma.datasets.mixtures import Grid, Mixture, Ring, Ring8, Ring8Unequal, TwoModes
from trilemma.datasets.piecewise import Checkerboard
from trilemma.datasets.pinwheel import Pinwheel
from trilemma.datasets.spirals import TwoSpirals, spiral_arm
from trilemma.datasets.teacher import Teacher

NDArray = np.ndarray


def random_mixture(seed: int, k: int, d: int) -> GaussianMixture:
    state = np.random.RandomState(seed)
    factors = torch.from_numpy(np.tril(0.3 * state.standard_normal((k, d, d)))) + torch.eye(d).double()
    weights = torch.from_numpy(state.uniform(0.1, 1, k))
    return GaussianMixture(weights / weights.sum(), torch.from_numpy(3 * state.standard_normal((k, d))), factors)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_mixture_density_is_that_of_torch_distributions(d: int) -> None:
    distribution = random_mixture(0, 4, d)
    reference = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(distribution.weights),
        torch.distributions.MultivariateNormal(distribution.centers, scale_tril=distribution.factors),
    )
    x = 5 * torch.randn(500, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(distribution.log_prob(x), reference.log_prob(x))


def test_mixture_with_shared_covariance_is_that_of_torch_distributions() -> None:
    distribution = GaussianMixture16().mixture
    reference = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(distribution.weights),
        torch.distributions.MultivariateNormal(distribution.centers, scale_tril=distribution.factors),
    )
    x = 5 * torch.randn(500, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(distribution.log_prob(x), reference.log_prob(x))


def test_mixture_draws_have_its_mean_and_covariance() -> None:
    distribution = random_mixture(1, 3, 3)
    x = distribution.sample(200_000, torch.Generator().manual_seed(0))
    mean = distribution.weights @ distribution.centers
    deviations = distribution.centers - mean
    within = (distribution.weights.reshape(-1, 1, 1) * distribution.covariances).sum(0)
    covariance = within + torch.einsum("k,ki,kj->ij", distribution.weights, deviations, deviations)
    torch.testing.assert_close(x.mean(0), mean, atol=0.05, rtol=0)
    torch.testing.assert_close(x.T.cov(), covariance, atol=0.15, rtol=0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_two_ways_to_the_entropy_of_a_mixture_agree(seed: int) -> None:
    distribution = random_mixture(seed, 3, 2)
    exact, sampled = distribution.planar_entropy(), distribution.monte_carlo_entropy()
    assert exact.error < 1e-5
    assert abs(exact.value - sampled.value) <= exact.error + sampled.error


@pytest.mark.parametrize("narrow", [0.5, 0.26, 0.1, 0.01])
def test_entropy_error_holds_where_a_narrow_component_lies_in_a_wide_one(narrow: float) -> None:
    distribution = GaussianMixture.isotropic(
        torch.tensor([[0.1, 0.03], [0.0, 0.0]]), torch.tensor([narrow, 1.0]), torch.tensor([0.3, 0.7])
    )
    x = distribution.sample(10**6, torch.Generator().manual_seed(3))
    log_p = distribution.log_prob(x)
    estimate = distribution.entropy()
    assert estimate.error < 0.01
    assert abs(float(-log_p.mean()) - estimate.value) <= 4 * float(log_p.std()) / 1000 + estimate.error


@settings(max_examples=25, deadline=None)
@given(modes=st.integers(1, 12), sigma=st.floats(0.02, 2), radius=st.floats(0, 3), ratio=st.floats(0.3, 3))
def test_entropy_of_a_ring_lies_between_its_bounds(modes: int, sigma: float, radius: float, ratio: float) -> None:
    """H(X|Z) <= H(X) <= H(X|Z) + H(Z), the lower bound met by coinciding and the upper by distant modes."""
    distribution = Ring(Ring.Config(modes=modes, sigma=sigma, radius=radius, weight_ratio=ratio))
    within = math.log(2 * math.pi * math.e * sigma**2)
    between = stats.entropy(distribution.modes().weights.numpy())
    assert within - 1e-9 <= distribution.entropy <= within + between + 1e-9
    assert distribution.entropy_error < 1e-5


def test_ring_takes_parameters() -> None:
    distribution = Ring(Ring.Config(modes=12, sigma=0.1, radius=3))
    modes = distribution.modes()
    assert modes.centers.shape == (12, 2)
    assert float(modes.centers.norm(dim=1).std()) < 1e-12
    torch.testing.assert_close(modes.covariances, 0.01 * torch.eye(2).double().expand(12, 2, 2))
    assert distribution.entropy == pytest.approx(math.log(12 * 2 * math.pi * math.e * 0.01), abs=1e-6)


def test_modes_are_where_the_draws_are() -> None:
    for distribution in (Ring8(), Ring8Unequal(), Grid(), TwoModes()):
        modes = distribution.modes()
        x = distribution.sample(50_000, torch.Generator().manual_seed(0)).double()
        nearest = torch.cdist(x, modes.centers).argmin(1)
        shares = torch.bincount(nearest, minlength=len(modes.weights)) / len(x)
        assert float(modes.weights.sum()) == pytest.approx(1)
        torch.testing.assert_close(shares.double(), modes.weights, atol=0.01, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": (1.0,)}, "give one of each"),
        ({"centers": ((0.0,), (1.0, 1.0), (2.0, 0.0))}, "same number of coordinates"),
        ({"weights": (1.0, 0.0, 1.0)}, "positive"),
    ],
)
def test_mixture_refuses_parameters_that_do_not_match(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Mixture.Config(**options)


def along_curve(curve: Callable[[Tensor], Tensor], kernel: Callable[[NDArray], NDArray], point: NDArray) -> float:
    """Average of kernel(point - curve(t)) over t in (0, 1) by a fine trapezoidal rule."""
    t = np.sin(np.linspace(0, np.pi / 2, 40_001)) ** 2  # finer at the ends
    return float(integrate.trapezoid(kernel(point - curve(torch.from_numpy(t)).numpy()), t))


def round_kernel(rest: NDArray) -> NDArray:
    return stats.norm.pdf(rest, scale=0.2).prod(1)


def probes(distribution: trilemma.Distribution) -> Tensor:
    """Draws of a distribution, and points off its support."""
    off = torch.tensor([[0.0, 0.0], [3.5, 2.5], [-4.0, 1.0]])
    return torch.cat([distribution.sample(20, torch.Generator().manual_seed(0)), off]).double()


def test_moons_density_is_the_integral_along_the_moons() -> None:
    distribution = Moons()
    for point, log_p in zip(probes(distribution), distribution.log_prob(probes(distribution)), strict=True):
        total = sum(
            along_curve(lambda t, lower=lower: moon_curve(t, torch.full(t.shape, lower)), round_kernel, point.numpy())
            for lower in (False, True)
        )
        assert float(log_p) == pytest.approx(math.log(total / 2), abs=1e-5)


def test_swiss_roll_density_is_the_integral_along_the_roll() -> None:
    distribution = SwissRoll()
    for point, log_p in zip(probes(distribution), distribution.log_prob(probes(distribution)), strict=True):
        assert float(log_p) == pytest.approx(math.log(along_curve(roll_curve, round_kernel, point.numpy())), abs=1e-5)


def test_spirals_density_is_the_integral_along_the_arms() -> None:
    distribution = TwoSpirals()
    width, sigma = distribution.config.width, distribution.config.sigma

    def square_kernel(rest: NDArray) -> NDArray:
        return (stats.norm.cdf(rest / sigma) - stats.norm.cdf((rest - width) / sigma)).prod(1) / width**2

    for point, log_p in zip(probes(distribution)[:-2], distribution.log_prob(probes(distribution)), strict=False):
        total = sum(along_curve(spiral_arm, square_kernel, sign * point.numpy()) for sign in (-1, 1))
        assert float(log_p) == pytest.approx(math.log(total / 2), abs=1e-5)


def test_spirals_density_does_not_depend_on_the_other_points() -> None:
    distribution = TwoSpirals()
    x = distribution.sample(5_000, torch.Generator().manual_seed(0))
    together = distribution.log_prob(x)
    torch.testing.assert_close(distribution.log_prob(x[:7]), together[:7], atol=1e-10, rtol=0)


@pytest.mark.parametrize("distribution", [Rings(), FourCircles()], ids=lambda distribution: distribution.name)
def test_circles_density_is_the_mean_over_points_on_the_circles(distribution: Rings | FourCircles) -> None:
    centers, radii, sigma = distribution.circles
    angle = torch.arange(4_000, dtype=torch.float64) * (2 * math.pi / 4_000)
    direction = torch.stack([angle.cos(), angle.sin()], 1)
    points = torch.cat([torch.tensor(c) + r * direction for c, r in zip(centers, radii, strict=True)])
    reference = GaussianMixture.isotropic(points, sigma)
    x = distribution.sample(20, torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(distribution.log_prob(x), reference.log_prob(x), atol=1e-9, rtol=0)


def test_pinwheel_without_twist_is_a_mixture_of_five_blades() -> None:
    distribution = Pinwheel(Pinwheel.Config(rate=0))
    angle = torch.arange(5, dtype=torch.float64) * (2 * math.pi / 5)
    turn = torch.stack([torch.stack([angle.cos(), angle.sin()], 1), torch.stack([-angle.sin(), angle.cos()], 1)], 1)
    factors = torch.linalg.cholesky(turn.mT @ torch.diag(torch.tensor([0.36, 0.04], dtype=torch.float64)) @ turn)
    reference = GaussianMixture(torch.full((5,), 0.2, dtype=torch.float64), 2 * turn[:, 0], factors)
    x = distribution.sample(500, torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(distribution.log_prob(x), reference.log_prob(x), atol=1e-9, rtol=0)


def test_checkerboard_edges_count_as_inside_and_white_squares_do_not() -> None:
    x = torch.tensor([[1.0, 1.0], [2.0, 2.0], [4.0, 3.0], [1.0, 3.0], [1.0, -1.0], [5.0, 1.0]])
    inside = torch.isfinite(Checkerboard().log_prob(x)).tolist()
    assert inside == [True, True, True, False, False, False]


def test_many_well_normalizer_and_draws() -> None:
    z, _ = integrate.quad(lambda x: math.exp(-(x**4) + 6 * x**2 + x / 2), -6, 6, epsabs=0, epsrel=1e-12)
    assert z == pytest.approx(11784.50927, rel=1e-8)
    distribution = ManyWell(ManyWell.Config(pairs=1))
    assert distribution.entropy == pytest.approx(1.718576, abs=1e-6)
    grid = torch.linspace(-5, 5, 20_001, dtype=torch.float64)
    cdf = double_well(grid).exp().cumsum(0)
    x = distribution.sample(50_000, torch.Generator().manual_seed(0))[:, 0].numpy()
    assert stats.kstest(x, lambda t: np.interp(t, grid.numpy(), (cdf / cdf[-1]).numpy())).pvalue > 1e-3


def test_funnel_coordinates_are_normal_at_their_scale() -> None:
    x = Funnel().sample(20_000, torch.Generator().manual_seed(0)).double()
    assert stats.kstest((x[:, 0] / 3).numpy(), "norm").pvalue > 1e-3
    assert stats.kstest((x[:, 1:] * torch.exp(-x[:, :1] / 2)).flatten().numpy(), "norm").pvalue > 1e-3


def test_teacher_density_is_that_of_the_change_of_variables() -> None:
    distribution = Teacher(Teacher.Config(side=4))
    couplings, scale, basis = distribution._couplings, distribution._amplitudes, distribution._basis

    def push(z: Tensor) -> Tensor:
        y = z.unsqueeze(0)
        for coupling in couplings:
            kept, moved = y[:, coupling.kept], y[:, coupling.moved]
            moved = moved + torch.sin(kept @ coupling.inner.mT + coupling.phase) @ coupling.outer.mT
            y = torch.cat([kept, moved], 1)[:, torch.cat([coupling.kept, coupling.moved]).argsort()]
        return ((y * scale) @ basis)[0]

    for z in torch.randn(5, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64):
        jacobian = torch.autograd.functional.jacobian(push, z)
        log_p = torch.distributions.Normal(0, 1).log_prob(z).sum() - torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(distribution.log_prob(push(z).unsqueeze(0))[0], log_p)


def test_teacher_is_not_gaussian_and_has_the_spectrum_of_images() -> None:
    distribution = Teacher()
    x = distribution.sample(20_000, torch.Generator().manual_seed(0)).double()
    gaussian = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov())
    assert float(-gaussian.log_prob(x).mean()) - distribution.entropy > 2
    images = x.reshape(-1, 8, 8)
    neighbors = torch.stack([images[:, 3, 3], images[:, 3, 4], images[:, 3, 7]]).corrcoef()[0]
    assert neighbors[1] > 0.3
    assert neighbors[1] > neighbors[2]
