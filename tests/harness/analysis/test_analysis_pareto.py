"""Pareto fronts, against brute force and a closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

import trilemma
from trilemma.harness.analysis.pareto import front_membership, on_front

Array = NDArray[np.float64]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), models=st.integers(1, 12))
def test_the_front_is_what_nothing_dominates(seed: int, models: int) -> None:
    values = np.random.default_rng(seed).integers(4, size=(models, 3)).astype(float)
    signs = np.array([1, -1, 1])
    expected = [
        not any((signs * b <= signs * a).all() and (signs * b < signs * a).any() for b in values) for a in values
    ]
    assert on_front(values, ("lower", "higher", "lower")).tolist() == expected


def test_a_model_without_a_value_is_off_the_front() -> None:
    assert on_front([[1.0, 5.0], [5.0, 1.0], [np.nan, 0.0], [6.0, 2.0]], ("lower", "lower")).tolist() == [
        True, True, False, False,
    ]  # fmt: skip
    with pytest.raises(trilemma.DataError):
        on_front([[1.0, 2.0]], ("lower",))


def test_membership_under_resampling_tells_certain_from_open() -> None:
    rng = np.random.default_rng(9)

    def runs(quality: float, cost: float) -> Array:
        return np.array([quality, cost]) + 0.5 * rng.standard_normal((8, 2))

    certain, beaten, near = runs(1, 9), runs(9, 9.5), runs(1.1, 9)
    share = front_membership([certain, beaten, near, runs(9, 1)], ("lower", "lower"))
    assert share[1] == 0
    assert share[3] == 1
    assert 0 < share[0] < 1 or 0 < share[2] < 1
    assert front_membership([[[1.0, 1.0]], [[2.0, 2.0]]], ("lower", "lower"), resamples=5).tolist() == [1, 0]


def test_membership_of_two_equal_models_is_the_chance_of_winning() -> None:
    """Independent normal runs of two models, one criterion: the better resampled mean is on the front."""
    rng = np.random.default_rng(10)
    a, b = rng.normal(0, 1, (50, 1)), rng.normal(0.2, 1, (50, 1))
    share = front_membership([a, b], ("lower",), resamples=4000)
    variance = a.var() / 50 + b.var() / 50
    assert share[0] == pytest.approx(stats.norm.cdf((b.mean() - a.mean()) / np.sqrt(variance)), abs=0.03)
    assert share.sum() == pytest.approx(1)
