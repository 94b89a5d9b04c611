"""What the page on likelihoods by few steps says of its figures is counted again from the stored values."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "few-step-likelihoods.md").read_text(encoding="utf-8")


def load(name: str) -> ModuleType:
    """A module of docs/, imported as MkDocs imports its hooks: with the folder on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        return importlib.import_module(name)


@pytest.fixture
def settings() -> dict[tuple[Any, ...], dict[str, Any]]:
    """The stored values by quantity of each `(dataset, model, kind, penalty or not, steps, seed)`."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for value in load("_few_steps").stored()["values"]:
        key = (value.dataset, value.model, value.kind, value.penalty > 0, value.steps, value.seed)
        found.setdefault(key, {})[value.quantity] = value
    return found


def pairs(settings: dict[tuple[Any, ...], dict[str, Any]], *about: Any) -> list[tuple[float | None, float]]:
    """Mass and gap of each training of one likelihood, in the order of the seeds."""
    chosen = sorted(key for key in settings if key[:-1] == about)
    return [(settings[key]["mass"].value, settings[key]["nll_gap"].value) for key in chosen]


def listed(values: list[float], digits: int) -> str:
    """Numbers as the page lists them: `1.09, 1.15 and 1.23`, and `.137` for those below 1."""
    texts = [re.sub(r"^(-?)0", lambda sign: sign[1].replace("-", "−"), f"{value:.{digits}f}") for value in values]
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))


def test_the_page_counts_what_is_stored(settings: dict[tuple[Any, ...], dict[str, Any]]) -> None:
    shows = load("_few_steps_evidence").shows
    told = {key: any(shows(value) for value in own.values()) for key, own in settings.items()}

    def every(*about: Any) -> set[bool]:
        return {
            found for key, found in told.items() if all(a is None or a == k for a, k in zip(about, key, strict=False))
        }

    assert not any(found for key, found in told.items() if key[2] == "ode"), "an ODE has a density"
    assert every("ring8", "flow-map", "map", True) == {True}
    assert every("grid25", "flow-map", "map", True, 8) == {True}
    assert every("ring8", "flow-map", "map", False, 2) == {False}
    for steps in (1, 4):
        assert every("grid25", "flow-map", "map", False, steps) == {False}
    heads = [found for key, found in told.items() if key[2] == "estimate"]
    assert sum(heads) >= 0.9 * len(heads)
    for key, own in settings.items():
        if key[:3] == ("ring8", "flow-map", "estimate") and key[4] > 1:
            assert own["nll_gap"].high < 0
        if key[2] == "map" and "mass" in own and own["mass"].value is not None:
            ode = settings[(*key[:2], "ode", key[3], 40, key[5])]["nll_gap"].value
            assert abs(own["mass"].value - 1) > 0.02 or abs(own["nll_gap"].value - ode) > 0.02


def test_masses_and_gaps_of_the_page_are_of_the_same_trainings(settings: dict[tuple[Any, ...], dict[str, Any]]) -> None:
    said = " ".join(PAGE.split())
    maps, distilled = ("ring8", "flow-map"), ("ring8", "distilled-flow-map")

    def lists(found: list[tuple[float | None, float]], digits: int) -> tuple[str, str]:
        return listed([mass or 0.0 for mass, _ in found], digits), listed([gap for _, gap in found], 3)

    masses, gaps = lists(pairs(settings, *maps, "map", True, 8), 2)
    of_ode = lists(pairs(settings, *maps, "ode", True, 40), 2)
    assert (
        f"masses of {masses} with gaps of {gaps}, where their ODEs have masses of {of_ode[0]} and gaps of {of_ode[1]}"
        in said
    )
    chosen_on, *others = pairs(settings, *distilled, "map", False, 8)
    masses, gaps = lists(others, 3)
    of_ode = lists(pairs(settings, *distilled, "ode", False, 40)[1:], 3)
    assert f"masses of {masses}, with gaps of {gaps} where the ODE has {of_ode[1]}" in said
    chosen_on_too, *others = pairs(settings, *distilled, "map", True, 8)
    masses, gaps = lists(others, 3)
    assert f"masses of {masses}, with gaps of {gaps}" in said
    masses, gaps = lists([chosen_on, chosen_on_too], 3)
    assert f"with seed 0, has masses of {masses}, and gaps of {gaps}" in said
    (none, gap), *told = pairs(settings, *maps, "map", False, 8)
    texts = [f"{listed([mass or 0.0], 2)} with a gap of {listed([gap], 3)}" for mass, gap in told]
    assert f"two of three trainings have a mass: {texts[0]}, and {texts[1]}" in said
    assert none is None
    assert f"For the third it is not told; its gap is {listed([gap], 3)}" in said


def test_the_table_of_samples_has_medians_and_what_is_said_of_them_holds() -> None:
    made = load("_few_steps_samples")
    rows = [row for row in made.stored() if row["suite"] == "few-steps"]

    def medians(dataset: str, quantity: str, evaluations: int) -> dict[str, float]:
        key = (dataset, quantity, evaluations)
        own = [row for row in rows if (row["dataset"], row["quantity"], row["evaluations"]) == key]
        return {row["label"]: sorted(row["values"])[1] for row in own if len(row["seeds"]) == 3}

    for dataset in ("ring8", "grid25"):
        energy = medians(dataset, "witness_energy", 1)
        assert min(energy, key=energy.__getitem__) == "distilled-flow-map"
        assert len(energy) == 4
    within, modes = medians("grid25", "within_3_sigma", 1), medians("grid25", "modes_covered", 1)
    assert within["ddgan(steps=1)"] > within["distilled-flow-map"]
    assert modes["ddgan(steps=1)"] < 25 / 3 < modes["distilled-flow-map"] == 25
    text = re.sub(r" +", " ", made.samples(rows))
    assert f"| `distilled-flow-map` | 1 | {medians('ring8', 'within_3_sigma', 1)['distilled-flow-map']:.3f} |" in text
    gaps = [medians(dataset, "nll_gap", 0)["distilled-flow-map"] for dataset in ("ring8", "grid25")]
    assert gaps == pytest.approx([0.007, 0.008], abs=5e-4)
