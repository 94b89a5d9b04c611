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
from trilemma.harness.analysis.verdicts import verdicts


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


def seeds(label: str, *values: float, **more: Any) -> list[dict[str, Any]]:
    """Results of one model for several seeds."""
    return [row(label, value, seed=seed, **more) for seed, value in enumerate(values)]


def best(*rows: dict[str, Any]) -> dict[str, bool]:
    return {str(k): bool(v) for k, v in summary(*rows)["best"].items()}


NEAR, FAR = (1.0, 1.02, 0.98), (5.0, 5.1, 4.9)


def test_mean_and_spread_over_seeds() -> None:
    one = summary(*seeds("edm", 1.0, 1.4, 1.2)).loc["edm"]
    assert one["value"] == pytest.approx(1.2)
    assert one["seed_sd"] == pytest.approx(np.std([1.0, 1.4, 1.2], ddof=1))
    assert one["seeds"] == (0, 1, 2)


def test_numbers_that_all_mix_numbers_of_points_stand_apart_and_nothing_is_ranked() -> None:
    rows = [row("edm", 1.0, seed=seed, n=100 + seed, group="quality") for seed in range(3)]
    mixed = summary(*rows)
    assert mixed.loc["edm", "apart"]
    assert not mixed.loc["edm", "best"]
    assert mixed.loc["edm", "value"] == 1.0
    (verdict,) = verdicts(pd.DataFrame(rows))
    assert (verdict["leader"], verdict["lines"], verdict["n"]) == (None, [], None)
    assert verdict["apart"] == [{"label": "edm", "sampler": "heun"}]


def test_the_interval_is_over_seeds_and_as_students_where_there_is_nothing_to_pool() -> None:
    values = np.array([1.0, 1.4, 1.2, 1.1])
    one = summary(*seeds("edm", *values, half=0.001)).loc["edm"]
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    assert (one["low"], one["high"], one["interval"]) == (pytest.approx(low), pytest.approx(high), "seeds")
    assert one["half"] == pytest.approx((high - low) / 2)


def test_the_interval_over_seeds_is_never_narrower_than_that_of_the_metric() -> None:
    one = summary(*seeds("edm", 1.0, 1.0, 1.0, half=0.2)).loc["edm"]
    assert (one["low"], one["high"]) == (pytest.approx(0.8), pytest.approx(1.2))


@pytest.mark.parametrize("values", [(1.0,), (1.0, 2.0)])
def test_with_fewer_than_three_seeds_the_interval_is_the_metrics_own_and_nothing_is_best(values: Any) -> None:
    one = summary(*seeds("edm", *values)).loc["edm"]
    mean = np.mean(values)
    assert (one["low"], one["high"], one["interval"]) == (
        pytest.approx(mean - 0.1),
        pytest.approx(mean + 0.1),
        "metric",
    )
    assert not best(*seeds("edm", *values), *seeds("other", 9.0))["edm"]


def test_what_cannot_be_told_apart_shares_the_mark() -> None:
    assert best(*seeds("a", *NEAR), *seeds("b", 1.01, 0.97, 1.03), *seeds("c", *FAR)) == {
        "a": True, "b": True, "c": False,
    }  # fmt: skip


def test_higher_is_better_where_a_metric_says_so() -> None:
    assert best(*seeds("a", *NEAR, better="higher"), *seeds("b", *FAR, better="higher")) == {"a": False, "b": True}


@pytest.mark.parametrize("why", [{"better": "none"}, {"ranks": False}])
def test_a_number_that_does_not_rank_has_no_best(why: dict[str, Any]) -> None:
    assert not any(best(*seeds("a", *NEAR, **why), *seeds("b", *FAR, **why)).values())


def test_likelihoods_of_other_kinds_or_of_other_data_are_never_ranked_together() -> None:
    rows = []
    for label, values, kind, base in (
        ("flow", FAR, "exact", "continuous"),
        ("better-flow", NEAR, "exact", "continuous"),
        ("image-flow", FAR, "exact", "dequantized"),
        ("sde", FAR, "ode", "continuous"),
    ):
        about = {"metric": "nll", "sampler": None, "likelihood": kind, "details": json.dumps({"base": base})}
        rows += seeds(label, *values, **about)
    assert best(*rows) == {"flow": False, "better-flow": True, "image-flow": True, "sde": True}


