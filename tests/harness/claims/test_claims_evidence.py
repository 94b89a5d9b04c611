"""The evidence for a claim: its tests against scipy and against intervals, and the verdicts of a registry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trilemma.harness.analysis.moderated import Arms
from trilemma.harness.claims.evidence import (
    LEVEL,
    POWER,
    Difference,
    Evidence,
    adjusted,
    at_same_points,
    conjunction,
    decide,
    difference,
    no_leader,
    paired_difference,
    seeds_needed,
    weigh,
)

ONE = np.array([1.0, 1.4, 1.1, 1.3, 0.9])
TWO = np.array([1.6, 2.4, 1.5, 1.9, 2.9])


def test_two_arms_alone_are_compared_by_welchs_test() -> None:
    found = difference(Arms([ONE, TWO], np.zeros(2)), 0, 1)
    expected = stats.ttest_ind(ONE, TWO, equal_var=False, alternative="less")
    assert found.p_below(0) == pytest.approx(expected.pvalue)
    assert found.df == pytest.approx(expected.df)
    assert found.p_above(0) == pytest.approx(1 - expected.pvalue)
    low, high = expected.confidence_interval() if hasattr(expected, "confidence_interval") else (None, None)
    assert high is None or found.interval(0.9)[1] == pytest.approx(high)
    assert low is None or low == -np.inf


def test_settings_of_one_model_are_compared_within_seeds() -> None:
    arms = Arms([ONE, TWO], np.zeros(2))
    found = paired_difference(arms, 0, 1, [(0, 1, 2, 3, 4), (0, 1, 2, 3, 4)])
    assert found.p_below(0) == pytest.approx(stats.ttest_rel(ONE, TWO, alternative="less").pvalue)
    shifted = paired_difference(arms, 0, 1, [(0, 1, 2, 3, 4), (1, 2, 3, 4, 5)])
    assert shifted.p_below(0) == pytest.approx(stats.ttest_rel(ONE[1:], TWO[:-1], alternative="less").pvalue)
    assert shifted.seeds == 4


def test_further_settings_moderate_a_paired_difference() -> None:
    rng = np.random.default_rng(1)
    values = [rng.normal(size=3) for _ in range(6)]
    keys = [(0, 1, 2)] * 6
    alone = paired_difference(Arms(values, np.zeros(6)), 0, 1, keys)
    helped = paired_difference(Arms(values, np.zeros(6)), 0, 1, keys, others=range(6))
    assert alone.df == 2
    assert helped.df > 2
    assert helped.estimate == pytest.approx(alone.estimate)


@given(
    st.floats(-2, 2),
    st.floats(0.05, 1),
    st.integers(2, 30),
    st.floats(0.1, 1),
)
def test_equivalence_is_the_inclusion_of_the_interval(estimate: float, error: float, df: int, interest: float) -> None:
    found = weigh(Difference(estimate, error, df, 5), "equal", interest, LEVEL)
    half = stats.t.ppf(0.95, df) * error
    inside = -interest < estimate - half and estimate + half < interest
    if min(abs(abs(estimate - half) - interest), abs(abs(estimate + half) - interest)) > 1e-9:
        assert (found.p_for <= 0.05) == inside
        assert weigh(Difference(estimate, error, df, 5), "lower", interest, LEVEL).tied == inside
    outside = stats.t.sf((abs(estimate) - interest) / error, df)
    assert found.p_against == pytest.approx(min(1, 2 * outside))


def test_a_direction_needs_a_difference_of_interest() -> None:
    small = Difference(0.05, 0.001, 8, 5)
    assert weigh(small, "higher", 0.1, LEVEL) == Evidence(1.0, 1.0, True, weigh(small, "higher", 0.1, LEVEL).needed)
    large = weigh(Difference(0.2, 0.001, 8, 5), "higher", 0.1, LEVEL)
    assert large.p_for < 1e-6 < large.p_against
    assert not large.tied
    opposite = weigh(Difference(0.2, 0.001, 8, 5), "lower", 0.1, LEVEL)
    assert (opposite.p_for, opposite.p_against) == (large.p_against, large.p_for)


def test_numbers_without_error_are_compared_exactly() -> None:
    arms = Arms([np.full(3, 16.0), np.ones(3)], np.zeros(2))
    found = weigh(difference(arms, 0, 1), "higher", 1.0, LEVEL)
    assert (found.p_for, found.p_against) == (0, 1)
    same = weigh(difference(Arms([np.ones(3), np.ones(3)], np.zeros(2)), 0, 1), "higher", 1.0, LEVEL)
    assert same.p == 1


def test_the_number_of_seeds_has_the_power() -> None:
    """The power of Welch's test with that number of seeds, by scipy's noncentral t-distribution."""
    found = Difference(0.5, 1.0 / np.sqrt(5), 8, 5)  # the deviation of a difference of single seeds is 1
    seeds = seeds_needed(found, 0.5, 0.01)
    assert seeds is not None

    def power(n: int) -> float:
        df = 2 * (n - 1)
        return float(stats.nct.sf(stats.t.isf(0.01, df), df, 0.5 * np.sqrt(n)))

    assert power(seeds) == pytest.approx(POWER, abs=0.02)
    assert seeds_needed(found, 0.0, 0.01) is None
    assert seeds_needed(found, 1e-4, 0.01) is None


def test_a_conjunction_is_as_strong_as_its_weakest_part() -> None:
    parts = [Evidence(0.01, 0.9, needed=4), Evidence(0.04, 0.7, needed=9)]
    found = conjunction(parts)
    assert (found.p_for, found.p_against, found.needed) == (0.04, 1.0, 9)
    one_fails = conjunction([Evidence(0.001, 0.999), Evidence(0.98, 0.02)])
    assert (one_fails.p_for, one_fails.p_against) == (0.98, 0.04)
    assert conjunction([Evidence(0.1, 0.9, needed=4), Evidence(0.1, 0.9, needed=None)]).needed is None


def test_no_model_leads_everywhere() -> None:
    """Three models: the first is best in quality and coverage, and worst in cost."""
    sure, against, tie = 1e-6, 1 - 1e-6, 0.5
    p = np.full((3, 3, 3), tie)
    for criterion, order in enumerate([(0, 1, 2), (0, 1, 2), (2, 1, 0)]):
        for place, better in enumerate(order):
            for worse in order[place + 1 :]:
                p[criterion, worse, better], p[criterion, better, worse] = sure, against
    found = no_leader(p)
    assert found.p_for == pytest.approx(3 * 2 * sure)
    assert found.p_against == 1
    p[2] = p[0]  # now the first is best by everything
    led = no_leader(p)
    assert led.p_for == 1
    assert led.p_against == pytest.approx(3 * sure)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(0, 5))
def test_adjusted_values_are_those_of_benjamini_and_hochberg(p: list[float], further: int) -> None:
    expected = stats.false_discovery_control([*p, *[1.0] * further])[: len(p)]
    np.testing.assert_allclose(adjusted(np.array(p), len(p) + further), expected, rtol=1e-9)


@given(st.lists(st.tuples(st.floats(1e-6, 1), st.booleans(), st.booleans()), min_size=1, max_size=15))
def test_what_a_part_of_the_registry_decides_stays_decided(drawn: list[tuple[float, bool, bool]]) -> None:
    full: list[Evidence | None] = [
        Evidence(p / 2, 1 - p / 2) if claimed else Evidence(1 - p / 2, p / 2) for p, claimed, _ in drawn
    ]
    part = [found if run else None for found, (_, _, run) in zip(full, drawn, strict=True)]
    for early, late in zip(decide(part), decide(full), strict=True):
        assert late == early or early in ("inconclusive", "not run")


def test_the_interval_of_a_difference_at_the_same_points_covers_that_of_the_distribution() -> None:
    """Points, and seeds with an effect on all points, are drawn anew in each of many comparisons."""
    rng, covered, lengths = np.random.default_rng(0), [], []
    for _ in range(600):
        hard, apart = rng.normal(size=320), 0.1 * rng.normal(size=320)  # the distribution has the difference 0
        seeds = 0.004 * rng.normal(size=(2, 5))
        arms = [hard + apart + seeds[0][:, None], hard + seeds[1][:, None]]
        found = difference(Arms([arm.mean(1) for arm in arms], np.zeros(2)), 0, 1)
        one, other = (arm.mean(0).reshape(32, -1).mean(1) for arm in arms)
        low, high = at_same_points(found, one - other).interval()
        covered.append(low < 0 < high)
        lengths.append(high - low)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.025)
    assert np.median(lengths) < 0.04, "without pairing it would be .3, by the points alone"


def test_more_seeds_do_not_reduce_the_error_of_the_points() -> None:
    seeds = Difference(0.1, 0.05, 8, 5)
    assert seeds_needed(seeds, 0.1, LEVEL) is not None
    assert seeds_needed(Difference(0.1, 0.08, 20, 5, fixed=0.06), 0.1, LEVEL) is None


def test_the_points_keep_their_degrees_of_freedom_with_more_seeds() -> None:
    """With so many seeds that only the points err, the test is that of the mean over their four blocks."""
    of_seeds = Difference(0.06, 0.05, 8, 5)
    found = at_same_points(of_seeds, 0.06 + 0.02 * np.array([-1.5, -0.5, 0.5, 1.5]) * 2 / np.sqrt(5 / 3))
    assert found.fixed == pytest.approx(0.02)

    def limit(size: float) -> float:
        return float(stats.nct.sf(stats.t.isf(LEVEL, 3), 3, size / 0.02))

    assert limit(0.06) < POWER < stats.norm.sf(stats.norm.isf(LEVEL) - 0.06 / 0.02)
    assert seeds_needed(found, 0.06, LEVEL) is None
    assert limit(0.08) > POWER
    seeds = seeds_needed(found, 0.08, LEVEL)
    assert seeds is not None
    # The power by drawing the results of that many seeds, whose deviation is that of `found`, and of four blocks.
    rng, draws = np.random.default_rng(0), 20_000
    own = 0.05**2 * 5 / seeds * rng.chisquare(2 * (seeds - 1), draws) / (2 * (seeds - 1))
    shared = 0.02**2 * rng.chisquare(3, draws) / 3
    df = (own + shared) ** 2 / (own**2 / (2 * (seeds - 1)) + shared**2 / 3)
    estimate = 0.08 + np.hypot(0.05 * np.sqrt(5 / seeds), 0.02) * rng.normal(size=draws)
    power = float(np.mean(stats.t.sf(estimate / np.sqrt(own + shared), df) <= LEVEL))
    assert power == pytest.approx(POWER, abs=0.04)
