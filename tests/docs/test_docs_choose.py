"""The page that helps to choose a model names every model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from trilemma.harness.plugins import Registry

ROOT = Path(__file__).parents[2]


def test_the_page_that_helps_to_choose_names_every_model_and_its_likelihood(
    docs_module: Callable[[str], ModuleType],
) -> None:
    choose = docs_module("_choose")
    page = choose.fill((ROOT / "docs" / "choose-a-model.md").read_text(encoding="utf-8"))
    for name, cls in Registry(builtin_only=True).classes("models").items():
        rows = [line for line in page.splitlines() if line.startswith(f"| [{name}](")]
        assert len(rows) == (not cls.control)
        assert all(f"`{cls.likelihood}`" in row for row in rows)


def test_the_flows_that_the_page_names_are_those_of_the_stored_results() -> None:
    page = (ROOT / "docs" / "choose-a-model.md").read_text(encoding="utf-8")
    found = json.loads((ROOT / "docs" / "results.json").read_text(encoding="utf-8"))["flows"]["datasets"]
    plane = dict.fromkeys(("ring8", "two-modes", "grid25", "moons", "checkerboard"), "nsf-coupling")
    named = plane | {"funnel": "maf", "digits": "nsf-multiscale", "patches": "glow"}
    assert {each["title"].partition(":")[0].partition("(")[0] for each in found} == set(named)
    for each in found:
        (model,) = (model for name, model in named.items() if each["title"].startswith(name))
        best = [line for line in each["answers"].splitlines() if line.startswith("- **Best likelihood (exact")]
        assert f" {model}" in best[0]
        assert f"`{model}`" in page
        assert ("nsf-coupling" in best[0]) == (model == "nsf-coupling")