def test_datasets_and_budgets_are_arenas_of_their_own() -> None:
    assert all(best(*seeds("a", *NEAR), *seeds("b", *FAR, budget="60 s"), *seeds("c", *FAR, dataset_id="x")).values())


def test_controls_set_the_scale_and_are_never_best() -> None:
    assert best(*seeds("gmm", *NEAR, control=True), *seeds("a", *FAR)) == {"gmm": False, "a": True}


def test_missing_numbers_are_left_out_and_infinite_ones_rank_nowhere() -> None:
    rows = [*seeds("a", *NEAR), row("a", math.nan, seed=3), *seeds("b", 0.5, math.inf, 0.5, half=None)]
    table = summary(*rows)
    assert table.loc["a", "value"] == pytest.approx(1.0)
    assert table.loc["b", "value"] == math.inf
    assert best(*rows) == {"a": True, "b": False}


def test_a_mark_of_samples_holds_for_the_sampler_setting_of_a_likelihood_for_the_likelihood_of_training_for_all() -> (
    None
):
    def model(label: str, *, samples: str = "", density: str = "", training: str = "") -> list[dict[str, Any]]:
        about = {"metric": "nll", "sampler": None, "group": "likelihood", "likelihood": "exact"}
        cost = {"metric": "train_seconds", "sampler": None, "group": "training"}
        return [
            *seeds(label, *NEAR, marks=samples),
            *seeds(label, *NEAR, sampler="ode"),
            *seeds(label, *NEAR, **about, marks=density),
            *seeds(label, *NEAR, **cost, marks=training),
        ]

    table = summary(
        *model("copier", samples="copies"), *model("liar", density="mass 2"), *model("glutton", training="over\nslow")
    )
    marked = {(r.label, r.sampler, r.metric): r.marked for r in table.itertuples()}
    assert marked["copier", "heun", "w2"] == ("copies",)
    assert marked["copier", "ode", "w2"] == marked["copier", "", "nll"] == ()
    assert marked["liar", "", "nll"] == ("mass 2",)
    assert marked["liar", "heun", "w2"] == ()
    assert {v for k, v in marked.items() if k[0] == "glutton"} == {("over", "slow")}
    assert not table.loc[table["marked"].map(len) > 0, "best"].any()


def test_a_mark_that_differs_between_seeds_in_its_figures_alone_is_said_once() -> None:
    marks = ("mass too large: at least 4.12\nNLL below the entropy", "mass too large: 3.74", "mass too small: 0.62")
    table = summary(*(row("a", 1.0, seed=seed, marks=mark) for seed, mark in enumerate(marks)))
    assert table.loc["a", "marked"] == (marks[0].split("\n")[0], "NLL below the entropy", "mass too small: 0.62")


def test_the_conditions_of_all_seeds_are_told() -> None:
    told = ("noise levels 0.04 to 12 alone", "", "noise levels 0.04 to 11 alone")
    rows = [row("a", 1.0, seed=seed, details=json.dumps({"conditions": text})) for seed, text in enumerate(told)]
    assert summary(*rows).loc["a", "conditions"] == f"{told[0]}; {told[2]}"


def test_a_value_below_the_lowest_possible_one_beyond_its_interval_is_marked() -> None:
    table = summary(*seeds("a", -1.0, -1.1, -0.9, least=0.0), *seeds("b", -0.1, 0.2, 0.0, least=0.0, half=0.3))
    assert "below the lowest possible value" in table.loc["a", "marked"][0]
    assert table.loc["b", "marked"] == ()


def test_a_cost_is_best_only_among_what_is_best_in_quality() -> None:
    quality = {"group": "quality", "place": "first"}
    cost = {"metric": "nfe", "group": "sampling", "half": None}
    rows = [*seeds("noise", *FAR, **quality), *seeds("good", *NEAR, **quality), *seeds("slow", *NEAR, **quality)]
    rows += [r for label, n in (("noise", 0.1), ("good", 10), ("slow", 50)) for r in seeds(label, n, n, n, **cost)]
    table = summary(*rows)
    nfe = table[table["metric"] == "nfe"]
    assert nfe["best"].to_dict() == {"noise": False, "good": True, "slow": False}
    assert not summary(*rows[9:])["best"].any(), "without a verdict on quality no cost is best"


