"""Fixtures for the tests of plugins, which pytest loads where trilemma is installed.

- `trilemma_suite` is a suite that runs in about a second, as a mapping that a test may change.
- `trilemma_run` runs a suite in a temporary folder and returns the results frame.
- `trilemma_check` runs the conformance checks of a class, or of a registered name, and fails with all that is wrong.

Nothing heavy is imported until a test uses a fixture.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .plugins import Registry

if TYPE_CHECKING:
    import pandas as pd

    from .conformance.checks import CheckResult

SUITE: dict[str, Any] = {
    "name": "tiny",
    "budget": {"steps": 5},
    "limits": {"seconds": 120},
    "datasets": [{"name": "ring8", "config": {"n_train": 200, "n_valid": 50, "n_test": 100}}],
    "models": [{"name": "gaussian"}],
    "metrics": {"nll": {"n": 50}, "wasserstein": {"n": 50, "draws": 2}},
}


@pytest.fixture
def trilemma_suite() -> dict[str, Any]:
    """A small suite as a mapping: 5 steps of the built-in Gaussian on a ring of Gaussians, two metrics."""
    return copy.deepcopy(SUITE)


@pytest.fixture
def trilemma_run(tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """A function that runs a suite and returns the results: `trilemma_run(suite, models=["my-model"])`.

    It takes the arguments of `trilemma.run`; without a suite it is `trilemma_suite`. The run directory is
    `tmp_path / "run"`, so a second call in one test goes on with it. A cell that fails is a row of the results: look at
    the column `outcome`.
    """

    def run(suite: str | Path | Mapping[str, Any] | None = None, **options: Any) -> pd.DataFrame:
        from . import api

        return api.run(copy.deepcopy(SUITE) if suite is None else suite, **{"out": tmp_path / "run", **options})

    return run


@pytest.fixture
def trilemma_check() -> Callable[..., list[CheckResult]]:
    """A function that runs the conformance checks: `trilemma_check(MyModel)`, or `trilemma_check("my-model")`.

    It takes the arguments of `trilemma.conformance_checks`, and `only`, names of checks. It returns the results, and
    fails the test with the messages of all checks that failed.
    """

    def check(cls: type[Any] | str, config: Any = None, *, only: tuple[str, ...] = (), **options: Any) -> Any:
        from .conformance.checks import conformance_checks

        classes = _registered(cls) if isinstance(cls, str) else [cls]
        checks = [item for made in classes for item in conformance_checks(made, config, **options)]
        if missing := set(only) - {item.name for item in checks}:
            known = ", ".join(item.name for item in checks)
            raise ValueError(f"there is no check {', '.join(sorted(missing))}; the checks are {known}")
        results = [item.run() for item in checks if not only or item.name in only]
        failed = [f"{result.name}, {result.check}: {result.message}" for result in results if result.status == "failed"]
        if failed:
            pytest.fail("\n".join(failed), pytrace=False)
        return results

    return check


def _registered(name: str) -> list[type[Any]]:
    """The model, dataset and metric of a name. Raises PluginError if there is none."""
    registry = Registry()
    kinds = [kind for kind in ("models", "datasets", "metrics") if name in registry.names(kind)]
    return [registry.get(kind, name) for kind in kinds or ("models",)]
