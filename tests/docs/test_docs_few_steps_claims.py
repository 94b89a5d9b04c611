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

    assert not any(found for key, found in told.items() if key[2] == "ode"), "an ODE has a density"
    few = [key for key in settings if key[0] in ("ring8", "grid25") and key[1] == "flow-map" and key[2] != "ode"]
    assert len(few) == 95
    assert all(told[key] for key in few)
    assert all(settings[key]["mass"].value is not None or settings[key]["mass"].low > 1.02 for key in few)
    assert sum(settings[key]["mass"].value is None for key in few) == 19
    for dataset, penalty, steps, least in (
        *(("ring8", False, steps, 2) for steps in (1, 2, 4)),
        *(("grid25", False, steps, 8) for steps in (1, 2, 4, 8)),
        ("grid25", True, 8, 2),
    ):
        assert all(
            own["mass"].low > least
            for key, own in settings.items()
            if key[:-1] == (dataset, "flow-map", "map", penalty, steps)
        )
    assert all(gap > 2 for _, gap in pairs(settings, "grid25", "flow-map", "map", True, 8))
    for key, own in settings.items():
        if key[:3] == ("ring8", "flow-map", "estimate") and key[4] > 1:
            assert own["nll_gap"].high < 0
        if key[2] == "map" and "mass" in own and own["mass"].value is not None:
            ode = settings[(*key[:2], "ode", key[3], 40, key[5])]["nll_gap"].value
            assert abs(own["mass"].value - 1) > 0.02 or abs(own["nll_gap"].value - ode) > 0.02


def test_what_the_page_says_of_checkerboard_and_of_sixteen_dimensions(
    settings: dict[tuple[Any, ...], dict[str, Any]],
) -> None:
    shows = load("_few_steps_evidence").shows
    told = {key: any(shows(value) for value in own.values()) for key, own in settings.items()}
    few = [key for key in settings if key[0] == "checkerboard" and key[2] != "ode"]
    assert len(few) == 48
    assert all(told[key] for key in few)
    for penalty, least, most in ((False, 1.14, 8.19), (True, 1.51, 2.21)):
        masses = [mass or 0.0 for mass, _ in pairs(settings, "checkerboard", "flow-map", "map", penalty, 8)]
        assert (min(masses), max(masses)) == pytest.approx((least, most), abs=0.005)
    gaps = {
        kind: [gap for p in (False, True) for _, gap in pairs(settings, "checkerboard", "flow-map", kind, p, steps)]
        for kind, steps in (("map", 8), ("ode", 40))
    }
    assert [round(end(gaps["map"]), 2) for end in (min, max)] == [0.16, 0.34]
    assert [round(end(gaps["ode"]), 2) for end in (min, max)] == [0.04, 0.06]

    of = {kind: [key for key in settings if key[0] == "mixture-d16" and key[2] == kind] for kind in ("estimate", "map")}
    assert [sum(told[key] for key in of[kind]) for kind in ("estimate", "map")] == [17, 0]
    assert [len(of[kind]) for kind in ("estimate", "map")] == [24, 24]
    own = [settings[key]["own"].value for key in of["map"] if key[4] == 8]
    assert [round(end(own), 3) for end in (min, max)] == [-0.030, -0.016]


def test_what_the_page_says_of_digits(settings: dict[tuple[Any, ...], dict[str, Any]]) -> None:
    shows = load("_few_steps_evidence").shows
    few = {key: own for key, own in settings.items() if key[0] == "digits" and key[2] != "ode"}
    assert len(few) == 48
    for key, own in few.items():
        head = key[2] == "estimate"
        ode = settings[(*key[:2], "ode", key[3], 40, key[5])]["nll"].value
        assert any(shows(value) for value in own.values()) == head
        assert (own["nll"].value < ode) == head
        assert not head or own["own"].value > 14
        if not head:
            more = few.get((*key[:4], 2 * key[4], key[5]))
            assert more is None or more["nll"].value < own["nll"].value
            apart = settings[(*key[:3], True, *key[4:])]["nll"].value
            assert key[3] or apart > own["nll"].value


def test_masses_and_gaps_of_the_page_are_of_the_same_trainings(settings: dict[tuple[Any, ...], dict[str, Any]]) -> None:
    said = " ".join(PAGE.split())
    maps, distilled = ("ring8", "flow-map"), ("ring8", "distilled-flow-map")

    def lists(found: list[tuple[float | None, float]], digits: int) -> tuple[str, str]:
        return listed([mass or 0.0 for mass, _ in found], digits), listed([gap for _, gap in found], 3)

    masses, gaps = lists(pairs(settings, *maps, "map", True, 8), 2)
    of_ode = lists(pairs(settings, *maps, "ode", True, 40), 2)
    assert (
        f"masses of {masses} with gaps of {gaps}, where the ODEs have masses of {of_ode[0]} and gaps of {of_ode[1]}"
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
    without = lists(pairs(settings, *maps, "map", False, 8), 2)
    of_ode = lists(pairs(settings, *maps, "ode", False, 40), 2)
    assert f"masses of {without[0]} with gaps of {without[1]}, where the ODEs of the same trainings have" in said
    assert f"of the same trainings have masses of {of_ode[0]} and gaps of {of_ode[1]}" in said
    assert f"the third has {lists(pairs(settings, *maps, 'map', False, 8), 2)[0].split(',')[0]}" in said
    near = zip(pairs(settings, *distilled, "map", False, 1), pairs(settings, *distilled, "ode", False, 40), strict=True)
    assert all(abs(gap - of_ode) < 0.002 and 1.05 < (mass or 0.0) < 1.1 for (mass, gap), (_, of_ode) in near)
    two = sorted(mass or 0.0 for mass, _ in pairs(settings, *maps, "map", False, 2))
    assert f"they are {listed(two, 1)}" in said


def test_the_page_counts_what_the_penalty_changes() -> None:
    made, found = load("_few_steps"), {}
    stored = [value for value in made.stored()["values"] if value.model == "flow-map"]
    for key in {(value.dataset, value.kind, value.quantity) for value in stored}:
        same = [value for value in stored if (value.dataset, value.kind, value.quantity) == key]
        found[key] = list(made.changed(same))
    masses = found["ring8", "map", "mass"] + found["grid25", "map", "mass"]
    assert (masses.count("lower"), masses.count("higher"), len(masses)) == (15, 3, 24)
    assert [found["checkerboard", "map", "mass"].count(word) for word in ("higher", "lower")] == [5, 2]
    assert found["ring8", "map", "nll_gap"].count("higher") == 9
    assert found["ring8", "estimate", "nll_gap"].count("lower") == 11


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
