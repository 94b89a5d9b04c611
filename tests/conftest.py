"""What all tests share: how often garbage is looked for, and runs whose reports are left out or have no pictures."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from markupsafe import Markup

gc.set_threshold(10_000, 20, 20)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs in processes of their own come first, because at the end a long file leaves all cores but one without work.

    Several workers keep this order with `--dist loadfile --no-loadscope-reorder`.
    """
    items.sort(key=lambda item: "execution" not in item.path.parts)


def pytest_collection_finish() -> None:
    """Libraries and tests live to the end, so nobody looks for garbage among them: it took a tenth of all time."""
    gc.freeze()


def load_module(file: Path) -> ModuleType:
    """The module of a file that is no test."""
    spec = importlib.util.spec_from_file_location(f"tests_{file.parent.name}_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def module_of() -> Callable[[Path], ModuleType]:
    """`load_module`."""
    return load_module


@contextlib.contextmanager
def leave_reports_out() -> Iterator[None]:
    """Runs in this process write no report, which takes longer than all else in a tiny run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trilemma.reports.write.write_report", lambda view, sections, out: [])
        yield


@pytest.fixture(scope="session")
def without_reports() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """`leave_reports_out`."""
    return leave_reports_out


@pytest.fixture(scope="module")
def unreported() -> Iterator[None]:
    """In a whole module, runs in this process write no report."""
    with leave_reports_out():
        yield


@pytest.fixture
def undrawn() -> Iterator[None]:
    """Reports have empty pictures, for tests of something else: drawing takes longer than the rest of a report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trilemma.reports.figures.svg", lambda *about, **more: Markup('<svg role="img"></svg>'))
        patch.setattr("trilemma.reports.figures.png", lambda *about, **more: b"\x89PNG")
        yield
