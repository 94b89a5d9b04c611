"""The cells of a suite and their identities."""

from __future__ import annotations

from typing import Any

import pytest

import trilemma
from trilemma.harness.planning.cell import Cell, data_id, plan
from trilemma.harness.planning.resolve import resolve
from trilemma.harness.planning.suite import read_document
from trilemma.harness.plugins import Registry


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(builtin_only=True)


CARD = {"sha256": "a", "kind": "image", "shape": [1, 8, 8], "levels": 17, "logit_alpha": 1e-3}


def cells(registry: Registry, card: dict[str, Any] = CARD, **changes: Any) -> list[Cell]:
    suite = {
        "name": "s",
        "budget": {"steps": 10},
        "datasets": [{"name": "digits"}],
        "models": [{"name": "gaussian"}],
        "metrics": {"nll": {}, "wasserstein": {}},
        **changes,
    }
    resolved = resolve(read_document(suite), registry)
    return plan(resolved, {data_id(dataset): card for dataset in resolved.datasets}, "cpu")


@pytest.mark.parametrize(
    "change", [{"sha256": "b"}, {"levels": 18}, {"logit_alpha": 0.05}, {"kind": "vector"}, {"shape": [64]}]
)
def test_data_and_its_way_to_model_space_are_in_the_identity(registry: Registry, change: dict[str, Any]) -> None:
    assert cells(registry)[0].id == cells(registry)[0].id
    assert cells(registry)[0].id != cells(registry, CARD | change)[0].id


def test_the_options_of_a_dataset_are_in_the_identity_of_evaluations(registry: Registry) -> None:
    # Equal points with another density: the training is the same, what is compared with the density is not.
    plain, other = (
        cells(registry, datasets=[{"name": "moons", "config": {"noise": noise}}])[0] for noise in (0.05, 0.051)
    )
    assert plain.id == other.id
    assert not {e.id for e in plain.evaluations} & {e.id for e in other.evaluations}


@pytest.mark.parametrize(
    "changes",
    [
        {"models": [{"name": "gaussian"}, {"name": "gaussian", "config": {"jitter": 1e-6}}]},
        {"models": [{"name": "vp-sde", "samplers": [{"name": "heun"}, {"name": "heun", "steps": 18}]}]},
    ],
    ids=["models", "samplers"],
)
def test_a_setting_that_stands_in_a_suite_twice_is_refused(registry: Registry, changes: dict[str, Any]) -> None:
    with pytest.raises(trilemma.SuiteError, match="are the same"):
        cells(registry, **changes)


def test_datasets_with_the_same_data_are_refused(registry: Registry) -> None:
    with pytest.raises(trilemma.SuiteError, match="options and data"):
        cells(registry, datasets=[{"name": "moons", "config": {"noise": [0.05, 0.06]}}])


def test_times_are_evaluations_of_their_own_for_the_first_seed(registry: Registry) -> None:
    def planned(**metrics: Any) -> dict[tuple[int, str], str]:
        found = cells(registry, metrics=metrics, seeds=[3, 1])
        return {(cell.seed, each.stage): each.id for cell in found for each in cell.evaluations}

    both = planned(wasserstein={}, sampling_time={})
    assert set(both) == {(3, "sampling"), (3, "timing"), (1, "sampling")}
    assert len(set(both.values())) == 3
    other_time = planned(wasserstein={}, sampling_time={"batch": 7})
    assert {key for key in both if both[key] != other_time[key]} == {(3, "timing")}
    other_samples = planned(wasserstein={"n": 7}, sampling_time={})
    assert {key for key in both if both[key] != other_samples[key]} == {(3, "sampling"), (1, "sampling")}
    assert planned(wasserstein={}) == {key: id for key, id in both.items() if key[1] == "sampling"}


def test_labels_tell_options_apart_that_differ_little(registry: Registry) -> None:
    found = cells(registry, models=[{"name": "gaussian", "config": {"jitter": [0.0012345671, 0.0012345672]}}])
    assert [cell.model.label for cell in found] == ["gaussian(jitter=0.0012345671)", "gaussian(jitter=0.0012345672)"]
    assert (
        cells(registry, models=[{"name": "gaussian", "config": {"jitter": 1e-6}}])[0].model.label
        == "gaussian(jitter=1e-06)"
    )
