"""Moderated comparisons: the parts against independent results, the whole by simulation."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import integrate, stats

from trilemma.harness.analysis.moderated import Arms, holm, level, prior_variance
from trilemma.harness.analysis.within import paired

Array = NDArray[np.float64]
MODELS = 8


def test_the_prior_of_many_variances_is_found() -> None:
    rng = np.random.default_rng(0)
    true_df, true_variance = 6.0, 2.5
    variances = true_variance * true_df / rng.chisquare(true_df, 40_000)
    seen = variances * rng.chisquare(2, 40_000) / 2
    df, variance = prior_variance(seen, np.full(40_000, 2.0))
    assert df == pytest.approx(true_df, rel=0.1)
    assert variance == pytest.approx(true_variance, rel=0.03)


def test_equal_variances_are_pooled_and_two_are_no_pool() -> None:
    assert prior_variance(np.full(5, 0.3), np.full(5, 2.0))[0] == np.inf
    assert prior_variance(np.array([0.1, 0.2]), np.full(2, 2.0)) == (0.0, 0.0)


def test_a_moderated_variance_is_the_bayes_estimate() -> None:
    values = [
        np.array([0.0, 1.0, 2.0]),
        np.array([0.0, 0.2, 0.1]),
        np.array([0.0, 6.0, 1.0]),
        np.array([1.0, 1.5, 0.7]),
    ]
    arms = Arms(values, np.zeros(4))
    df, variance = arms.prior
    assert 0 < df < np.inf
    seen = float(values[1].var(ddof=1))

    def posterior(precision: float) -> float:
        prior = stats.gamma.pdf(precision, df / 2, scale=2 / (df * variance))
        return float(prior * precision * np.exp(-precision * seen))  # two degrees of freedom

    mass = integrate.quad(posterior, 0, np.inf)[0]
    mean = integrate.quad(lambda precision: precision * posterior(precision), 0, np.inf)[0] / mass
    assert arms.variances[1] == pytest.approx(1 / mean, rel=1e-5)
    assert arms.variances[2] == pytest.approx(values[2].var(ddof=1)), "a large variance is not shrunk"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.sampled_from([0.01, 0.05, 0.3]))
def test_holm_is_the_closed_test_of_bonferroni(p: list[float], size: float) -> None:
    def intersection_rejected(subset: tuple[int, ...]) -> bool:
        return min(p[i] for i in subset) <= size / len(subset)

    subsets = [s for r in range(1, len(p) + 1) for s in combinations(range(len(p)), r)]
    expected = [all(intersection_rejected(s) for s in subsets if i in s) for i in range(len(p))]
    assert holm(np.array(p), size).tolist() == expected


def test_rows_that_do_not_vary_are_constants_and_keep_out_of_the_pool() -> None:
    varying = [np.array([1.0, 1.2, 1.1]), np.array([1.0, 1.3, 1.2]), np.array([2.0, 2.2, 2.5])]
    alone, joined = Arms(varying, np.zeros(3)), Arms([*varying, np.full(3, 1.6)], np.array([0, 0, 0, 0.1]))
    assert joined.prior == alone.prior
    assert joined.error(3) == pytest.approx(0.1), "the metric's own error does not shrink with the number of seeds"
    assert Arms([np.ones(3), np.full(3, 2.0)], np.zeros(2)).not_worse([0, 1]) == (0, [0])
    assert Arms([np.ones(3), np.full(3, 2.0)], np.full(2, 5.0)).not_worse([0, 1]) == (0, [0, 1])


def test_an_offset_compares_ratios_above_the_noise() -> None:
    values = [np.array([-0.01, 0.0, 0.01]), np.array([0.01, 0.0, 0.02]), np.array([1.0, 1.2, 0.8])]
    arms = Arms(values, np.zeros(3), offset=0.1)
    assert set(arms.not_worse([0, 1, 2])[1]) == {0, 1}
    low, high = arms.interval(0)
    assert low < 0 < high


def test_samplers_of_one_model_are_compared_within_seeds() -> None:
    rng = np.random.default_rng(1)
    training = rng.normal(5, 1, 5)
    values = [training + rng.normal(0, 0.01, 5), training + 0.3 + rng.normal(0, 0.01, 5)]
    arms = Arms(values, np.zeros(2))
    keys = [range(5), range(5)]
    assert set(arms.not_worse([0, 1])[1]) == {0, 1}, "trainings vary more than the samplers differ"
    assert paired(arms, [0, 1], keys) == (0, [0])
    assert paired(arms, [0, 1], [range(5), range(4, 9)]) == (0, [0, 1]), "they share one seed"


# Simulations: eight models whose values over seeds are log-normal with a coefficient of variation of a third, which
# itself varies between models (log-normal, 0.4). In `uneven`, two of the eight vary three times as much.


def tables(count: int, seeds: int, gaps: Array, kind: str) -> Iterator[tuple[Array, Array]]:
    rng = np.random.default_rng(seeds)
    for _ in range(count):
        models = len(gaps)
        variation = np.full(models, 1 / 3) if kind == "equal" else np.exp(0.4 * rng.standard_normal(models)) / 3
        if kind == "uneven":
            variation[: max(1, models // 4)] *= 3
        width = np.sqrt(np.log1p(variation**2))
        yield gaps[:, None] * np.exp(width[:, None] * rng.standard_normal((models, seeds))), width


def refusals(count: int, seeds: int, gaps: Any, kind: str = "spread") -> Array:
    """The share of tables in which each model is refused, and last that in which any is."""
    models = len(gaps)
    refused = np.zeros(models + 1)
    for values, _ in tables(count, seeds, np.asarray(gaps, dtype=np.float64), kind):
        best = Arms(list(values), np.zeros(models), offset=0.3).not_worse(range(models))[1]
        out = ~np.isin(np.arange(models), best)
        refused += [*out, out.any()]
    return refused / count


def coverage(count: int, seeds: int, kind: str) -> float:
    """The share of printed intervals that cover the mean of the model."""
    gaps = np.exp(0.7 * np.random.default_rng(7).standard_normal(MODELS))
    covered = []
    for values, width in tables(count, seeds, gaps, kind):
        arms = Arms(list(values), np.zeros(MODELS), offset=0.3)
        true = gaps * np.exp(width**2 / 2)
        intervals = map(arms.interval, range(MODELS))
        covered += [low <= mean <= high for (low, high), mean in zip(intervals, true, strict=True)]
    return float(np.mean(covered))


def ladder(step: float) -> list[float]:
    """One model ahead, one `step` times as large, six `step` squared."""
    return [1.0, step, *[step**2] * (MODELS - 2)]


@pytest.mark.parametrize(("seeds", "most"), [(3, 0.10), (5, 0.06)])
@pytest.mark.parametrize("kind", ["equal", "spread", "uneven"])
def test_identical_models_are_seldom_told_apart(seeds: int, most: float, kind: str) -> None:
    count = 300
    slack = 2.5 * np.sqrt(most * (1 - most) / count)
    assert refusals(count, seeds, np.ones(MODELS), kind)[-1] <= most + slack


@pytest.mark.parametrize("models", [2, 20])
def test_few_and_many_identical_models_are_seldom_told_apart(models: int) -> None:
    count, most = 300, 0.10
    assert refusals(count, 3, np.ones(models))[-1] <= most + 2.5 * np.sqrt(most * (1 - most) / count)


@pytest.mark.parametrize(("seeds", "step", "least"), [(3, 3.0, 0.75), (5, 2.0, 0.60)])
def test_a_model_that_is_clearly_worse_is_told_apart(seeds: int, step: float, least: float) -> None:
    count = 300
    assert refusals(count, seeds, ladder(step))[1] >= least - 2.5 * np.sqrt(least * (1 - least) / count)


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_printed_interval_covers_the_mean_over_seeds(seeds: int) -> None:
    assert coverage(150, seeds, "spread") >= 0.91


@pytest.mark.slow
def test_the_error_rates_of_verdicts() -> None:
    """The figures of docs/honest-numbers.md; `pytest -m slow -s` prints them."""
    count = 2000
    for seeds, most in ((3, 0.10), (5, 0.06)):
        rates = {kind: refusals(count, seeds, np.ones(MODELS), kind)[-1] for kind in ("equal", "spread", "uneven")}
        print(f"\n{seeds} seeds, any of eight identical models refused:", rates)
        assert max(rates.values()) <= most + 0.005
        few = {models: refusals(count // 2, seeds, np.ones(models))[-1] for models in (2, 3, 20)}
        print(f"{seeds} seeds, any of so many identical models refused:", few)
        assert max(few.values()) <= 0.10
        inside = {kind: coverage(count // 2, seeds, kind) for kind in ("equal", "spread")}
        print(f"{seeds} seeds, coverage:", inside, "uneven:", coverage(count // 2, seeds, "uneven"))
        assert min(inside.values()) >= 0.93
    for seeds in (3, 5):
        for step in (1.5, 2.0, 3.0, 4.0, 8.0):
            second = refusals(count, seeds, ladder(step))[1]
            others = refusals(count, seeds, [1.0, *[step] * (MODELS - 1)])[1:-1].mean()
            print(f"{seeds} seeds, gap x{step:g} seen: {second:.2f} on a ladder, {others:.2f} of seven equal ones")
            assert second >= {(3, 3.0): 0.75, (5, 2.0): 0.60}.get((seeds, step), 0.0)


def test_the_level_falls_with_the_number_of_models_and_is_never_above_a_twentieth() -> None:
    assert level(2, 3) <= 0.05
    assert level(40, 5) < level(8, 5) < level(3, 5) <= 0.05
    assert level(8, 3) > level(8, 4) > level(8, 5) == level(8, 10)
