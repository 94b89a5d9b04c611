"""From frames to verdicts: planted results of a small registry, and what is missing or marked."""

from __future__ import annotations

import json
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from trilemma.harness.claims.evidence import Evidence, no_leader
from trilemma.harness.claims.record import Checked, Claim
from trilemma.harness.claims.registry import Registered
from trilemma.harness.claims.verdicts import judge
from trilemma.harness.claims.wording import CHECKED, claim_finding, claim_source, claim_tally


def claim(name: str = "one", **changes: Any) -> Registered:
    record: dict[str, Any] = {
        "name": name,
        "family": "toys",
        "claim": "A is lower than B.",
        "citation": "Nobody 2000",
        "place": "table 1",
        "steps": {"quick": 10, "full": 100},
        "datasets": [{"name": "ring8", "config": {"n_train": 100}}],
        "models": [{"name": "a"}, {"name": "b"}],
        "comparisons": [
            {"metric": "gap", "a": {"model": "a"}, "b": {"model": "b"}, "expect": "lower", "interest": 1.1}
        ],
    }
    return Registered(Claim.model_validate(record | changes), "toy")


def rows(label: str, values: Any, **changes: Any) -> pd.DataFrame:
    frame = pd.DataFrame({"value": values, "seed": range(len(values))})
    fixed = {"label": label, "dataset_id": "ring8(n_train=100)", "metric": "gap", "budget": "10 steps"}
    fixed |= {"outcome": "ok", "sampler": "", "better": "lower"}
    return frame.assign(**(fixed | changes))


def noisy(mean: float, seed: int, seeds: int = 5, deviation: float = 0.05) -> Any:
    return mean * np.exp(deviation * np.random.default_rng(seed).normal(size=seeds))


def verdict_of(frame: pd.DataFrame, *claims: Registered) -> list[str]:
    return [record["verdict"] for record in judge(claims or (claim(),), frame, "quick")]


def test_true_false_and_empty_claims() -> None:
    low, high, same = rows("a", noisy(1.0, 0)), rows("b", noisy(2.0, 1)), rows("b", noisy(1.0, 2))
    assert verdict_of(pd.concat([low, high])) == ["reproduced"]
    swapped = pd.concat([rows("a", noisy(2.0, 1)), rows("b", noisy(1.0, 0))])
    assert verdict_of(swapped) == ["contradicted"]
    assert verdict_of(pd.concat([low, same])) == ["inconclusive"]
    assert verdict_of(low) == ["not run"]


def test_numbers_near_zero_are_compared_above_their_error() -> None:
    """A divergence that is nearly 0 has an error that is larger than itself; its logarithm alone says nothing."""
    tiny = rows("a", [1e-5, 2e-4, 3e-5, 1e-6, 5e-5]).assign(ci_low=-1e-3, ci_high=1e-3)
    large = rows("b", noisy(0.2, 1)).assign(ci_low=0.18, ci_high=0.22)
    assert verdict_of(pd.concat([tiny, large])) == ["reproduced"]


def test_equality_within_the_effect_of_interest() -> None:
    comparison = {"metric": "gap", "a": {"model": "a"}, "b": {"model": "b"}, "expect": "equal", "interest": 1.5}
    equal = claim(comparisons=[comparison])
    same = pd.concat([rows("a", noisy(1.0, 0)), rows("b", noisy(1.0, 1))])
    apart = pd.concat([rows("a", noisy(1.0, 0)), rows("b", noisy(3.0, 1))])
    assert verdict_of(same, equal) == ["reproduced"]
    assert verdict_of(apart, equal) == ["contradicted"]


def test_the_estimate_is_the_ratio_of_geometric_means() -> None:
    low, high = noisy(1.0, 0), noisy(2.0, 1)
    (record,) = judge([claim()], pd.concat([rows("a", low), rows("b", high)]), "quick")
    (part,) = record["comparisons"]
    expected = np.exp(np.log(low).mean() - np.log(high).mean())
    assert part["estimate"] == pytest.approx(expected, rel=1e-4)
    assert part["low"] < expected < part["high"] < 1
    assert part["a"]["values"]["0"] == low[0]


def test_only_the_steps_seeds_and_dataset_of_the_claim_count() -> None:
    low, high = rows("a", noisy(1.0, 0)), rows("b", noisy(2.0, 1))
    assert verdict_of(pd.concat([low, high.assign(budget="20 steps")])) == ["not run"]
    assert verdict_of(pd.concat([low, high.assign(dataset_id="grid25")])) == ["not run"]
    assert verdict_of(pd.concat([low, high.assign(superseded=True)])) == ["not run"]
    assert verdict_of(pd.concat([low, high.assign(outcome="diverged")])) == ["not run"]
    others = pd.concat([low.assign(seed=low["seed"] + 5), high.assign(seed=high["seed"] + 5)])
    assert verdict_of(others) == ["not run"]
    (record,) = judge([claim()], others, "quick", {"one": range(5, 10)})
    assert record["verdict"] == "reproduced"
    assert record["seeds"] == [5, 6, 7, 8, 9]


