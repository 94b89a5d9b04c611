"""What the tests of the documentation share."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


def load_docs_module(name: str) -> ModuleType:
    """A module of docs/, imported as MkDocs imports its hooks: with the folder on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "docs"))
        return importlib.import_module(name)


@pytest.fixture(scope="session")
def docs_module() -> Callable[[str], ModuleType]:
    """`load_docs_module`."""
    return load_docs_module
