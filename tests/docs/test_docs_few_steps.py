"""The page on likelihoods by few steps: it is written from stored values, and what it adds to them is right."""

from __future__ import annotations

import dataclasses
import importlib
import math
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.flow_maps.flow_map import FlowMap
from trilemma.plugins.flow_maps.networks import Direction, MapNetwork

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "few-step-likelihoods.md").read_text(encoding="utf-8")
SUITES = ("few-step-likelihoods", "few-step-digits")


def load(name: str) -> ModuleType:
    """A module of docs/, imported as MkDocs imports its hooks: with the folder on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        return importlib.import_module(name)


def values(made: ModuleType, quantity: str, by_steps: dict[int, float], kind: str = "map", **about: Any) -> list[Any]:
    told = {
        "suite": SUITES[0],
        "model": "flow-map",
        "dataset": "ring8",
        "penalty": 0.0,
        "seed": 0,
        "low": None,
        "high": None,
        **about,
    }
    return [made.Value(kind=kind, steps=k, quantity=quantity, value=v, **told) for k, v in by_steps.items()]


def test_without_stored_values_the_page_says_that_nothing_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = load("_few_steps")
    monkeypatch.setattr(made, "FILE", tmp_path / "absent.json")
    page = made.fill(PAGE)
    assert "Not measured yet" in page
    assert "<svg" not in page
    assert "<!--" not in page


def test_stored_values_are_of_the_suites_and_finite() -> None:
    made = load("_few_steps")
    suites = {
        name: tomllib.loads((ROOT / f"harness/planning/suites/{name}.toml").read_text("utf-8")) for name in SUITES
    }
    known = {(name, entry["name"]) for name, suite in suites.items() for entry in suite["datasets"]}
    for value in made.stored()["values"]:
        assert (value.suite, value.dataset) in known
        assert value.kind in made.METHODS
        assert (value.value is None and value.quantity == "mass" and value.why) or math.isfinite(value.value)
    assert "<!--" not in made.fill(PAGE)


def test_stored_figures_stay_until_they_are_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = load("_few_steps")
    monkeypatch.setattr(made, "FILE", tmp_path / "few-steps.json")
    about = {"suite": SUITES[0], "models": ["m"], "budget": "1 s", "seeds": [0], "steps": {"ring8": 5}}
    for model, mass in (("one", 1.5), ("two", 1.2), ("one", 1.1)):
        measured = values(made, "mass", {1: mass}, model=model)
        monkeypatch.setattr(made, "read", lambda run, measured=measured: (about, measured))
        made.store([tmp_path], own=False, keep=True)
    assert [(value.model, value.value) for value in made.stored()["values"]] == [("two", 1.2), ("one", 1.1)]
    assert made.fill(PAGE).count("median training steps: 5 on ring8") == 3
    made.store([tmp_path], own=False, keep=False)
    assert [value.model for value in made.stored()["values"]] == ["one"]


def test_masses_that_are_told_later_take_the_places_of_those_that_were_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = load("_few_steps")
    monkeypatch.setattr(made, "FILE", tmp_path / "few-steps.json")
    (gap,), (mass,) = values(made, "nll_gap", {8: 0.1}), values(made, "mass", {8: 1.2}, low=1.1, high=1.3)
    made.write({"runs": [], "values": [gap, dataclasses.replace(mass, value=None, low=None, high=None, why="few")]})
    monkeypatch.setattr(
        made, "masses_again", lambda run, before: [mass if value.value is None else value for value in before]
    )
    made.tell_masses([tmp_path])
    assert made.stored() == {"runs": [], "values": [gap, mass]}


def test_a_table_has_the_median_of_the_seeds_and_lines_of_both_kinds_of_maps() -> None:
    made = load("_few_steps")
    found = [v for seed, mass in enumerate((1.5, 1.2, 9.0)) for v in values(made, "mass", {1: mass, 8: 1.0}, seed=seed)]
    found += values(made, "mass", {1: 1.01, 8: 1.0}, penalty=1.0)
    found += values(made, "nll_gap", {40: 0.02}, kind="ode")
    page = "\n".join(made.sections(found))
    assert "| Jacobian | 1 | | 1.50 (1.20 to 9) |" in re.sub(r" +", " ", page)
    assert "| Jacobian, with penalty | 1 | | 1.01 |" in re.sub(r" +", " ", page)
    assert page.count("<svg") == 1
    assert page.count("<circle") == 8


def test_a_table_says_for_how_many_trainings_a_mass_is_told_and_why_others_are_not() -> None:
    made = load("_few_steps")
    found = [v for seed in range(3) for v in values(made, "nll_gap", {8: 0.1}, seed=seed)]
    found += values(made, "mass", {8: 1.5}, low=1.4, high=1.6)
    for seed, least in ((1, 1.3), (2, None)):
        (one,) = values(made, "mass", {8: 0.0}, seed=seed, low=least, why="only 7 effective points")
        found.append(dataclasses.replace(one, value=None))
    page = re.sub(r" +", " ", "\n".join(made.sections(found)))
    # 1.5 +- .1 excludes 1 far beyond 99.9 %, and so does a lower limit of 1.3.
    assert "| Jacobian | 8 | 0.100 (0.100 to 0.100) | 1.50, 1 of 3; at least 1.30 | 2 of 3 |" in page
    assert "Of 3 masses, 2 are not told: too few effective points (2)." in page
    assert "| ring8 | `flow-map` | Jacobian | 2 of 3 |" in re.sub(r" +", " ", made.counts(found))


@pytest.mark.parametrize(
    ("quantity", "value", "low", "high", "expected"),
    [
        ("mass", 1.10, 1.06, 1.14, True),  # four hundredths from 1.06 to 1.02: 99.9 % is 1.68 times as wide as 95 %
        ("mass", 1.10, 1.05, 1.15, False),
        ("mass", 0.90, 0.87, 0.93, True),
        ("mass", None, 1.01, None, False),
        ("mass", None, 1.10, None, True),
        ("nll_gap", -0.10, -0.15, -0.05, True),
        ("nll_gap", -0.10, -0.17, -0.03, False),
        ("own", 0.10, 0.05, 0.15, True),
        ("own", -0.10, -0.11, -0.09, False),
        ("nll", -9.0, -9.1, -8.9, False),
    ],
)
def test_a_number_shows_that_there_is_no_density_only_beyond_its_interval(
    quantity: str, value: float | None, low: float, high: float | None, expected: bool
) -> None:
    made = load("_few_steps")
    (one,) = values(made, quantity, {8: 0.0}, low=low, high=high)
    assert load("_few_steps_evidence").shows(dataclasses.replace(one, value=value)) is expected


def test_a_change_by_the_penalty_needs_intervals_that_are_apart() -> None:
    made = load("_few_steps")
    without = [(1.5, 1.4, 1.6), (1.5, 1.4, 1.6), (1.5, 1.4, 1.6), (1.5, 1.4, 1.6)]
    with_it = [(1.2, 1.1, 1.3), (1.6, 1.5, 1.7), (1.9, 1.8, 2.0), None]
    found = [
        values(made, "mass", {8: number[0]}, seed=seed, low=number[1], high=number[2], penalty=penalty)[0]
        for penalty, numbers in ((0.0, without), (1.0, with_it))
        for seed, number in enumerate(numbers)
        if number
    ]
    assert list(made.changed(found)) == ["lower", "not told apart", "higher", "not told"]
    (limit,) = values(made, "mass", {8: 0.0}, seed=3, low=1.7, penalty=1.0, why="few")
    *_, last = made.changed([*found, dataclasses.replace(limit, value=None)])
    assert last == "higher"


def test_a_larger_value_stands_higher_in_the_figure_and_what_is_not_finite_is_left_out() -> None:
    made, drawing = load("_few_steps"), load("_line_figure")
    shown = made.lines_of(values(made, "mass", {1: 2.0, 2: 17.0, 4: math.inf, 8: 1.0}), "mass")
    picture = str(drawing.figure("ring8", [drawing.Panel("Mass", shown, 1.0)]))
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', picture)]
    assert len(heights) == 3
    assert heights[1] < heights[0] < heights[2]
    assert "logarithmic" in picture
    nothing = [drawing.Line("head", "#000000", False, {})]
    assert "<circle" not in str(drawing.figure("ring8", [drawing.Panel("Mass", nothing)]))


def test_the_limit_of_the_nll_of_digits_is_that_of_different_images() -> None:
    from trilemma.datasets.digits import Digits

    images = Digits().splits.test.flatten(1)
    assert len(torch.unique(images, dim=0)) == len(images)
    assert load("_few_steps").RIGHT["nll"] == pytest.approx(math.log(len(images)) / math.log(2) / images.shape[1])


class Growth(MapNetwork):
    """The flow map of dx/dt = r x."""

    RATE = -0.7

    def forward(self, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
        time = (t - s).unsqueeze(1)
        return torch.where(
            time == 0, self.RATE * x, torch.expm1(self.RATE * time) / torch.where(time == 0, 1, time) * x
        )

    def along(self, x: Tensor, s: Tensor, t: Tensor, direction: Direction) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


class Flattering(Growth):
    """The divergence of `Growth` in three dimensions, less .5: its log-densities are .5 too large."""

    def forward(self, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
        return torch.full((len(x), 1), 3 * self.RATE - 0.5)


def test_a_number_too_large_shows_at_samples_of_the_ode_and_a_density_does_not() -> None:
    own = load("_few_steps_own")
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((400, 3), generator=generator)
    x, log_prob = own.ode_samples(Growth(), noise, generator)
    torch.testing.assert_close(x, math.exp(-0.7) * noise, rtol=1e-3, atol=1e-3)
    true = torch.distributions.Normal(0.0, math.exp(-0.7)).log_prob(x).sum(1)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(log_prob, true, rtol=0, atol=5e-3)
    model = FlowMap(FlowMap.Config(head=True))
    info = trilemma.DataInfo(name="toy", kind="vector", shape=(3,), n_train=1)
    model.prepare(info)
    model.map, model.head = Growth(), Flattering()  # type: ignore[assignment]
    settings = [{"method": "head", "steps": 2}, {"method": "jacobian", "steps": 2}]
    model.register_parameter("weight", torch.nn.Parameter(torch.zeros(1)))
    (head, low, _), (jacobian, *_) = own.excess_at_own_samples(model, info, settings, 100)
    assert head == pytest.approx(0.5, abs=0.01)
    assert low is not None
    assert low > 0.4
    assert jacobian == pytest.approx(0, abs=0.01)