def test_what_is_missing_is_said() -> None:
    failed = rows("b", [np.nan] * 5, outcome="diverged")
    (record,) = judge([claim()], pd.concat([rows("a", noisy(1.0, 0)), failed]), "quick")
    assert record["why"] == "too few results: gap of b (diverged)"
    assert claim_finding(record) == record["why"]


def test_infinite_numbers_decide_nothing() -> None:
    bad = noisy(2.0, 1)
    bad[2] = np.inf
    assert verdict_of(pd.concat([rows("a", noisy(1.0, 0)), rows("b", bad)])) == ["inconclusive"]


def test_marks_stay_in_sight() -> None:
    frame = pd.concat([rows("a", noisy(1.0, 0)), rows("b", noisy(2.0, 1), marks="repeated: half of the points")])
    (record,) = judge([claim()], frame, "quick")
    assert record["marks"] == {"b": ["repeated: half of the points"]}


def test_all_comparisons_of_a_claim_must_hold() -> None:
    parts = [
        {"metric": "gap", "a": {"model": first}, "b": {"model": second}, "expect": "lower", "interest": 1.1}
        for first, second in (("a", "b"), ("b", "c"))
    ]
    chain = claim(comparisons=parts)
    ordered = pd.concat(
        [rows(label, noisy(mean, i)) for i, (label, mean) in enumerate(zip("abc", (1, 2, 4), strict=True))]
    )
    tied = pd.concat(
        [rows(label, noisy(mean, i)) for i, (label, mean) in enumerate(zip("abc", (1, 2, 2), strict=True))]
    )
    turned = pd.concat(
        [rows(label, noisy(mean, i)) for i, (label, mean) in enumerate(zip("abc", (1, 2, 1), strict=True))]
    )
    assert [verdict_of(frame, chain)[0] for frame in (ordered, tied, turned)] == [
        "reproduced",
        "inconclusive",
        "contradicted",
    ]


def test_claims_of_another_plugin_change_no_verdict() -> None:
    frame = pd.concat([rows("a", noisy(1.0, 0)), rows("b", noisy(1.25, 1))])
    mine = claim()
    (alone,) = judge([mine], frame, "quick")
    others = [Registered(claim(f"other-{i}").claim, "other") for i in range(30)]
    assert judge([mine, *others], frame, "quick")[0]["adjusted"] == alone["adjusted"]
    same = [Registered(claim(f"mine-{i}", models=[{"name": "x"}], comparisons=[
        {"metric": "gap", "a": {"model": "x"}, "b": {"model": "y"}, "expect": "lower", "interest": 1.1}
    ]).claim, "toy") for i in range(30)]  # fmt: skip
    assert judge([mine, *same], frame, "quick")[0]["adjusted"] > alone["adjusted"]


def test_the_trilemma_is_judged_by_all_criteria() -> None:
    models = ["a", "b", "c"]
    trilemma = claim(comparisons=[], no_leader={"arms": [{"model": m} for m in models], "criteria": ["gap", "cost"]})
    gap = [rows(m, noisy(mean, i)) for i, (m, mean) in enumerate(zip(models, (1, 2, 4), strict=True))]
    cost = [rows(m, [float(value)] * 5, metric="cost") for m, value in zip(models, (9, 5, 1), strict=True)]
    leads = [rows(m, [float(value)] * 5, metric="cost") for m, value in zip(models, (1, 5, 9), strict=True)]
    assert verdict_of(pd.concat([*gap, *cost]), trilemma) == ["reproduced"]
    assert verdict_of(pd.concat([*gap, *leads]), trilemma) == ["contradicted"]
    near = [rows(m, [value] * 5, metric="cost") for m, value in zip(models, (1.05, 5.0, 1.0), strict=True)]
    assert verdict_of(pd.concat([*gap, *near]), trilemma) == ["inconclusive"]  # 5 % more are not of interest
    assert isinstance(no_leader(np.full((2, 2, 2), 0.5)), Evidence)


def test_findings_say_what_would_decide() -> None:
    near = pd.concat([rows("a", noisy(1.0, 0)), rows("b", noisy(1.15, 1, deviation=0.2))])
    (record,) = judge([claim()], near, "quick")
    assert record["verdict"] == "inconclusive"
    assert f"about {record['needed']} seeds would decide" in claim_finding(record)
    assert claim_tally([record, record]) == "2 inconclusive"


