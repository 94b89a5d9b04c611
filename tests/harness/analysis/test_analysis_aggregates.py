"""Aggregates over tasks (Agarwal et al. 2021), against closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

import trilemma
from trilemma.harness.analysis.aggregates import (
    interquartile_mean,
    probability_of_improvement,
    stratified_interval,
)

Array = NDArray[np.float64]


def test_the_interquartile_mean_ignores_the_outer_quarters() -> None:
    scores = np.arange(16.0).reshape(2, 8)
    assert interquartile_mean(scores) == np.arange(4.0, 12.0).mean()
    scores[1, -1] = 1e9
    assert interquartile_mean(scores) == np.arange(4.0, 12.0).mean()


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 2), (3, 5), (4, 4), (7, 3)])
def test_the_interquartile_mean_is_that_of_scipy(shape: tuple[int, int]) -> None:
    scores = np.random.default_rng(0).normal(size=shape)
    assert interquartile_mean(scores) == pytest.approx(stats.trim_mean(scores, 0.25, axis=None), rel=1e-14)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_interquartile_mean_is_equivariant(seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(3, 5))
    assert interquartile_mean(2 * scores + 1) == pytest.approx(2 * interquartile_mean(scores) + 1)
    assert interquartile_mean(np.random.default_rng(seed).permutation(scores.ravel())) == pytest.approx(
        interquartile_mean(scores)
    )


def test_stratified_intervals_cover_the_mean_and_keep_the_tasks() -> None:
    rng = np.random.default_rng(2)
    offsets = np.array([[0.0], [100.0], [-50.0]])  # between tasks: no part of the variance over seeds
    covered = 0
    for experiment in range(100):
        scores = offsets + rng.normal(size=(3, 20))
        _, low, high = stratified_interval(scores, lambda x: float(x.mean()), resamples=300, seed=experiment)
        assert high - low < 1.5
        covered += low <= offsets.mean() <= high
    assert covered >= 88
    value, low, high = stratified_interval(np.ones((3, 1)))
    assert value == low == high == 1


def test_a_bootstrap_interval_of_the_mean_is_near_students_t() -> None:
    scores = np.random.default_rng(3).normal(size=(1, 400))
    _, low, high = stratified_interval(scores, lambda x: float(x.mean()), resamples=3000)
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 399, scores.mean(), stats.sem(scores[0])), abs=0.01)


def test_probability_of_improvement_is_the_mann_whitney_statistic() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 9)), rng.normal(0.5, 1, size=(2, 7))
    expected = np.mean([stats.mannwhitneyu(y, x).statistic / (9 * 7) for x, y in zip(a, b, strict=True)])
    value, low, high = probability_of_improvement(a, b)
    assert value == pytest.approx(expected)
    assert low <= value <= high
    assert probability_of_improvement(a, b, better="higher")[0] == pytest.approx(1 - value)
    assert probability_of_improvement(np.ones((2, 3)), np.ones((2, 3)))[0] == 0.5
    assert probability_of_improvement(np.zeros((1, 3)), np.ones((1, 3))) == (1, 1, 1)
    with pytest.raises(trilemma.DataError, match="same tasks"):
        probability_of_improvement(a, b[:1])


@pytest.mark.parametrize("scores", [np.ones(3), np.ones((0, 3)), np.array([[1.0, np.nan]]), np.array([[np.inf, 1.0]])])
def test_scores_that_cannot_be_aggregated_are_refused(scores: Array) -> None:
    with pytest.raises(trilemma.DataError):
        stratified_interval(scores)
