"""What is told of the modes of a known mixture."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trilemma.plugins.metrics.modes import mode_statistics

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
