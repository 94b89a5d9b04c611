"""The interval of a mean."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trilemma.harness.analysis.statistics import mean_interval


def test_the_interval_of_a_mean_is_students_t() -> None:
    values = np.random.default_rng(0).normal(size=7)
    mean, low, high = mean_interval(values, level=0.9)
    assert (low, high) == pytest.approx(stats.t.interval(0.9, 6, loc=values.mean(), scale=stats.sem(values)))
    assert mean == pytest.approx(values.mean())
    assert mean_interval([3.0]) == (3.0, None, None)
