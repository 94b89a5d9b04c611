"""What is told of the modes of a known mixture."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

import trilemma
from trilemma.plugins.metrics.modes import ModeCoverage, mode_statistics, nearest_modes, true_components

Array = NDArray[np.float64]


def statistics(known: Any, points: Array) -> dict[str, float]:
    covariances = known.SCALE**2 * np.broadcast_to(np.eye(2), (3, 2, 2))
    return mode_statistics(generated=points, centers=known.CENTERS, weights=known.WEIGHTS, covariances=covariances)


def test_mode_statistics_of_the_distribution_and_of_its_failures(known: Any) -> None:
    rng = np.random.default_rng(11)
    distribution = statistics(known, known.mixture(rng, 50_000))
    assert distribution["modes_covered"] == 3
    assert distribution["within_3_sigma"] == pytest.approx(1 - math.exp(-4.5), abs=0.002)
    assert distribution["mode_mass_kl"] < 1e-3
    assert distribution["mode_spread"] == pytest.approx(0.974, abs=0.005)

    dropped = statistics(known, known.mixture(rng, 5000, np.array([0.5, 0.5, 0.0])))
    assert dropped["modes_covered"] == 2
    assert dropped["mode_mass_kl"] == pytest.approx(0.5 * math.log(0.5 / 0.3), abs=0.02)
    assert statistics(known, known.mixture(rng, 5000, scale=0.25))["mode_spread"] == pytest.approx(0.5, abs=0.02)
    far = statistics(known, np.full((10, 2), 100.0))
    assert far["within_3_sigma"] == 0
    assert "mode_spread" not in far


def test_the_spread_error_grows_with_modes_that_are_too_narrow_and_too_wide(known: Any) -> None:
    rng = np.random.default_rng(12)
    components = {"centers": known.CENTERS, "weights": known.WEIGHTS}
    components["covariances"] = known.SCALE**2 * np.broadcast_to(np.eye(2), (3, 2, 2))

    def radii(scale: float) -> Array:
        points = known.mixture(rng, 20_000, scale=scale * known.SCALE)
        return np.sqrt(nearest_modes(points, **components)[1])

    true = radii(1.0)
    found = {}
    for scale in (0.6, 0.8, 0.95, 1.0, 1.05, 1.25, 1.5):
        points = known.mixture(rng, 20_000, scale=scale * known.SCALE)
        found[scale] = mode_statistics(generated=points, true_radii=true, **components)["radius_ks"]
        # Radii in the plane have the distribution function 1 - exp(-r^2 / 2 s^2); modes here do not overlap.
        r = np.linspace(0, 8, 4000)
        exact = np.abs(np.exp(-(r**2) / 2) - np.exp(-(r**2) / (2 * scale**2))).max()
        assert found[scale] == pytest.approx(exact, abs=0.02)
    assert found[0.6] > found[0.8] > found[0.95] > found[1.0]
    assert found[1.5] > found[1.25] > found[1.05] > found[1.0]


def test_the_spread_error_is_scipys_distance_to_the_chi_distribution(known: Any) -> None:
    """Modes that do not overlap have the radii of a chi distribution, here in three dimensions with correlations."""
    rng = np.random.default_rng(14)
    root = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [-0.3, 0.2, 0.5]])
    centers, weights = np.array([[-40.0, 0.0, 0.0], [40.0, 0.0, 9.0]]), np.array([0.3, 0.7])
    components = {"centers": centers, "weights": weights, "covariances": np.stack([root @ root.T, 4 * root @ root.T])}
    labels = rng.choice(2, 4_000, p=weights)
    z = 0.8 * rng.standard_normal((4_000, 3))  # modes that are too narrow
    points = centers[labels] + (1 + labels)[:, None] * z @ root.T
    true = stats.chi(3).rvs(50_000, random_state=1)
    found = mode_statistics(generated=points, least=0.1, true_radii=true, **components)["radius_ks"]
    radii = np.sqrt((z**2).sum(1))
    assert found == pytest.approx(stats.kstest(radii, stats.chi(3).cdf).statistic, abs=0.008)
    assert found > 0.15


def test_overlapping_modes_have_no_spread_error_at_the_truth(known: Any) -> None:
    """Points between two modes belong to the nearer one, so true radii are shorter than those of one Gaussian."""

    class Near(known.Mixture):  # type: ignore[misc]
        """Two unit Gaussians at a distance of 2, one above the other."""

        def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
            side = 2.0 * torch.randint(2, (n,), generator=generator) - 1
            return torch.stack([torch.zeros(n), side], 1) + torch.randn(n, 2, generator=generator)

        def modes(self) -> trilemma.Modes:
            centers = torch.tensor([[0.0, -1.0], [0.0, 1.0]], dtype=torch.float64)
            return trilemma.Modes(centers, torch.ones(2) / 2, torch.eye(2).expand(2, 2, 2))

    dataset = Near()
    evaluation = known.replay(dataset)
    metric = ModeCoverage()
    points = dataset.sample(20_000, torch.Generator().manual_seed(5)).double().numpy()
    truth = metric.compare(points, points, evaluation)["radius_ks"]
    assert truth < 1.63 * math.sqrt(1 / 20_000 + 1 / 50_000)  # 1 % of the Kolmogorov distribution
    chi = np.sqrt(nearest_modes(points, **true_components(evaluation))[1])
    assert stats.kstest(chi, stats.chi(2).cdf).statistic > 3 * truth


def test_the_error_of_the_masses_is_zero_on_average_for_the_distribution(known: Any) -> None:
    rng = np.random.default_rng(13)
    values = [statistics(known, known.mixture(rng, 100))["mode_mass_kl"] for _ in range(600)]
    _, low, high = trilemma.mean_interval(values, level=0.999)
    assert low < 0 < high
    assert high - low < 0.01, "the bias of the plain estimate, (3 - 1) / (2 x 100), would be seen"