def test_every_kind_of_check_has_its_words() -> None:
    assert tuple(CHECKED) == get_args(Checked)
    about = {"citation": "Nobody 2000", "place": "table 1"}
    said = {claim_source({**about, "checked": checked}) for checked in CHECKED}
    assert len(said) == len(CHECKED)
    assert "Nobody 2000, table 1 (not checked)" in said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"comparisons": []}, "either comparisons or no_leader"),
        ({"checked": "the abstract"}, "secondary source"),
        ({"seeds": {"quick": 4, "full": 5}}, "at least 5 seeds"),
        ({"comparisons": [{"metric": "gap", "a": {"model": "a"}, "b": {"model": "b"}, "expect": "lower",
                           "interest": 0.5}]}, "factor above 1"),
        ({"comparisons": [{"a": {"model": "a"}, "b": {"model": "b"}, "expect": "lower", "interest": 2}]}, "no metric"),
    ],
)  # fmt: skip
def test_records_that_cannot_be_tested_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        claim(**changes)


def at_points(shift: float, points: Any, seed: int) -> pd.DataFrame:
    """An arm over five seeds whose value is a mean over test points, with the interval that these give."""
    values = 2.0 + shift + 0.002 * np.random.default_rng(seed).normal(size=5)
    half = 1.96 * points.std() / len(points) ** 0.5
    blocks = points.reshape(32, -1).mean(1)
    details = [json.dumps({"block_means": (blocks - blocks.mean() + value).tolist()}) for value in values]
    frame = rows("a" if seed == 0 else "b", values)
    return frame.assign(ci_low=values - half, ci_high=values + half, details=details, n=len(points))


def two_at_points() -> tuple[pd.DataFrame, pd.DataFrame, Registered]:
    """Two arms that differ by less than the error of the points, and a claim about their difference."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=320)  # how hard a point is, for both arms
    one, other = at_points(-0.03, points, 0), at_points(0.0, points + 0.05 * rng.normal(size=320), 1)
    sides = {"a": {"model": "a"}, "b": {"model": "b"}}
    comparison = {"metric": "gap", **sides, "expect": "lower", "scale": "difference", "interest": 0.02}
    return one, other, claim(comparisons=[comparison])


def test_differences_at_the_same_test_points_are_paired() -> None:
    one, other, of = two_at_points()
    (found,) = judge((of,), pd.concat([one, other]), "quick")
    assert found["verdict"] == "reproduced"
    assert found["comparisons"][0]["high"] - found["comparisons"][0]["low"] < 0.03
    # Results without means over blocks, as older ones, are compared by their intervals.
    assert verdict_of(pd.concat([one, other.assign(details="{}")]), of) == ["inconclusive"]
    assert verdict_of(pd.concat([one.drop(columns="details"), other]), of) == ["inconclusive"]


def test_other_points_are_not_paired() -> None:
    one, other, of = two_at_points()
    one, other = one.assign(data_id="x"), other.assign(data_id="x")
    assert verdict_of(pd.concat([one, other]), of) == ["reproduced"]
    unlike: list[dict[str, Any]] = [{"n": 640}, {"n": np.nan}, {"data_id": "y"}, {"data_id": list("xxxxy")}]
    for changes in unlike:
        assert verdict_of(pd.concat([one, other.assign(**changes)]), of) == ["inconclusive"], changes
    both = pd.concat([one, other]).assign(n=np.nan)
    assert verdict_of(both, of) == ["inconclusive"], "nothing says that the points are the same"


@pytest.mark.parametrize("means", [3, "means", [0.1], [0.1] * 31 + ["x"], [[0.1] * 32], [0.1] * 31 + [np.nan], None])
def test_means_over_blocks_of_another_form_are_not_used(means: Any) -> None:
    one, other, of = two_at_points()
    odd = other.assign(details=[json.dumps({"block_means": means})] * 5)
    assert verdict_of(pd.concat([one, odd]), of) == ["inconclusive"]
    assert verdict_of(pd.concat([one.assign(details=odd["details"]), odd]), of) == ["inconclusive"]


def test_rows_that_give_no_value_give_no_blocks() -> None:
    one, other, of = two_at_points()
    (expected,) = judge((of,), pd.concat([one, other]), "quick")
    wrong = one.iloc[:1].assign(details=json.dumps({"block_means": [9.0] * 16 + [-9.0] * 16}))
    # Of a seed that is there twice the last row counts, and no row without a value.
    again = pd.concat([wrong.assign(value=7.0), one, wrong.assign(value=np.nan), other])
    assert judge((of,), again, "quick") == [expected]
