"""Every distribution: entropy, density and sampler agree; none depends on the global generator."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import trilemma
from trilemma.harness.plugins import Registry

DATASETS = Registry(builtin_only=True).classes("datasets")
DISTRIBUTIONS = {name: cls for name, cls in DATASETS.items() if issubclass(cls, trilemma.Distribution)}
PLANAR = [name for name, cls in DISTRIBUTIONS.items() if cls().sample(1, torch.Generator()).shape[1] == 2]
SPATIAL = [name for name in DISTRIBUTIONS if name not in PLANAR]
PUBLISHED = {
    "8gaussians-ffjord": 2.831880,
    "8gaussians-wgan-gp": -3.60,
    "8gaussians-cfm": 3.76,
    "25gaussians": -2.013851,
    "ring8": 1.698,
    "checkerboard": 3.465736,
    "rings": 2.623183,
    "circles": 3.268136,
    "moons": 2.393879,
    "swissroll": 2.669646,
    "2spirals": 2.645450,
    "pinwheel": 2.317788,
    "crescent": 1.837877,
    "sine": 1.837877,
    "abs": 1.337877,
    "sign": 1.337877,
    "cubed": 2.837877,
    "four-circles": 2.870819,
    "funnel": 15.287998,
    "many-well": 27.497217,
}


PLANAR_DRAWS, SPATIAL_DRAWS = 250_000, 50_000


@cache
def distribution_of(name: str) -> trilemma.Distribution:
    """One instance for all tests: its entropy is computed once."""
    return DISTRIBUTIONS[name]()


class Drawn(NamedTuple):
    """A distribution, draws of it, and the CPU seconds that they took."""

    distribution: trilemma.Distribution
    x: Tensor
    seconds: float


def draw(name: str, n: int) -> Drawn:
    distribution = distribution_of(name)
    distribution.sample(10, torch.Generator().manual_seed(0))
    start = time.process_time()
    x = distribution.sample(n, torch.Generator().manual_seed(1))
    return Drawn(distribution, x, time.process_time() - start)


@pytest.fixture(scope="module", params=PLANAR)
def planar(request: pytest.FixtureRequest) -> Iterator[Drawn]:
    """Draws of a distribution on the plane."""
    return draw(request.param, PLANAR_DRAWS)


@pytest.fixture(scope="module", params=SPATIAL)
def spatial(request: pytest.FixtureRequest) -> Iterator[Drawn]:
    """Draws of a distribution in higher dimension."""
    return draw(request.param, SPATIAL_DRAWS)


def check_entropy(distribution: trilemma.Distribution, x: Tensor) -> None:
    log_p = distribution.log_prob(x)
    assert log_p.dtype == torch.float64
    assert torch.isfinite(log_p).all()
    standard_error = float(log_p.std()) / math.sqrt(len(log_p))
    assert distribution.entropy is not None
    assert distribution.entropy_error is not None
    assert abs(-float(log_p.mean()) - distribution.entropy) <= 4 * standard_error + distribution.entropy_error + 1e-12


def test_planar_entropy_is_mean_of_minus_log_prob(planar: Drawn) -> None:
    check_entropy(planar.distribution, planar.x)


def test_spatial_entropy_is_mean_of_minus_log_prob(spatial: Drawn) -> None:
    check_entropy(spatial.distribution, spatial.x)


def test_sampling_is_fast(planar: Drawn) -> None:
    assert planar.x.shape == (PLANAR_DRAWS, 2)
    assert planar.x.dtype == torch.float32
    assert planar.seconds < 2e-6 * PLANAR_DRAWS


def cell_probabilities(distribution: trilemma.Distribution, reach: float, cells: int, order: int = 16) -> Tensor:
    """Probability of each cell of a `cells` x `cells` grid over (-reach, reach)^2, by Gauss-Legendre in each cell."""
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(order))
    width = 2 * reach / cells
    axis = (-reach + width * (torch.arange(cells).unsqueeze(1) + (nodes + 1) / 2)).flatten()
    mass = (weights * width / 2).repeat(cells)
    p = distribution.log_prob(torch.cartesian_prod(axis, axis)).exp() * torch.outer(mass, mass).flatten()
    return p.reshape(cells, order, cells, order).sum((1, 3))


def test_density_integrates_to_one_and_fits_the_draws(planar: Drawn) -> None:
    """Chi-square of the draws over cells whose probabilities come from integrating the density.

    The grid is even around 0, where `sign` jumps; that of the checkerboard has its squares' edges.
    """
    distribution, x, _ = planar
    cells, reach = (40, 5.0) if distribution.name == "checkerboard" else (32, 1.05 * float(x.abs().max()))
    probability = cell_probabilities(distribution, reach, cells)
    assert float(probability.sum()) == pytest.approx(1, abs=1e-5)
    index = ((x.double() + reach) / (2 * reach) * cells).long()
    counts = torch.bincount(index[:, 0] * cells + index[:, 1], minlength=cells**2).double()
    expected = len(x) * probability.flatten()
    full = expected >= 10
    observed = torch.cat([counts[full], counts[~full].sum().reshape(1)])
    wanted = torch.cat([expected[full], expected[~full].sum().reshape(1)])
    if wanted[-1] < 10:
        assert observed[-1] < 30
        observed, wanted = observed[:-1], wanted[:-1]
    statistic = float(((observed - wanted).square() / wanted).sum())
    assert stats.chi2.sf(statistic, len(wanted) - 1) > 1e-3


def test_draws_in_higher_dimension_obey_the_score_of_the_density(spatial: Drawn) -> None:
    """E[d log p / dx_i] = 0 and E[x_i d log p / dx_i] = -1 for every coordinate (integration by parts)."""
    x = spatial.x.double().requires_grad_(True)
    (score,) = torch.autograd.grad(spatial.distribution.log_prob(x).sum(), x)
    for values, wanted in ((score, 0.0), (score * x, -1.0)):
        standard_error = values.std(0) / math.sqrt(len(x))
        assert (((values.mean(0) - wanted) / standard_error).abs() < 4.5).all()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_only_the_generator_handed_in_matters(name: str) -> None:
    distribution = DISTRIBUTIONS[name]()
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    numpy_before = np.random.get_state()[1].tolist()
    first = distribution.sample(100, torch.Generator().manual_seed(5))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == numpy_before
    torch.rand(3)
    assert torch.equal(distribution.sample(100, torch.Generator().manual_seed(5)), first)
    assert not torch.equal(distribution.sample(100, torch.Generator().manual_seed(6)), first)


@pytest.mark.parametrize("name", PUBLISHED)
def test_entropy_is_the_published_one(name: str) -> None:
    wanted = PUBLISHED[name]
    digits = len(str(wanted).split(".")[1])
    assert distribution_of(name).entropy == pytest.approx(wanted, abs=0.75 * 10**-digits + 5e-7)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_density_far_away_is_never_nan_and_never_high(name: str) -> None:
    distribution = DISTRIBUTIONS[name]()
    d = distribution.sample(1, torch.Generator()).shape[1]
    far = torch.tensor([[20.0], [-1e3], [1e3]]) * torch.ones(d)
    log_p = distribution.log_prob(far)
    assert not log_p.isnan().any()
    assert (log_p < -10).all()
    assert name in ("checkerboard", "funnel") or torch.isfinite(log_p).all()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_card_names_distribution_and_parameters(name: str) -> None:
    config = DISTRIBUTIONS[name].Config(n_train=50, n_valid=20, n_test=30)
    card = DISTRIBUTIONS[name](config).card()
    assert (card.n_train, card.n_valid, card.n_test) == (50, 20, 30)
    assert card.parameters == config.model_dump(mode="json")
    assert card.title
    assert card.notes
    assert card.license
    assert card.entropy is not None
    assert card.sha256 == DISTRIBUTIONS[name](config).checksum
    assert card.sha256 != DISTRIBUTIONS[name](config.model_copy(update={"data_seed": 1})).checksum


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_every_field_is_described(name: str) -> None:
    for field, info in DISTRIBUTIONS[name].Config.model_fields.items():
        assert info.description, field


def test_splits_share_no_point() -> None:
    splits = DISTRIBUTIONS["ring8"]().splits
    rows = torch.cat([splits.train, splits.valid, splits.test])
    assert len(rows.unique(dim=0)) == len(rows)
