"""Changes between two sets of results: what is found, what is left alone, and how often by chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from trilemma.harness.analysis.changes import (
    FEW,
    MARKED,
    OTHER_N,
    TIME,
    beyond_chance,
    changes,
    differences,
)
from trilemma.harness.analysis.moderated import Arms

BASE = {
    "control": False, "dataset_id": "ring8", "budget": "10 steps", "device": "cpu", "sampler": "heun",
    "metric": "energy", "better": "lower", "least": 0.0, "noise": 0.3, "group": "quality", "place": "first",
    "outcome": "ok", "n": 500, "title": "Energy",
}  # fmt: skip
COVERAGE = {"metric": "modes", "group": "coverage", "title": "Modes", "better": "higher", "least": None, "noise": None}
NFE = {"metric": "nfe", "group": "sampling", "title": "NFE", "noise": None, "n": None, "unit": "evaluations"}
SECONDS = {"metric": "seconds_per_1k", "group": "sampling", "title": "Time", "noise": None, "n": None, "unit": "s"}


def results(label: str, values: Any, first: int = 0, **more: Any) -> list[dict[str, Any]]:
    """Results of one line, one for each seed from `first` on."""
    about = {"model": label, "label": label, "error": 0.01} | BASE | more
    half = about.pop("error")
    return [
        about | {"cell": f"{label}-{k}", "seed": k, "value": v, "ci_low": v - half, "ci_high": v + half}
        for k, v in enumerate(values, first)
    ]


def found(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    records = changes(pd.DataFrame(before), pd.DataFrame(after))
    return {(record["label"], record["criterion"]): record for record in records}


def statuses(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    return {key: record["status"] for key, record in found(before, after).items()}


ONE, TWO, THREE = (1.0, 1.1, 0.95), (1.05, 0.9, 1.0), (2.0, 2.3, 1.9)


def test_a_line_that_became_worse_is_found_among_lines_that_did_not() -> None:
    before = [*results("a", ONE), *results("b", TWO), *results("c", THREE), *results("d", TWO)]
    after = [*results("a", ONE), *results("b", THREE), *results("c", ONE), *results("d", (0.95, 1.0, 0.99))]
    records = found(before, after)
    assert {label: record["status"] for (label, _), record in records.items()} == {
        "a": "equal", "b": "worse", "c": "better", "d": "no difference"
    }  # fmt: skip
    worse = records["b", "quality"]
    ratios = np.log((np.array(THREE) + 0.3) / (np.array(TWO) + 0.3))
    assert worse["change"]["value"] == pytest.approx(np.exp(ratios.mean()))
    assert worse["change"]["low"] > 1
    assert worse["p_value"] < 0.01
    assert worse["before"]["value"] == pytest.approx(np.mean(TWO))
    assert records["c", "quality"]["change"]["high"] < 1
    assert records["d", "quality"]["resolution"] > 1


def test_a_shift_that_seeds_share_is_found_although_seeds_vary_by_more() -> None:
    training = np.array([1.0, 3.0, 9.0])
    before = [*results("a", training), *results("b", training[::-1]), *results("c", training)]
    after = [*results("a", 1.25 * training), *results("b", 1.001 * training[::-1]), *results("c", 0.999 * training)]
    assert statuses(before, after)["a", "quality"] == "worse"
    other_seeds = [row | {"seed": row["seed"] + 10} for row in after]
    assert statuses(before, other_seeds)["a", "quality"] == "no difference", "now the seeds vary by more"


def test_higher_is_better_where_the_metric_says_so() -> None:
    before = [*results("a", (8.0, 7.9, 8.0), **COVERAGE), *results("b", (6.0, 6.1, 6.0), **COVERAGE)]
    after = [*results("a", (5.0, 5.1, 5.0), **COVERAGE), *results("b", (7.5, 7.5, 7.6), **COVERAGE)]
    records = found(before, after)
    assert {label: record["status"] for (label, _), record in records.items()} == {"a": "worse", "b": "better"}
    change = records["a", "coverage"]["change"]
    assert change["scale"] == "difference"
    assert change["low"] < change["value"] < change["high"] < 0


def test_counts_are_facts_with_one_seed_and_times_are_never_tested() -> None:
    before = [*results("a", [1.0]), *results("a", [18], **NFE, error=0), *results("a", [0.5], **SECONDS, error=0)]
    after = [*results("a", [9.0]), *results("a", [36], **NFE, error=0), *results("a", [5.0], **SECONDS, error=0)]
    records = found(before, after)
    assert records["a", "cost:nfe"]["status"] == "worse"
    assert (records["a", "quality"]["status"], records["a", "quality"]["note"]) == ("not tested", FEW)
    assert (records["a", "cost:seconds_per_1k"]["status"], records["a", "cost:seconds_per_1k"]["note"]) == (
        "not tested", TIME,
    )  # fmt: skip


def test_other_numbers_of_points_and_marked_rows_are_not_tested() -> None:
    before = [*results("a", ONE), *results("b", ONE), *results("c", ONE)]
    after = [*results("a", THREE, n=50), *results("b", THREE, marks="copies"), *results("c", ONE)]
    records = found(before, after)
    assert records["a", "quality"]["note"] == OTHER_N
    assert records["b", "quality"]["note"] == MARKED
    assert not {record["status"] for record in records.values()} & {"worse", "better"}


def test_rounding_is_no_regression() -> None:
    """The same code on another processor gives numbers that differ in the last digits, perhaps all to one side."""
    before = [row for label in "abcd" for row in results(label, (1.0, 3.0, 2.0), error=0)]
    after = [row | {"value": row["value"] * (1 + 1e-6)} for row in before]
    assert set(statuses(before, after).values()) == {"no difference"}


def test_lines_of_one_run_only_and_superseded_ones_are_left_out() -> None:
    before = [*results("a", ONE), *results("gone", ONE)]
    after = [*results("a", ONE), *results("new", ONE), *results("old", THREE, superseded=True)]
    assert statuses(before, after) == {("a", "quality"): "equal"}


# Simulations: eight models and two criteria. Seeds are log-normal with a coefficient of variation of a third, which
# itself varies between models (log-normal, 0.4), and half of the variance is that of the seed, the same in both runs.
# In `uneven`, two of the models vary three times as much; in `apart`, the runs have different seeds.

MODELS = 8


def rates(count: int, seeds: int, gap: float = 1.0, kind: str = "spread") -> tuple[float, float]:
    """The share of comparisons with a false alarm, and of those in which the last model is found to be worse."""
    rng = np.random.default_rng(seeds)
    half, alarms, hits = np.sqrt(0.5), 0, 0
    for _ in range(count):
        found = []
        widths = np.exp(0.4 * rng.standard_normal((MODELS, 1))) / 3
        if kind == "uneven":
            widths[:2] *= 3
        for criterion in range(2):
            shape = (MODELS, seeds)
            shared = half * rng.standard_normal(shape)
            again = half * rng.standard_normal(shape) if kind == "apart" else shared
            one, two = (np.exp(widths * (part + half * rng.standard_normal(shape))) for part in (shared, again))
            two[-1] *= gap if criterion == 0 else 1.0
            arms = Arms([*one, *two], np.full(2 * MODELS, 0.005), offset=0.3)
            names = [range(seeds)] * MODELS + [range(100, 100 + seeds) if kind == "apart" else range(seeds)] * MODELS
            found += differences(arms, names, [(i, i + MODELS) for i in range(MODELS)], [False] * MODELS)
        worse = [i for i, status in enumerate(beyond_chance(found)) if status == "worse"]
        hits += MODELS - 1 in worse
        alarms += bool(set(worse) - ({MODELS - 1} if gap > 1 else set()))
    return alarms / count, hits / count


def at_most(share: float, count: int) -> float:
    """What a share is seldom above (once in two hundred) in a simulation of this size."""
    return float(share + 2.6 * np.sqrt(share * (1 - share) / count))


def test_seed_noise_is_ignored_and_an_injected_regression_is_found() -> None:
    """A fast form of the slow simulation, which gives the figures of the page on comparisons."""
    assert rates(150, 3)[0] <= at_most(0.05, 150)
    assert rates(60, 3, 4.0)[1] >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["spread", "uneven", "apart"])
@pytest.mark.parametrize("seeds", [3, 5])
def test_false_alarms_are_rare(seeds: int, kind: str) -> None:
    assert rates(4000, seeds, kind=kind)[0] <= at_most(0.05, 4000)


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "gap", "least"), [(3, 2.0, 0.3), (3, 4.0, 0.78), (5, 2.0, 0.62), (5, 3.0, 0.85)])
def test_injected_regressions_are_found(seeds: int, gap: float, least: float) -> None:
    assert rates(1000, seeds, gap)[1] >= least
