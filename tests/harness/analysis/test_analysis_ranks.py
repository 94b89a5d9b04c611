"""Mean ranks and their critical difference (Demsar 2006), against scipy and the published quantiles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import trilemma
from trilemma.harness.analysis.ranks import mean_ranks


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
    with pytest.raises(trilemma.DataError, match="has no value"):
        mean_ranks([[1.0, np.nan], [1.0, 2.0]])
    assert mean_ranks([[1.0, np.inf], [1.0, 2.0]]).ranks.tolist() == [1, 2]
