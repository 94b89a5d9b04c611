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
    assert page.count("| grid25 | ") == page.count("| ring8 | ") == 4


def test_quality_rises_and_coverage_falls_with_the_weight_as_the_page_says(guidance: ModuleType) -> None:
    found = guidance.json.loads(guidance.FILE.read_text(encoding="utf-8"))
    for name in guidance.COLORS:
        for quantity, sign in (("within_3_sigma", 1), ("mode_spread", -1)):
            values = guidance.by_weight(found, name, quantity)
            assert {len(trainings) for trainings in values.values()} == {6}
            middles = [sign * median(values[weight]) for weight in sorted(values)]
            assert all(a < b for a, b in pairwise(middles)), (name, quantity)


def test_without_stored_numbers_the_page_says_so(
    guidance: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guidance, "FILE", tmp_path / "absent.json")
    assert "Not measured yet." in guidance.fill(PAGE)
