"""The Sinkhorn divergence: limits and closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from trilemma.plugins.metrics.sinkhorn import entropic_cost, sinkhorn_divergence
from trilemma.plugins.metrics.transport import squared_w2

Array = NDArray[np.float64]
Clouds = Callable[..., tuple[Array, Array]]


def test_the_sinkhorn_divergence_runs_from_w2_to_the_distance_of_the_means(clouds: Clouds) -> None:
    real, generated = clouds(120, 2)
    assert sinkhorn_divergence(real=real, generated=generated, epsilon=1e-2) == pytest.approx(
        squared_w2(real=real, generated=generated), rel=0.02
    )
    means = ((real.mean(0) - generated.mean(0)) ** 2).sum()
    assert sinkhorn_divergence(real=real, generated=generated, epsilon=1e5) == pytest.approx(means, rel=1e-3)


def test_the_entropic_cost_of_gaussians() -> None:
    """OT_eps of N(0, s^2) and N(0, t^2) under squared cost (Janati et al. 2020, theorem 1, in one dimension)."""
    rng = np.random.default_rng(1)
    s, t, epsilon = 1.0, 2.0, 0.5
    x, y = s * rng.standard_normal((2500, 1)), t * rng.standard_normal((2500, 1))
    root = math.sqrt(4 * s**2 * t**2 + epsilon**2 / 4)  # 2 s t without regularization
    expected = s**2 + t**2 - root + epsilon / 2 * (1 - math.log(epsilon) + math.log(root + epsilon / 2))
    assert entropic_cost(x, y, epsilon) == pytest.approx(expected, abs=0.08)


def test_the_sinkhorn_divergence_is_zero_for_equal_sets_alone(clouds: Clouds) -> None:
    real, generated = clouds(100, 3)
    assert sinkhorn_divergence(real=real, generated=real[::-1], epsilon=0.3) == pytest.approx(0, abs=1e-3)
    assert sinkhorn_divergence(real=real, generated=generated, epsilon=0.3) > 0.1


def test_clusters_that_differ_by_one_point_converge() -> None:
    rng = np.random.default_rng(2)
    real = np.concatenate([rng.standard_normal((50, 2)), 100 + rng.standard_normal((50, 2))])
    generated = np.concatenate([rng.standard_normal((51, 2)), 100 + rng.standard_normal((49, 2))])
    found = sinkhorn_divergence(real=real, generated=generated, epsilon=0.5)
    assert found == pytest.approx(squared_w2(real=real, generated=generated), rel=0.01)
