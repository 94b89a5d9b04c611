"""The built-in claims: their files are valid, and what they compare is what their suites plan."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from trilemma.harness.claims.record import Claim
from trilemma.harness.claims.registry import registered_claims
from trilemma.harness.planning.choices import Resolved
from trilemma.harness.planning.resolve import resolve
from trilemma.harness.planning.suite import read_document
from trilemma.harness.plugins import Registry

FAMILIES = {
    *("flows", "vae", "score-matching", "diffusion", "samplers", "gan", "restoration", "sobolev-descent", "trilemma"),
}


@cache
def registry() -> Registry:
    return Registry(builtin_only=True)


@cache
def claims() -> dict[str, Claim]:
    return {each.claim.name: each.claim for each in registered_claims(registry())}


def test_every_family_has_claims() -> None:
    assert len(claims()) >= 30
    assert {claim.family for claim in claims().values()} == FAMILIES


def test_claims_about_samplers_say_which_score_they_use() -> None:
    sampling = [claim for claim in claims().values() if claim.family == "samplers"]
    assert all(claim.score for claim in sampling)
    for claim in sampling:
        if claim.score == "exact":
            assert any(other.score == "learned" and other.place == claim.place for other in sampling), claim.name


@cache
def resolved(name: str) -> Resolved:
    claim = claims()[name]
    return resolve(read_document(claim.suite("quick", claim.seed_list("quick"))), registry())


@pytest.mark.parametrize("name", sorted(claims()))
def test_what_a_claim_compares_is_planned_by_its_suite(name: str) -> None:
    claim = claims()[name]
    suite = resolved(name)
    assert suite.suite.budget.steps == claim.steps.quick
    models = {choice.label: choice for choice in suite.models}
    datasets = {choice.label: choice.name for choice in suite.datasets}
    quantities = {
        quantity.name: cls.stage
        for metric in suite.metrics
        for cls in [registry().get("metrics", metric.name)]
        for quantity in cls.quantities
    }
    for arm, metric in claim.arms:
        model = models[arm.model]
        assert metric in quantities
        assert arm.dataset in datasets or (not arm.dataset and len(datasets) == 1)
        settings = {choice.label for choice in model.samplers}
        if quantities[metric] in ("likelihood", "training"):
            settings = {choice.label for choice in model.likelihoods} or {""}
        assert arm.sampler in settings, f"{arm.model} is evaluated at {sorted(settings)}"


def test_no_comparison_is_of_an_arm_with_itself() -> None:
    for claim in claims().values():
        for comparison in claim.comparisons:
            assert comparison.a != comparison.b


def test_claims_that_share_cells_call_them_by_one_name() -> None:
    """A cell has one label in the run directory, by which claims find its results."""
    labels: dict[str, set[Any]] = {}
    for name in claims():
        suite = resolved(name)
        for dataset, model in suite.pairs:
            trained = [dataset.label, model.name, model.config, model.recipe, suite.suite.budget.steps]
            labels.setdefault(json.dumps(trained), set()).add(model.label)
            for setting in (*model.samplers, *model.likelihoods):
                evaluated = json.dumps([trained, setting.name, setting.config])
                labels.setdefault(evaluated, set()).add(setting.label)
            whole = [trained, "likelihoods", "nll" in {metric.name for metric in suite.metrics}]
            labels.setdefault(json.dumps(whole), set()).add(tuple(choice.label for choice in model.likelihoods))
    assert not {key: found for key, found in labels.items() if len(found) > 1}


def test_claims_that_share_a_line_of_the_table_measure_it_alike() -> None:
    """Two settings of a metric give two numbers for one line, of which the run directory lists the latest alone."""
    settings: dict[tuple[str, ...], set[str]] = {}
    for name, claim in claims().items():
        suite = resolved(name)
        measured = {metric.name: json.dumps(metric.config, sort_keys=True) for metric in suite.metrics}
        for dataset, model in suite.pairs:
            for setting in (*model.samplers, *model.likelihoods):
                for metric, config in measured.items():
                    line = (dataset.label, model.label, setting.label, str(claim.steps.quick), metric)
                    settings.setdefault(line, set()).add(config)
    assert not {line: found for line, found in settings.items() if len(found) > 1}
