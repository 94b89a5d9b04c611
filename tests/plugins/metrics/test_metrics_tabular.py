"""Marginals and correlations of tables, against scipy and numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import trilemma
from trilemma.plugins.metrics.tabular import Tabular, correlation_distance, marginal_distances


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), decimals=st.integers(0, 3))
def test_marginal_distances_are_those_of_scipy(seed: int, decimals: int) -> None:
    rng = np.random.default_rng(seed)
    real, generated = (np.round(rng.standard_normal((40, 3)), decimals) for _ in range(2))
    expected = [stats.ks_2samp(real[:, j], generated[:, j]).statistic for j in range(3)]
    assert marginal_distances(real=real, generated=generated) == pytest.approx(expected)


def test_correlation_distance_is_that_of_numpys_coefficients() -> None:
    rng = np.random.default_rng(6)
    mix = rng.standard_normal((4, 4))
    real, generated = rng.standard_normal((300, 4)) @ mix, rng.standard_normal((300, 4))
    pairs = np.triu_indices(4, 1)
    expected = np.abs(np.corrcoef(real.T)[pairs] - np.corrcoef(generated.T)[pairs]).mean()
    assert correlation_distance(real=real, generated=generated) == pytest.approx(expected)
    generated[:, 0] = 1.0
    assert math.isfinite(correlation_distance(real=real, generated=generated))
    with pytest.raises(trilemma.DataError, match="need at least two coordinates"):
        correlation_distance(real=real[:, :1], generated=generated[:, :1])


def test_images_are_no_tables(known: Any) -> None:
    with pytest.raises(trilemma.UnsupportedError):
        Tabular(Tabular.Config(n=50, draws=2)).compute(known.replay(known.Images()))
