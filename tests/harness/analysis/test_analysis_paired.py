"""Statistics of comparisons, against closed forms, scipy and brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

import trilemma
from trilemma.harness.analysis.aggregates import (
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    stratified_interval,
)
from trilemma.harness.analysis.paired import compare_paired
from trilemma.harness.analysis.pareto import front_membership, on_front
from trilemma.harness.analysis.ranks import mean_ranks
from trilemma.harness.analysis.statistics import mean_interval

Array = NDArray[np.float64]


def test_the_interval_of_a_mean_is_students_t() -> None:
    values = np.random.default_rng(0).normal(size=7)
    mean, low, high = mean_interval(values, level=0.9)
    assert (low, high) == pytest.approx(stats.t.interval(0.9, 6, loc=values.mean(), scale=stats.sem(values)))
    assert mean == pytest.approx(values.mean())
    assert mean_interval([3.0]) == (3.0, None, None)


# Paired comparisons


def frame(label: str, values: dict[tuple[str, int], float], **more: Any) -> pd.DataFrame:
    base = {"label": label, "metric": "w2", "better": "lower", "outcome": "ok", "n": 500, "sampler": "heun"} | more
    return pd.DataFrame(
        [{**base, "dataset_id": dataset, "seed": seed, "value": value} for (dataset, seed), value in values.items()]
    )


CELLS = [(dataset, seed) for dataset in ("ring8", "moons", "digits") for seed in range(4)]


def test_pairing_removes_what_datasets_and_seeds_share() -> None:
    rng = np.random.default_rng(1)
    shared = {cell: 10 * rng.random() for cell in CELLS}
    noise = 0.1 * rng.standard_normal(len(CELLS))
    a = {cell: shared[cell] for cell in CELLS}
    b = {cell: shared[cell] + 0.5 + e for cell, e in zip(CELLS, noise, strict=True)}
    found = compare_paired(pd.concat([frame("a", a), frame("b", b)]), "w2", "a", "b")
    differences = np.array([a[cell] - b[cell] for cell in CELLS])
    low, high = stats.t.interval(0.95, 11, loc=differences.mean(), scale=stats.sem(differences))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.p_value == pytest.approx(stats.ttest_rel(list(a.values()), list(b.values())).pvalue)
    assert (found.pairs, found.wins, found.losses, found.ties) == (12, 12, 0, 0)
    assert not found.tie
    back = compare_paired(pd.concat([frame("a", a), frame("b", b)]), "w2", "b", "a")
    assert back.difference == pytest.approx(-found.difference)
    assert (back.wins, back.losses) == (0, 12)


def test_only_shared_pairs_count_and_failures_do_not() -> None:
    a = frame("a", {("ring8", 0): 1.0, ("ring8", 1): 2.0, ("moons", 0): 9.0})
    b = frame("b", {("ring8", 0): 1.0, ("ring8", 1): 3.0, ("digits", 0): 9.0})
    lost = frame("b", {("moons", 0): 1.0}, outcome="error")
    found = compare_paired(pd.concat([a, b, lost]), "w2", "a", "b")
    assert (found.pairs, found.wins, found.ties) == (2, 1, 1)
    assert found.tie


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 1000}, "differ in n"),
        ({"likelihood": "ode"}, "differ in likelihood"),
        ({"budget": "60 s"}, "differ in budget"),
        ({"sampler": "euler"}, None),
    ],
)
def test_values_that_cannot_be_compared_are_refused(change: dict[str, Any], message: str | None) -> None:
    cells = {("ring8", 0): 1.0, ("ring8", 1): 2.0}
    both = pd.concat([frame("a", cells, likelihood="exact"), frame("b", cells, **{"likelihood": "exact"} | change)])
    if message is None:
        assert compare_paired(both, "w2", "a", "b").pairs == 2
        return
    with pytest.raises(trilemma.DataError, match=message):
        compare_paired(both, "w2", "a", "b")


def test_what_is_missing_or_ambiguous_is_refused() -> None:
    cells = {("ring8", 0): 1.0}
    both = pd.concat([frame("a", cells), frame("b", cells), frame("b", cells, sampler="euler")])
    with pytest.raises(trilemma.DataError, match="several values"):
        compare_paired(both, "w2", "a", "b")
    assert compare_paired(both, "w2", "a", "b", sampler_b="euler").p_value is None
    with pytest.raises(trilemma.DataError, match="'c' has no finite value"):
        compare_paired(both, "w2", "a", "c")
    with pytest.raises(trilemma.DataError, match="share no"):
        compare_paired(pd.concat([frame("a", cells), frame("b", {("moons", 0): 1.0})]), "w2", "a", "b")
    nowhere = pd.concat([frame(label, cells, better="none") for label in "ab"])
    with pytest.raises(trilemma.DataError, match="no direction"):
        compare_paired(nowhere, "w2", "a", "b")


# Aggregates (Agarwal et al. 2021)


def test_the_interquartile_mean_ignores_the_outer_quarters() -> None:
    scores = np.arange(16.0).reshape(2, 8)
    assert interquartile_mean(scores) == np.arange(4.0, 12.0).mean()
    scores[1, -1] = 1e9
    assert interquartile_mean(scores) == np.arange(4.0, 12.0).mean()


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


def test_a_performance_profile_is_the_distribution_function() -> None:
    scores = np.random.default_rng(5).normal(size=(4, 10))
    marks = np.linspace(-2, 2, 9)
    share, low, high = performance_profile(scores, marks)
    assert share == pytest.approx(stats.ecdf(scores.ravel()).cdf.evaluate(marks))
    assert (low <= share).all()
    assert (share <= high).all()
    above, _, _ = performance_profile(scores, marks, better="higher")
    assert above == pytest.approx(1 - share), "no score is equal to a mark"


@pytest.mark.parametrize("scores", [np.ones(3), np.ones((0, 3)), np.array([[1.0, np.nan]]), np.array([[np.inf, 1.0]])])
def test_scores_that_cannot_be_aggregated_are_refused(scores: Array) -> None:
    with pytest.raises(trilemma.DataError):
        stratified_interval(scores)


# Ranks (Demsar 2006)


def test_mean_ranks_and_friedmans_test_equal_scipys() -> None:
    values = np.round(np.random.default_rng(6).normal(size=(12, 4)), 1)  # some ties
    found = mean_ranks(values)
    assert found.p_value == pytest.approx(stats.friedmanchisquare(*values.T).pvalue)
    assert found.ranks == pytest.approx(stats.rankdata(values, axis=1).mean(0))
    assert mean_ranks(values, better="higher").ranks == pytest.approx(5 - found.ranks)


@pytest.mark.parametrize(("models", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_has_demsars_quantiles(models: int, q: float) -> None:
    """Demsar 2006, table 5(a), for the level .05."""
    values = np.random.default_rng(7).normal(size=(14, models))
    expected = q * np.sqrt(models * (models + 1) / (6 * 14))
    assert mean_ranks(values).critical_difference == pytest.approx(expected, rel=1e-3)


def test_groups_of_models_that_cannot_be_told_apart() -> None:
    tasks = 30
    values = np.tile([0.0, 0.0, 5.0], (tasks, 1)) + np.random.default_rng(8).normal(size=(tasks, 3))
    found = mean_ranks(values)
    assert {frozenset(group) for group in found.groups} == {frozenset({0, 1}), frozenset({2})}
    assert found.p_value < 1e-6
    tied = mean_ranks(np.ones((5, 3)))
    assert tied.p_value == 1
    assert tied.groups == ((0, 1, 2),)
    with pytest.raises(trilemma.DataError, match="without a value"):
        mean_ranks([[1.0, np.nan], [1.0, 2.0]])
    assert mean_ranks([[1.0, np.inf], [1.0, 2.0]]).ranks.tolist() == [1, 2]


# Pareto fronts


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
