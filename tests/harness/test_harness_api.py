"""The Python face: what its arguments do to a suite, and budgets as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import trilemma
from trilemma.harness.api import make_runner
from trilemma.harness.contracts.budget import parse_budget
from trilemma.harness.errors import TrilemmaError


def test_selection_keeps_a_suites_entries_and_adds_names_that_it_lacks(tmp_path: Path) -> None:
    runner = make_runner("smoke", models=["vp-sde", "kde"], datasets=["moons"], seeds=3, budget="7steps", out=tmp_path)
    assert [m.label for m in runner.resolved.models] == ["vp-sde", "kde"]
    assert [s.label for s in runner.resolved.models[0].samplers] == ["heun(steps=10)"]
    assert [d.label for d in runner.resolved.datasets] == ["moons"]
    assert runner.resolved.suite.seed_list == [0, 1, 2]
    assert runner.resolved.suite.budget.steps == 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10s", {"seconds": 10.0}),
        ("2.5 s", {"seconds": 2.5}),
        ("200steps", {"steps": 200}),
        ("30 steps", {"steps": 30}),
    ],
)
def test_budgets(text: str, expected: dict[str, Any]) -> None:
    assert parse_budget(text) == expected


@pytest.mark.parametrize("text", ["", "ten", "10h", "1.5steps", "1.2.3s"])
def test_wrong_budgets(text: str) -> None:
    with pytest.raises(TrilemmaError, match="10s"):
        parse_budget(text)


@pytest.mark.parametrize("text", ["10", " 2.5 "])
def test_a_budget_without_a_unit_is_refused_with_both_spellings(text: str) -> None:
    number = text.strip()
    with pytest.raises(TrilemmaError, match=f"has no unit: write {number}s for seconds of training, or {number}steps"):
        parse_budget(text)


def test_the_public_face_has_what_an_author_needs() -> None:
    for name in trilemma.__all__:
        assert getattr(trilemma, name) is not None
