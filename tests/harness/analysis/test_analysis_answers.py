"""Answers in sentences, and what must not change them: tricks of models and of metrics."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import trilemma
from trilemma.harness.analysis.moderated import Arms
from trilemma.harness.analysis.verdicts import CONTROL_LEVEL
from trilemma.harness.analysis.wording import number

Seeds = Callable[..., list[dict[str, Any]]]
NEAR, FAR = (1.0, 1.02, 0.98), (5.0, 5.1, 4.9)


@pytest.fixture
def cost(seeds: Seeds) -> Seeds:
    """Results of a cost of one model for several seeds."""
    about = {"metric": "nfe", "title": "NFE", "group": "sampling", "noise": None, "n": None}
    about |= {"ci_low": None, "ci_high": None}
    return lambda label, *values, **more: seeds(label, *values, **{**about, **more})


def lines_of(*rows: list[dict[str, Any]]) -> list[Any]:
    """The lines of the only answer."""
    judged = trilemma.judge(pd.DataFrame([row for part in rows for row in part]))
    (answer,) = trilemma.answers(judged.summary, trilemma.verdicts(judged))
    return list(answer.lines)


def said(*rows: list[dict[str, Any]]) -> dict[str, str]:
    return {line.heading: line.text for line in lines_of(*rows)}


def best(*rows: list[dict[str, Any]]) -> set[str]:
    frame = pd.DataFrame([row for part in rows for row in part])
    (verdict,) = [v for v in trilemma.verdicts(frame) if v["criterion"] == "quality"]
    return {line["label"] for line in verdict["best"]}


def test_a_model_that_varies_too_much_is_not_called_as_good_as_the_best(seeds: Seeds) -> None:
    steady, wild = seeds("steady", 0.01, 0.011, 0.009), seeds("wild", 0.001, 10, 1000)
    sentence = said(steady, wild, seeds("far", *NEAR))["Best quality"]
    assert sentence.startswith("steady: at the floor")
    assert sentence.endswith("; undecided, because values vary too much: wild [heun] has 337")
    both = said(steady, seeds("near", 0.0101, 0.0111, 0.0091))["Best quality"]
    assert both.endswith("not distinguishable")


def test_models_with_failed_seeds_are_named(seeds: Seeds) -> None:
    fewer = said(seeds("net", *NEAR), seeds("lucky", 0.1, 0.11), seeds("far", *FAR))["Fewer seeds than others"]
    assert fewer == "lucky (2 of 3, not ranked)"
    assert said(seeds("net", *NEAR, 1, 1), seeds("b", *NEAR))["Fewer seeds than others"] == "b (3 of 5)"
    assert "Fewer seeds than others" not in said(seeds("net", *NEAR), seeds("b", *FAR))


def test_models_with_another_number_of_points_are_named(seeds: Seeds) -> None:
    sentences = said(seeds("net", *NEAR), seeds("b", *FAR), seeds("few", 0, 0, 0, n=50))
    assert sentences["Other numbers of points, not ranked"] == "few [heun]"
    assert sentences["Best quality"].startswith("net:")


def test_the_resolution_is_that_of_models_and_not_of_their_settings(seeds: Seeds) -> None:
    rows = seeds("net", *NEAR), seeds("b", 1.3, 1.2, 1.4)
    settings = [seeds("net", *FAR, sampler=f"slow{i}") for i in range(8)]
    alone = said(*rows)["This table can tell apart"]
    assert alone.startswith("a factor of 1.")
    assert alone.endswith("with 3 seeds, in about half of the cases")
    few = [v["resolution"] for v in trilemma.verdicts(pd.DataFrame([row for part in rows for row in part]))]
    many = [v["resolution"] for v in trilemma.verdicts(pd.DataFrame([r for part in (*rows, *settings) for r in part]))]
    assert many[0] < 1.1 * few[0]


def test_the_only_model_is_called_so_and_the_only_one_that_is_not_marked_too(seeds: Seeds) -> None:
    assert said(seeds("net", *NEAR))["Best quality"].startswith("net (the only model):")
    sentences = said(seeds("net", *NEAR), seeds("copier", 0, 0, 0, marks="copies"))
    assert sentences["Best quality"].startswith("net (the only model that is ranked):")
    assert sentences["Marked and not ranked"] == "copier"


def test_marked_settings_of_a_model_can_be_told_from_the_names_of_models(seeds: Seeds) -> None:
    rows = seeds("net", *NEAR, sampler="a(x=1, y=2)", marks="repeats"), seeds("net", *NEAR, sampler="b")
    assert said(*rows, seeds("c", *FAR))["Marked and not ranked"] == "net [a(x=1, y=2)]"


def test_costs_that_cannot_be_told_apart_are_given_as_a_range_and_disturbed_ones_with_the_reason(
    seeds: Seeds, cost: Seeds
) -> None:
    quality = seeds("a", *NEAR), seeds("b", *NEAR)
    times = {"metric": "time", "title": "Time", "unit": "s"}
    visits = [
        cost(label, values[0], **times, details=json.dumps({"visits": values}))
        for label, values in (("a", [0.010, 0.012, 0.011]), ("b", [0.011, 0.010, 0.013]))
    ]
    assert said(*quality, *visits)["Cheapest of these"] == "a [heun] and b [heun]: Time 10 to 11 ms"
    disturbed = [cost(label, 1.0, **times, details=json.dumps({"contended": True})) for label in "ab"]
    assert "other work ran" in said(*quality, *disturbed)["Least Time of these"]


def test_values_are_multiples_of_the_floor_with_their_intervals(seeds: Seeds) -> None:
    net, far = lines_of(seeds("net", *NEAR), seeds("far", *FAR))[0].parts, seeds("far", *FAR)
    (number,) = [part for part in net if not isinstance(part, str)]
    assert number.text == "10 × floor"
    low, high = map(float, number.interval.split(" to "))
    assert low < 10 < high
    assert "Energy 1.0" in number.about
    assert "95 % interval over 3 seeds" in number.about
    assert "the floor is 0.1" in number.about
    plain = said(*[[row | {"noise": None} for row in rows] for rows in (seeds("net", *NEAR), far)])
    assert plain["Best quality"].startswith("net: Energy 1.0")


def test_ties_are_said_to_be_ties_and_the_leader_comes_first(seeds: Seeds) -> None:
    sentence = said(seeds("b", 1.15, 1.2, 1.25), seeds("a", 1.0, 1.2, 1.1), seeds("far", *FAR))["Best quality"]
    assert sentence.startswith("a 11 × floor")
    assert " and b 12 × floor" in sentence
    assert sentence.endswith(", not distinguishable")
    assert "far" not in sentence
    crowd = said(*(seeds(f"m{i}", *NEAR) for i in range(9)))["Best quality"]
    assert " and 3 more, not distinguishable" in crowd


def test_the_cheapest_is_chosen_among_the_best_and_has_all_its_costs(seeds: Seeds, cost: Seeds) -> None:
    train = {"metric": "fit", "title": "Fit", "group": "training", "unit": "s", "place": "main", "ranks": False}
    rows = [
        *(seeds("slow", *NEAR), seeds("fast", *NEAR), seeds("bad", *FAR)),
        *(cost("slow", 35.0, 35.0, 35.0), cost("fast", 4.0, 4.0, 4.0), cost("bad", 1.0, 1.0, 1.0)),
        *(cost(name, 10.0, 10.0, 10.0, **train, sampler="") for name in ("slow", "fast", "bad")),
    ]
    sentences = said(*rows)
    assert sentences["Cheapest of these"] == "fast [heun]: NFE 4, trained in 10 s"
    assert not any(heading.startswith("Nearly as good") for heading in sentences)


@pytest.mark.parametrize(("value", "price", "named"), [(1.5, 4.0, True), (3.0, 4.0, False), (1.5, 20.0, False)])
def test_a_model_that_is_nearly_as_good_is_named_if_it_is_clearly_cheaper(
    seeds: Seeds, cost: Seeds, value: float, price: float, named: bool
) -> None:
    near = seeds("near", value, value * 1.001, value * 0.999)
    sentences = said(seeds("net", *NEAR), cost("net", 35.0, 35.0), near, cost("near", price, price))
    assert sentences["Best quality"].startswith("net: ")
    assert ("Nearly as good, cheapest" in sentences) is named
    marked = [row | {"marks": "copies"} for row in near]
    assert "Nearly as good, cheapest" not in said(
        *(seeds("net", *NEAR), cost("net", 35.0, 35.0), marked, cost("near", price, price))
    )


def test_controls_that_beat_every_model_come_first_and_equal_ones_are_out_of_reach(seeds: Seeds) -> None:
    net = seeds("net", *NEAR), seeds("b", *FAR)
    ahead = lines_of(*net, seeds("gmm", 0.05, 0.05, 0.05, control=True))
    assert ahead[0].heading == "Controls ahead"
    assert ahead[0].text.startswith("gmm (at the floor")
    assert ahead[0].text.endswith(" beats every model in quality")
    level = said(*net, seeds("gmm", *NEAR, control=True))
    assert "Controls ahead" not in level
    assert level["Out of reach"].startswith("no model reaches the floor; the best has 10 × floor")
    assert level["Out of reach"].endswith("; no model is better than gmm beyond chance")
    assert "Out of reach" not in said(seeds("net", 0.01, 0.02, 0.03), seeds("b", *FAR))


def test_one_seed_gives_values_and_no_comparison(seeds: Seeds, cost: Seeds) -> None:
    kind = {"metric": "gap", "title": "Gap", "group": "likelihood", "likelihood": "exact", "noise": None}
    lines = lines_of(seeds("b", 2.0), seeds("a", 1.0), seeds("a", 0.5, **kind, sampler=""), cost("a", 3.0))
    texts = {line.heading: line.text for line in lines}
    assert texts["Best quality"] == "one seed: no comparison of models"
    assert texts["Quality"].startswith("a 10 × floor (9.9 to 10) and b 20 × floor")
    assert texts["Likelihood (exact)"].startswith("a Gap 0.50")
    assert sum("no comparison" in line.text for line in lines) == 1
    assert not {"Cheapest of these", "Its cost", "Out of reach", "This table can tell apart"} & set(texts)


def test_each_kind_of_likelihood_has_a_sentence_of_its_own_and_none_without_likelihood(seeds: Seeds) -> None:
    gap = {"metric": "gap", "title": "Gap", "group": "likelihood", "unit": "nats", "noise": None, "sampler": ""}
    exact = (
        seeds("flow", 0.3, 0.31, 0.29, **gap, likelihood="exact"),
        seeds("kde", 2, 2.1, 2.2, **gap, likelihood="exact"),
    )
    ode = seeds("net", 0.1, 0.11, 0.09, **gap, likelihood="ode")
    sentences = said(seeds("flow", *NEAR), seeds("net", *FAR), *exact, ode)
    assert sentences["Best likelihood (exact)"].startswith("flow: Gap 0.3")
    assert " nats (" in sentences["Best likelihood (exact)"]
    assert sentences["Best likelihood (ODE)"].startswith("net (the only model): Gap 0.1")
    assert not any("ikelihood" in heading for heading in said(seeds("flow", *NEAR), seeds("net", *FAR)))


def test_negative_numbers_have_the_plain_sign(seeds: Seeds) -> None:
    gap = {"metric": "nll", "title": "NLL", "group": "likelihood", "place": "first", "sampler": "", "least": None}
    gap |= {"noise": None, "likelihood": "exact", "unit": "nats"}
    rows = [seeds("a", *NEAR), seeds("b", *FAR), seeds("a", -2.5, -2.51, -2.49, **gap), seeds("b", 3, 3.1, 2.9, **gap)]
    sentence = said(*rows)["Best likelihood (exact)"]
    assert re.search(r"a.* -2\.50* nats \(-2\.\d+ to -2\.\d+\)", sentence), sentence
    assert number(-math.inf) == "-infinite"


def test_each_budget_has_an_answer_of_its_own(seeds: Seeds) -> None:
    frame = pd.DataFrame([*seeds("net", *NEAR), *seeds("net", *FAR, budget="20 s")])
    found = trilemma.answers(trilemma.summary_rows(frame), trilemma.verdicts(frame))
    assert [answer.where for answer in found] == ["10 s, cpu", "20 s, cpu"]
    assert found[0].lines[0].text != found[1].lines[0].text


@pytest.mark.parametrize("visits", [[0.0, 0.0, 0.0], ["x", "y"], [None, 1]])
def test_details_that_a_model_writes_do_not_change_what_is_compared(seeds: Seeds, visits: list[Any]) -> None:
    told = json.dumps({"visits": visits, "contended": True})
    assert best(seeds("net", *NEAR), seeds("trick", *FAR, details=told)) == {"net"}


def test_a_number_of_visits_that_is_no_number_is_no_visit(seeds: Seeds, cost: Seeds) -> None:
    rows = cost("net", 3.0, details=json.dumps({"visits": ["x", "y"]}))
    assert "net" in said(seeds("net", *NEAR), rows)["Its cost"]


@pytest.mark.parametrize("value", [math.inf, -math.inf])
@pytest.mark.parametrize("better", ["lower", "higher"])
def test_an_infinite_value_of_one_seed_takes_a_model_out(seeds: Seeds, value: float, better: str) -> None:
    good, other = (NEAR, FAR) if better == "lower" else (FAR, NEAR)
    odd = (good[0], good[1], value)
    rows = [*seeds("net", *good), *seeds("b", *other), *seeds("odd", *odd)]
    rows = [row | {"better": better, "least": None} for row in rows]
    assert best(rows) == {"net"}
    summary = trilemma.summary_rows(pd.DataFrame(rows)).set_index("label")
    assert summary.at["odd", "value"] == value


def test_an_interval_without_bounds_is_no_interval(seeds: Seeds) -> None:
    assert best(seeds("net", *NEAR), seeds("far", *FAR, ci_low=-math.inf, ci_high=math.inf)) == {"net"}


@pytest.mark.parametrize("noise", [1e300, math.inf])
def test_the_noise_of_one_row_does_not_hide_differences(seeds: Seeds, noise: float) -> None:
    assert best(seeds("net", *NEAR), seeds("far", *FAR, noise=noise)) == {"net"}


def test_values_that_do_not_differ_on_the_scale_make_no_common_variance() -> None:
    arms = Arms([np.array(v) for v in (NEAR, FAR, (2.0, 2.1, 2.2))], np.zeros(3), offset=1e300)
    assert arms.not_worse([0, 1, 2])[1] == [0, 1, 2]
    assert arms.prior == (0.0, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("models", [2, 8])
def test_a_control_as_good_as_all_models_is_seldom_called_worse(seeds: Seeds, models: int) -> None:
    """The leader is the best of several models by chance, which must not make it better than the control."""
    rng = np.random.default_rng(models)
    count, wrong = 60, 0
    for _ in range(count):
        values = np.exp(rng.standard_normal((models + 1, 3)) / 3)
        rows = [seeds(f"net{i}", *own) for i, own in enumerate(values[1:])]
        frame = pd.DataFrame([*seeds("gmm", *values[0], control=True), *(row for part in rows for row in part)])
        (verdict,) = trilemma.verdicts(frame)
        wrong += not (verdict["controls_level"] or verdict["controls_ahead"])
    assert wrong / count <= CONTROL_LEVEL + 2.5 * math.sqrt(CONTROL_LEVEL * (1 - CONTROL_LEVEL) / count)
