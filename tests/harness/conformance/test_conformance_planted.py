"""Each planted defect fails the check that is there for it and no other, and each correct look-alike fails none."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

import trilemma

sys.path.insert(0, str(Path(__file__).parent))  # a new process imports the modules too
import planted_datasets
import planted_fits
import planted_metrics
import planted_models
import planted_samples
import planted_states
from plantings import LOOK_ALIKES, PLANTED, Planted

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[3] / "docs" / "check-a-plugin.md").read_text(encoding="utf-8")
MODULES = (planted_datasets, planted_fits, planted_metrics, planted_models, planted_samples, planted_states)


@pytest.mark.parametrize("base", [planted_datasets.Table, planted_metrics.MeanDistance])
def test_what_is_right_passes(base: type[Any]) -> None:
    assert {result.status for result in results(base)} <= {"passed", "skipped"}


def results(cls: type[Any]) -> list[trilemma.CheckResult]:
    return [check.run() for check in trilemma.conformance_checks(cls)]


@pytest.mark.parametrize("case", PLANTED, ids=lambda case: case.cls.__name__)
def test_a_planted_defect_fails_one_check_with_a_message_that_says_what_to_do(case: Planted) -> None:
    failed = {result.check: result.message for result in results(case.cls) if result.status == "failed"}
    assert list(failed) == [case.check], failed
    assert case.remedy in failed[case.check]


@pytest.mark.parametrize("cls", [cls for _, cls in LOOK_ALIKES], ids=lambda cls: cls.__name__)
def test_what_is_correct_and_looks_like_a_defect_fails_nothing(cls: type[Any]) -> None:
    assert [(result.check, result.message) for result in results(cls) if result.status == "failed"] == []


def test_every_look_alike_is_that_of_a_planted_defect() -> None:
    assert {defect for defect, _ in LOOK_ALIKES} <= {case.defect for case in PLANTED}


def rows(heading: str) -> list[tuple[str, ...]]:
    """The rows of the first table below a heading of the page."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in section.splitlines()
        if line.startswith("| ") and not line.startswith(("| ---", "| Defect", "| Check"))
    ]


@pytest.mark.parametrize("kind", ["model", "dataset", "metric"])
def test_the_page_lists_every_planted_defect_with_the_check_that_catches_it(kind: str) -> None:
    listed = [(defect, check.strip("`")) for defect, check, *_ in rows(f"Planted defects of a {kind}")]
    planted = [(case.defect, case.check) for case in PLANTED if case.kind == kind]
    if kind == "model":
        planted.append(("slow import of the module with the hooks", "import-time"))  # see test_conformance_models
    assert sorted(listed) == sorted(planted)


@pytest.mark.parametrize("base", [planted_models.Gauss, planted_datasets.Table, planted_metrics.MeanDistance])
def test_the_page_says_what_every_check_asks(base: type[Any]) -> None:
    (kind,) = {case.kind for case in PLANTED if issubclass(case.cls, base)}
    named = [check.strip("`") for check, _ in rows(f"Checks of a {kind}")]
    assert named == [check.name for check in trilemma.conformance_checks(base)]


def test_a_defect_that_no_check_catches_is_listed_with_the_reason() -> None:
    assert all(len(reason) > 20 for _, reason in rows("What no check catches"))
    assert re.search(r"^## What no check catches$", PAGE, re.M)
