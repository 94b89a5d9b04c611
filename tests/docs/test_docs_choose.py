"""The page that helps to choose a model names every model."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from trilemma.harness.plugins import Registry

ROOT = Path(__file__).parents[2]


def load(name: str) -> ModuleType:
    """A module of docs/, imported as MkDocs imports its hooks: with the folder on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        return importlib.import_module(name)


def test_the_page_that_helps_to_choose_names_every_model_and_its_likelihood() -> None:
    choose = load("_choose")
    page = choose.fill((ROOT / "docs" / "choose-a-model.md").read_text(encoding="utf-8"))
    for name, cls in Registry(builtin_only=True).classes("models").items():
        rows = [line for line in page.splitlines() if line.startswith(f"| [{name}](")]
        assert len(rows) == (not cls.control)
        assert all(f"`{cls.likelihood}`" in row for row in rows)
