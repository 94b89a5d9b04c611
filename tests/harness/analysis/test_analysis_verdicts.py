"""Verdicts as records, comparisons of two models, and the summary over datasets."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import trilemma
from trilemma.harness.analysis.overall import signed_rank

Seeds = Callable[..., list[dict[str, Any]]]
NEAR, FAR = (1.0, 1.02, 0.98), (5.0, 5.1, 4.9)


def verdict(rows: list[dict[str, Any]], criterion: str = "quality") -> dict[str, Any]:
    found = [v for v in trilemma.verdicts(pd.DataFrame(rows)) if v["criterion"] == criterion]
    assert len(found) == 1
    return found[0]


@pytest.fixture
def cost(seeds: Seeds) -> Seeds:
    """Results of a cost of one model, the same for three seeds: `cost(label, value, name="nfe")`."""
    about = {"group": "sampling", "ci_low": None, "ci_high": None, "n": None, "noise": None}
    return lambda label, value, name="nfe": seeds(label, value, value, value, metric=name, **about)


def test_a_verdict_names_leader_best_and_resolution(seeds: Seeds) -> None:
    said = verdict([*seeds("a", *NEAR), *seeds("b", 1.01, 0.97, 1.05), *seeds("c", *FAR)])
    assert said["leader"] == {"label": "a", "sampler": "heun"}
    assert {line["label"] for line in said["best"]} == {"a", "b"}
    assert (said["seeds"], said["n"], said["budget"], said["device"]) == (3, 500, "10 s", "cpu")
    assert said["scale"] == "ratio"
    assert 1 < said["resolution"] < 5
    assert {line["label"]: line["best"] for line in said["lines"]} == {"a": True, "b": True, "c": False}
    json.dumps(said)


def test_with_one_seed_nothing_is_concluded_and_the_verdict_says_so(seeds: Seeds) -> None:
    said = verdict([*seeds("a", 1.0), *seeds("b", 9.0)])
    assert said["leader"] is None
    assert said["best"] == []
    assert said["note"] == "one seed: no comparison of models"
    assert len(said["lines"]) == 2


def test_controls_ahead_and_level_are_named_and_those_with_the_truth_are_not(seeds: Seeds) -> None:
    said = verdict([
        *seeds("net", *NEAR), *seeds("gmm", 0.1, 0.11, 0.09, control=True),
        *seeds("kde", 1.0, 0.99, 1.01, control=True),
        *seeds("gaussian", *FAR, control=True), *seeds("oracle", 0, 0.01, 0, control=True, truth=True),
    ])  # fmt: skip
    assert said["controls_ahead"] == ["gmm"]
    assert said["controls_level"] == ["kde"]
    assert said["leader"]["label"] == "net"


def test_marked_rows_are_listed_with_their_reasons_and_lead_nowhere(seeds: Seeds) -> None:
    said = verdict([*seeds("copier", 0, 0.01, 0, marks="copies test points"), *seeds("net", *NEAR), *seeds("b", *FAR)])
    assert said["marked"] == {"copier, heun": ["copies test points"]}
    assert said["leader"]["label"] == "net"


def test_a_cost_verdict_is_among_the_best_in_quality(seeds: Seeds, cost: Seeds) -> None:
    rows = [*seeds("noise", *FAR), *seeds("good", *NEAR), *seeds("slow", *NEAR)]
    rows += [*cost("noise", 0.5), *cost("good", 10), *cost("slow", 50)]
    said = verdict(rows, "cost:nfe")
    assert said["leader"]["label"] == "good"
    assert [line["label"] for line in said["best"]] == ["good"]


def test_the_front_of_quality_and_cost_leaves_out_what_is_worse_in_both(seeds: Seeds, cost: Seeds) -> None:
    rows = [
        *seeds("good", *NEAR),
        *seeds("bad", *FAR),
        *seeds("cheap", 3, 3.1, 2.9),
        *seeds("gmm", 0, 0, 0, control=True),
    ]
    rows += [*cost("good", 10), *cost("bad", 50), *cost("cheap", 1), *cost("gmm", 0.1)]
    said = verdict(rows, "cost:nfe")
    assert [(line["label"], line["share"]) for line in said["front"]] == [("cheap", 1.0), ("good", 1.0)]
    even = [*seeds("a", 1.0, 2.0, 3.0), *seeds("b", 1.1, 2.2, 2.9), *cost("a", 1), *cost("b", 2)]
    shares = {line["label"]: line["share"] for line in verdict(even, "cost:nfe")["front"]}
    assert shares["a"] == 1.0
    assert 0.2 < shares["b"] < 0.8, "whether b is worse in both depends on the seeds"


def test_a_rotten_timing_is_compared_over_its_visits(seeds: Seeds, cost: Seeds) -> None:
    rows = [*seeds("a", *NEAR), *seeds("b", *NEAR), *seeds("c", *NEAR)]
    for label, visits in (("a", [1.0, 1.2, 0.9]), ("b", [1.1, 1.0, 1.2]), ("c", [9.0, 9.5, 8.8])):
        one = cost(label, float(np.mean(visits)), "seconds_per_1k")[:1]
        rows += [{**one[0], "details": json.dumps({"visits": visits})}]
    said = verdict(rows, "cost:seconds_per_1k")
    assert {line["label"] for line in said["best"]} == {"a", "b"}


def test_nothing_is_the_fastest_where_a_time_of_a_contender_was_disturbed(seeds: Seeds, cost: Seeds) -> None:
    rows = [*seeds("a", *NEAR), *seeds("b", *NEAR), *seeds("bad", *FAR)]
    for label, value in (("a", 1.0), ("b", 2.0), ("bad", 3.0)):
        rows += cost(label, value, "seconds_per_1k")[:1]
    assert verdict(rows, "cost:seconds_per_1k")["leader"]["label"] == "a"
    disturbed = json.dumps({"contended": True})
    rows[-1]["details"] = disturbed
    assert verdict(rows, "cost:seconds_per_1k")["leader"]["label"] == "a", "not one of the best in quality"
    rows[-2]["details"] = disturbed
    said = verdict(rows, "cost:seconds_per_1k")
    assert said["leader"] is None
    assert "other work ran" in said["note"]


def test_likelihood_criteria_name_kind_and_base(seeds: Seeds) -> None:
    rows = []
    for label, kind, base in (("f", "exact", "continuous"), ("g", "exact", "dequantized"), ("s", "ode", "continuous")):
        about = {"metric": "nll", "sampler": None, "group": "likelihood", "likelihood": kind}
        rows += seeds(label, *NEAR, **about, details=json.dumps({"base": base}))
    names = {v["criterion"] for v in trilemma.verdicts(pd.DataFrame(rows))}
    assert names == {"likelihood:exact", "likelihood:exact (dequantized)", "likelihood:ode"}


def test_two_models_are_compared_at_the_cost_of_what_is_best_in_quality(seeds: Seeds, cost: Seeds) -> None:
    rows = [*seeds("a", *NEAR), *seeds("b", *NEAR), *seeds("b", *FAR, sampler="noise")]
    rows += [*cost("a", 5), *cost("b", 50), *({**each, "sampler": "noise"} for each in cost("b", 1))]
    found = {record["criterion"]: record for record in trilemma.compare(pd.DataFrame(rows), "b", "a")}
    assert found["cost:nfe"]["a"]["sampler"] == "heun"
    assert found["cost:nfe"]["better"] == "a"
    disturbed = [each | {"details": json.dumps({"contended": True})} for each in rows]
    found = {record["criterion"]: record for record in trilemma.compare(pd.DataFrame(disturbed), "b", "a")}
    assert found["cost:nfe"]["better"] == ""
    assert "other work ran" in found["cost:nfe"]["note"]
    with pytest.raises(trilemma.DataError, match="itself"):
        trilemma.compare(pd.DataFrame(rows), "a", "a")


def test_older_results_are_superseded_and_other_sample_sizes_stand_apart(seeds: Seeds) -> None:
    rows = [*seeds("a", *NEAR), *seeds("b", *FAR), *seeds("a", 0, 0, 0, superseded=True), *seeds("c", 0, 0, 0, n=50)]
    said = verdict(rows)
    assert said["superseded"] == ["a"]
    assert said["apart"] == [{"label": "c", "sampler": "heun"}]
    assert said["leader"]["label"] == "a"
    assert {line["label"] for line in said["lines"]} == {"a", "b"}


def test_two_models_are_compared_by_every_criterion_of_both(seeds: Seeds, cost: Seeds) -> None:
    frame = pd.DataFrame(
        [*seeds("a", *NEAR), *seeds("b", *FAR), *seeds("c", 2, 2.2, 1.8), *cost("a", 9), *cost("b", 1)]
    )
    quality, nfe = trilemma.compare(frame, "a", "b")
    assert (quality["criterion"], quality["better"], quality["note"]) == ("quality", "a", "")
    assert quality["p_value"] < 0.01
    assert (nfe["criterion"], nfe["better"]) == ("cost:nfe", "b")
    assert trilemma.compare(pd.DataFrame([*seeds("a", 1.0), *seeds("b", 9.0)]), "a", "b")[0]["better"] == ""
    with pytest.raises(trilemma.DataError, match="no model 'x'; they hold a, b, c"):
        trilemma.compare(frame, "a", "x")
    with pytest.raises(trilemma.DataError, match="no criterion in common"):
        trilemma.compare(pd.DataFrame([*seeds("a", *NEAR), *seeds("b", *FAR, dataset_id="x")]), "a", "b")


def test_the_summary_over_datasets_orders_models_and_leaves_out_the_incomplete(seeds: Seeds) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(6):
        place = {"dataset_id": f"data{number}"}
        for label, size in (("good", 0.5), ("bad", 4.0), ("once", 1.0)):
            if label != "once" or number == 0:
                rows += seeds(label, *(size * (1 + number) * np.exp(0.1 * rng.standard_normal(3))), **place)
    (said,) = trilemma.overall(pd.DataFrame(rows))
    assert [line["label"] for line in said["models"]] == ["good", "bad"]
    assert said["left_out"] == ["once"]
    assert len(said["datasets"]) == 6
    (pair,) = said["pairs"]
    assert (pair["better"], pair["than"]) == ("good", "bad")
    assert pair["probability_of_improvement"] == 1.0
    assert pair["practically"]["better"] > 0.95
    few = [row for row in rows if row["dataset_id"] in ("data0", "data1")]
    assert trilemma.overall(pd.DataFrame(few))[0]["pairs"][0]["practically"] is None
    assert trilemma.overall(pd.DataFrame(rows[:6])) == [], "one dataset is no summary"


def test_the_bayesian_signed_rank_test_knows_sides_and_equivalence() -> None:
    low, middle, high = signed_rank(np.full(8, 3.0), 1.0)
    assert high > 0.95
    assert low + middle + high == pytest.approx(1.0)
    assert signed_rank(np.full(8, -3.0), 1.0)[0] == pytest.approx(high, abs=0.02)
    assert signed_rank(np.full(8, 0.1), 1.0)[1] > 0.99
    even = signed_rank(np.array([-3.0, 3.0, -3.0, 3.0, -3.0, 3.0]), 0.0)
    assert even[0] == pytest.approx(even[2], abs=0.05)
