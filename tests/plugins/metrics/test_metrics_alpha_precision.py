"""Alpha-precision, beta-recall, authenticity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from trilemma.plugins.metrics.alpha_precision import AlphaPrecision, alpha_precision, authenticity, beta_recall


def test_alpha_precision_of_the_distribution_and_of_its_failures() -> None:
    rng = np.random.default_rng(3)
    real, same = rng.standard_normal((2, 5000, 2))
    assert alpha_precision(real=real, generated=real) == pytest.approx(1, abs=2e-3)
    assert alpha_precision(real=real, generated=same) > 0.95
    assert alpha_precision(real=real, generated=real + 100) == pytest.approx(0, abs=1e-3)
    assert alpha_precision(real=real, generated=np.tile(real.mean(0), (5000, 1))) == pytest.approx(0, abs=1e-3)
    # Half the scale: |x|^2 / 2 is exponential, so P(alpha) = 1 - (1 - alpha)^4, and 1 - 2 int = 1 - 2 (3/10).
    assert alpha_precision(real=real, generated=real / 2) == pytest.approx(0.4, abs=0.02)


def test_beta_recall_by_definition() -> None:
    rng = np.random.default_rng(4)
    real, generated, k = rng.standard_normal((300, 2)), 0.8 * rng.standard_normal((300, 2)), 3
    cross = cdist(real, generated)
    radii = np.sort(cdist(real, real), axis=1)[:, k]
    nearest = cross.argmin(1)
    from_center = np.linalg.norm(generated - generated.mean(0), axis=1)[nearest]
    levels = (np.arange(200) + 0.5) / 200
    shares = []
    for level in levels:
        radius = np.sort(from_center)[max(0, math.floor(level * 300) - 1)] if level * 300 >= 1 else -1
        shares.append(((cross.min(1) <= radii) & (from_center <= radius)).mean())
    expected = 1 - 2 * np.abs(np.array(shares) - levels).mean()
    assert beta_recall(real=real, generated=generated, k=k) == pytest.approx(expected, abs=0.01)
    assert beta_recall(real=real, generated=real, k=k) == pytest.approx(1, abs=0.01)


def test_authenticity_finds_copies() -> None:
    rng = np.random.default_rng(5)
    train, fresh = rng.standard_normal((2, 700, 2))
    assert authenticity(generated=train + 1e-6, train=train) == 0
    assert authenticity(generated=fresh + 100, train=train) == 1
    distances, index = NearestNeighbors(n_neighbors=1).fit(train).kneighbors(fresh)
    apart = NearestNeighbors(n_neighbors=2).fit(train).kneighbors(train)[0][:, 1]
    expected = (distances[:, 0] > apart[index[:, 0]]).mean()
    assert authenticity(generated=fresh, train=train) == pytest.approx(expected)
    assert 0.2 < expected < 0.6


def test_a_memorizer_has_precision_and_recall_without_authenticity(known: Any) -> None:
    found = {
        r.metric: r
        for r in AlphaPrecision(AlphaPrecision.Config(n=400, draws=2)).compute(known.replay(known.Normals()))
    }
    assert found["alpha_precision"].value == pytest.approx(found["alpha_precision"].floor, abs=0.06)
    assert found["authenticity"].value < 0.01 < found["authenticity"].floor
    assert found["authenticity"].better == "none"
