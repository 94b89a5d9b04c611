"""Paired comparisons: closed forms, and what cannot be compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import trilemma
from trilemma.harness.analysis.paired import compare_paired


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
    with pytest.raises(trilemma.DataError, match="have no dataset and seed in common"):
        compare_paired(pd.concat([frame("a", cells), frame("b", {("moons", 0): 1.0})]), "w2", "a", "b")
    nowhere = pd.concat([frame(label, cells, better="none") for label in "ab"])
    with pytest.raises(trilemma.DataError, match="no direction"):
        compare_paired(nowhere, "w2", "a", "b")
