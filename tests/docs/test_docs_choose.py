"""The page that helps to choose a model names every model."""

from __future__ import annotations

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
