"""The aggregation behind the comparison: means over seeds, ties, likelihood kinds, failures, missing numbers."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trilemma.harness.analysis.summary import COLUMNS, summary_rows


def row(label: str, value: float, *, half: float | None = 0.1, **more: Any) -> dict[str, Any]:
    """One result; the interval is `value` plus and minus `half`."""
    base = {
        "cell": f"{label}-{more.get('seed', 0)}", "model": label, "label": label, "control": False,
        "dataset_id": "ring8", "budget": "10 s", "device": "cpu", "seed": 0, "sampler": "heun",
        "metric": "w2", "better": "lower", "value": value, "ci_low": None if half is None else value - half,
        "ci_high": None if half is None else value + half, "outcome": "ok", "details": "{}",
    }  # fmt: skip
    return base | more


def summary(*rows: dict[str, Any]) -> pd.DataFrame:
    return summary_rows(pd.DataFrame(rows)).set_index("label", drop=False)


def test_mean_and_spread_over_seeds_are_apart_from_the_metric_interval() -> None:
    values = [1.0, 1.4, 1.2]
    table = summary(*(row("edm", v, seed=s, half=0.05 * (s + 1)) for s, v in enumerate(values)))
    one = table.loc["edm"]
    assert one["value"] == pytest.approx(np.mean(values))
    assert one["seed_sd"] == pytest.approx(np.std(values, ddof=1))
    assert one["half"] == pytest.approx(0.1)
    assert one["seeds"] == (0, 1, 2)


def test_interval_of_three_seeds_is_students_t() -> None:
    values = np.array([1.0, 1.4, 1.2, 1.1])
    one = summary(*(row("edm", v, seed=s, half=0.001) for s, v in enumerate(values))).loc["edm"]
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    assert (one["low"], one["high"], one["interval"]) == (pytest.approx(low), pytest.approx(high), "t")


def test_interval_of_equal_seeds_is_still_as_wide_as_the_metrics() -> None:
    one = summary(*(row("edm", 1.0, seed=s, half=0.2) for s in range(3))).loc["edm"]
    assert (one["low"], one["high"]) == (pytest.approx(0.8), pytest.approx(1.2))


def test_a_rounding_error_is_not_shown_as_an_interval() -> None:
    assert summary(row("edm", 0.97, half=1.1e-16)).loc["edm", "half"] == 0
    assert summary(row("edm", 1e-9, half=1e-9)).loc["edm", "half"] == pytest.approx(1e-9)
    assert math.isnan(summary(row("edm", 0.97, half=None)).loc["edm", "half"])


def test_interval_of_two_seeds_covers_both() -> None:
    one = summary(row("edm", 1.0, seed=0), row("edm", 2.0, seed=1, half=0.3)).loc["edm"]
    assert (one["low"], one["high"], one["interval"]) == (pytest.approx(0.9), pytest.approx(2.3), "range")


def test_interval_of_one_seed_is_the_metrics_own() -> None:
    one = summary(row("edm", 1.0)).loc["edm"]
    assert (one["low"], one["high"], one["interval"]) == (pytest.approx(0.9), pytest.approx(1.1), "metric")
    assert math.isnan(one["seed_sd"])


def test_overlapping_intervals_share_the_mark() -> None:
    table = summary(row("a", 1.0), row("b", 1.15), row("c", 1.3))
    assert table["best"].to_dict() == {"a": True, "b": True, "c": False}


def test_without_intervals_only_equal_values_tie() -> None:
    table = summary(*(row(name, v, half=None, metric="nfe") for name, v in {"a": 1, "b": 1, "c": 2}.items()))
    assert table["best"].to_dict() == {"a": True, "b": True, "c": False}


def test_higher_is_better_where_a_metric_says_so() -> None:
    table = summary(*(row(name, v, metric="recall", better="higher") for name, v in {"a": 0.2, "b": 0.9}.items()))
    assert table["best"].to_dict() == {"a": False, "b": True}


def test_a_metric_without_direction_has_no_best() -> None:
    assert not summary(row("a", 1.0, better="none"), row("b", 2.0, better="none"))["best"].any()


def test_likelihood_kinds_are_never_ranked_together() -> None:
    kinds = {"flow": ("exact", 2.0), "better-flow": ("exact", 1.5), "sde": ("ode", 1.0), "ddpm": ("bound", 9.0)}
    table = summary(*(row(n, v, metric="nll", sampler=None, likelihood=k) for n, (k, v) in kinds.items()))
    assert table["best"].to_dict() == {"flow": False, "better-flow": True, "sde": True, "ddpm": True}


def test_kinds_of_one_model_are_not_averaged() -> None:
    table = summary(*(row("sde", v, metric="nll", likelihood=k) for k, v in {"ode": 1.0, "bound": 3.0}.items()))
    assert sorted(table["value"]) == [1.0, 3.0]


def test_datasets_and_budgets_are_arenas_of_their_own() -> None:
    table = summary(row("a", 1.0), row("b", 5.0, budget="60 s"), row("c", 9.0, dataset_id="digits"))
    assert table["best"].all()


def test_controls_set_the_scale_and_are_never_best() -> None:
    table = summary(row("oracle", 0.1, control=True), row("a", 1.0))
    assert table["best"].to_dict() == {"oracle": False, "a": True}


def test_failures_stay_as_rows_and_lower_the_count_of_seeds() -> None:
    ended = {"metric": None, "value": math.nan, "outcome": "timeout", "phase": "training", "message": "too slow"}
    rows = [row("a", 1.0, seed=0), *(row("a", 0, seed=s) | ended | {"elapsed": float(s)} for s in (1, 2))]
    table = summary(*rows)
    lost = table[table["metric"] == ""]
    assert list(lost["seeds"]) == [(1, 2)]
    assert (lost["outcome"].item(), lost["message"].item(), lost["elapsed"].item()) == ("timeout", "too slow", 2.0)
    assert math.isnan(lost["value"].item())
    assert table.loc[table["metric"] == "w2", "seeds"].item() == (0,)


def test_missing_numbers_are_left_out_and_infinite_ones_are_not() -> None:
    table = summary(row("a", 1.0), row("a", math.nan, seed=1), row("b", math.inf, half=None), row("b", 1.0, seed=1))
    assert table.loc["a", "value"] == 1.0
    assert table.loc["b", "value"] == math.inf
    assert table["best"].to_dict() == {"a": True, "b": False}


def test_floor_is_read_in_the_direction_of_the_metric() -> None:
    table = summary(
        row("under", 1.0, floor=1.1),
        row("over", 1.2, floor=1.1),
        row("recall", 0.95, floor=0.9, metric="recall", better="higher"),
        row("no-floor", 1.0),
    )
    assert table["below_floor"].to_dict() == {"under": True, "over": False, "recall": True, "no-floor": False}


def test_flags_come_from_the_details() -> None:
    told = json.dumps({"contended": True, "memorizes": True, "floor_ci": [0.9, 1.3]})
    table = summary(row("a", 1.0, details=told), row("b", 1.0, details="{}"), row("c", 1.0, details="not json"))
    assert table["contended"].to_dict() == {"a": True, "b": False, "c": False}
    assert table["memorizes"].to_dict() == {"a": True, "b": False, "c": False}
    assert (table.loc["a", "floor_low"], table.loc["a", "floor_high"]) == (0.9, 1.3)


def test_no_time_is_the_best_where_one_of_a_contender_was_disturbed() -> None:
    disturbed = json.dumps({"contended": True})

    def best(fast: str, control: str) -> dict[str, bool]:
        rows = (
            row("fast", 1.0, metric="seconds_per_1k", details=fast),
            row("slow", 9.0, metric="seconds_per_1k"),
            row("control", 2.0, metric="seconds_per_1k", details=control) | {"control": True},
        )
        return dict(summary(*rows)["best"])

    assert best("{}", disturbed) == {"fast": True, "slow": False, "control": False}
    assert not any(best(disturbed, "{}").values())


@pytest.mark.parametrize("frame", [pd.DataFrame(), pd.DataFrame([row("a", math.nan) | {"metric": None}])])
def test_empty_frames_give_empty_summaries(frame: pd.DataFrame) -> None:
    table = summary_rows(frame)
    assert list(table.columns) == COLUMNS
    assert table.empty


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("abcdef"),
        st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(0, 10)), min_size=1, max_size=4),
        min_size=1,
    ),
    st.sampled_from(["lower", "higher"]),
)
def test_the_best_mean_is_always_marked_and_order_does_not_matter(
    models: dict[str, list[tuple[float, float]]], better: str
) -> None:
    rows = [
        row(label, value, half=half, seed=seed, better=better)
        for label, runs in models.items()
        for seed, (value, half) in enumerate(runs)
    ]
    table, reversed_ = summary(*rows), summary(*reversed(rows))
    top = table["value"].idxmin() if better == "lower" else table["value"].idxmax()
    assert table.loc[top, "best"]
    assert (table["low"] <= table["value"] + 1e-9).all()
    assert (table["high"] >= table["value"] - 1e-9).all()
    pd.testing.assert_series_equal(table["best"].sort_index(), reversed_["best"].sort_index())


def test_rows_of_different_sample_size_are_not_ranked_together() -> None:
    same = summary(row("a", 1.0, n=500), row("b", 2.0, n=500), row("c", 3.0, n=np.nan, half=None))
    assert same["best"].to_dict() == {"a": True, "b": False, "c": False}
    assert same["comparable"].all()
    mixed = summary(row("a", 1.0, n=500), row("b", 2.0, n=1000), row("d", 0.5, metric="energy", n=300))
    assert mixed["best"].to_dict() == {"a": False, "b": False, "d": True}
    assert mixed["comparable"].to_dict() == {"a": False, "b": False, "d": True}


def test_seeds_of_different_sample_size_are_not_ranked() -> None:
    table = summary(row("a", 1.0, seed=0, n=500), row("a", 1.0, seed=1, n=200), row("b", 9.0, n=200))
    assert not table["best"].any()
    assert not table["comparable"]["a"]


def test_a_number_that_does_not_rank_here_is_never_best() -> None:
    table = summary(row("a", 1.0, ranks=False), row("b", 2.0, ranks=False))
    assert not table["best"].any()
    assert not table["ranks"].any()