def test_flags_come_from_the_details() -> None:
    told = json.dumps({"contended": True, "floor_ci": [0.9, 1.3], "base": "discrete", "conditions": "K = 5"})
    rows = row("a", 1.0, details=told), row("b", 1.0, details="{}"), row("c", 1.0, details="not json")
    table = summary(*(each | {"group": "sampling"} for each in rows))
    assert table["contended"].to_dict() == {"a": True, "b": False, "c": False}
    assert (table.loc["a", "floor_low"], table.loc["a", "floor_high"]) == (0.9, 1.3)
    assert (table.loc["a", "base"], table.loc["a", "conditions"]) == ("discrete", "K = 5")


@pytest.mark.parametrize("unbiased", [False, True])
def test_another_sample_size_stands_apart_unless_the_number_is_unbiased(unbiased: bool) -> None:
    rows = [*seeds("a", *FAR, n=500), *seeds("b", *FAR, n=500), *seeds("c", *NEAR, n=1000)]
    rows += [row("mixed", 1.0, seed=seed, n=500 + seed) for seed in range(3)]
    table = summary(*({**r, "unbiased": unbiased} for r in rows))
    assert table["apart"].to_dict() == {"a": False, "b": False, "c": not unbiased, "mixed": not unbiased}
    assert table["best"].to_dict() == {"a": not unbiased, "b": not unbiased, "c": unbiased, "mixed": unbiased}


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcdef"), st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=4), min_size=1),
    st.sampled_from(["lower", "higher"]),
)
def test_the_best_mean_is_always_marked_and_order_does_not_matter(models: dict[str, list[float]], better: str) -> None:
    rows = [r for label, values in models.items() for r in seeds(label, *values, better=better)]
    table, reversed_ = summary(*rows), summary(*reversed(rows))
    top = table["value"].min() if better == "lower" else table["value"].max()
    assert table.loc[np.isclose(table["value"], top, rtol=1e-12), "best"].any()
    assert (table["low"] <= table["value"] + 1e-9).all()
    assert (table["high"] >= table["value"] - 1e-9).all()
    assert table["best"].sum() == reversed_["best"].sum() or table["value"].duplicated().any()


def test_a_rounding_error_is_not_shown_as_an_interval() -> None:
    assert summary(row("edm", 0.97, half=1.1e-16)).loc["edm", "half"] == 0
    assert summary(row("edm", 1e-9, half=1e-9)).loc["edm", "half"] == pytest.approx(1e-9)
    assert math.isnan(summary(row("edm", 0.97, half=None)).loc["edm", "half"])


def test_interval_of_one_seed_is_the_metrics_own() -> None:
    one = summary(row("edm", 1.0)).loc["edm"]
    assert (one["low"], one["high"], one["interval"]) == (pytest.approx(0.9), pytest.approx(1.1), "metric")
    assert math.isnan(one["seed_sd"])


def test_kinds_of_one_model_are_not_averaged() -> None:
    table = summary(*(row("sde", v, metric="nll", likelihood=k) for k, v in {"ode": 1.0, "bound": 3.0}.items()))
    assert sorted(table["value"]) == [1.0, 3.0]


def test_failures_stay_as_rows_and_lower_the_count_of_seeds() -> None:
    ended = {"metric": None, "value": math.nan, "outcome": "timeout", "phase": "training", "message": "too slow"}
    rows = [row("a", 1.0, seed=0), *(row("a", 0, seed=s) | ended | {"elapsed": float(s)} for s in (1, 2))]
    table = summary(*rows)
    lost = table[table["metric"] == ""]
    assert list(lost["seeds"]) == [(1, 2)]
    assert (lost["outcome"].item(), lost["message"].item(), lost["elapsed"].item()) == ("timeout", "too slow", 2.0)
    assert math.isnan(lost["value"].item())
    assert table.loc[table["metric"] == "w2", "seeds"].item() == (0,)


def test_floor_is_read_in_the_direction_of_the_metric() -> None:
    table = summary(
        row("under", 1.0, floor=1.1),
        row("over", 1.2, floor=1.1),
        row("recall", 0.95, floor=0.9, metric="recall", better="higher"),
        row("no-floor", 1.0),
    )
    assert table["below_floor"].to_dict() == {"under": True, "over": False, "recall": True, "no-floor": False}


@pytest.mark.parametrize("frame", [pd.DataFrame(), pd.DataFrame([row("a", math.nan) | {"metric": None}])])
def test_empty_frames_give_empty_summaries(frame: pd.DataFrame) -> None:
    table = summary_rows(frame)
    assert list(table.columns) == COLUMNS
    assert table.empty
