"""The figure on autoguidance is drawn from stored numbers, and the page says of them what they show."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import ModuleType

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "suites.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def guidance(docs_module: Callable[[str], ModuleType]) -> ModuleType:
    """docs/_guidance.py."""
    return docs_module("_guidance")


def test_the_page_has_the_figure_and_a_row_for_each_weight(guidance: ModuleType) -> None:
    page = guidance.fill(PAGE)
    assert guidance.MARK in PAGE
    assert guidance.MARK not in page
    assert page.count("<svg") == 1
    for name in ("ring8", "ring8, stable targets", "grid25", "grid25, stable targets"):
        assert page.count(f"| {name} | ") == 4


def middles(guidance: ModuleType, dataset: str, stable: bool, quantity: str) -> list[float]:
    """The medians of the three seeds by rising weight."""
    found = guidance.json.loads(guidance.FILE.read_text(encoding="utf-8"))
    values = guidance.by_weight(found, dataset, stable, quantity)
    assert {len(seeds) for seeds in values.values()} == {3}
    return [median(values[weight]) for weight in sorted(values)]


def test_the_stored_numbers_are_as_the_page_says(guidance: ModuleType) -> None:
    for dataset in guidance.COLORS:
        for stable in (False, True):
            share = middles(guidance, dataset, stable, "within_3_sigma")
            assert all(a < b for a, b in pairwise(share)), "the share rises"
            assert share[0] < guidance.RIGHT["within_3_sigma"]
            energy = middles(guidance, dataset, stable, "witness_energy")
            assert energy[-1] > energy[0], "the largest weight harms quality"
            spread = middles(guidance, dataset, stable, "mode_spread")
            if (dataset, stable) == ("ring8", True):
                assert max(spread) - min(spread) < 0.01, "the spread stays"
                found = guidance.json.loads(guidance.FILE.read_text(encoding="utf-8"))
                seeds = guidance.by_weight(found, dataset, stable, "witness_energy")
                assert all(max(seeds[w]) < min(seeds[0.0]) for w in (0.25, 0.5)), "a small weight improves it"
            else:
                assert all(a > b for a, b in pairwise(spread)), "the spread falls"


def test_without_stored_numbers_the_page_says_so(
    guidance: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guidance, "FILE", tmp_path / "absent.json")
    assert "Not measured yet." in guidance.fill(PAGE)
