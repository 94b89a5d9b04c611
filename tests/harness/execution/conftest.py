"""What the tests of runs share: a small suite, runs with the plugins that misbehave, and how their models ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import trilemma


def make_suite(*models: str, **more: Any) -> dict[str, Any]:
    """A suite of the named models on one small dataset."""
    return {
        "name": "test",
        "budget": {"steps": 20},
        "limits": {"seconds": 60, "memory_gib": 4},
        "datasets": [{"name": "ring8", "config": {"n_train": 500, "n_valid": 100, "n_test": 300}}],
        "models": [{"name": name} for name in models],
        "metrics": {"nll": {"n": 50}, "wasserstein": {"n": 50, "draws": 2}},
        **more,
    }


@pytest.fixture(scope="session")
def suite() -> Callable[..., dict[str, Any]]:
    """`make_suite`."""
    return make_suite


@pytest.fixture(scope="session")
def run(bad_plugins: Path) -> Callable[..., pd.DataFrame]:
    """Run a suite into a directory, two cells at a time."""
    return lambda values, out, **more: trilemma.run(values, out=out, plugins=[bad_plugins], jobs=2, **more)


@pytest.fixture(scope="session")
def outcomes() -> Callable[[pd.DataFrame], dict[str, str]]:
    """The worst outcome of each model."""

    def worst(frame: pd.DataFrame) -> dict[str, str]:
        rows = frame.groupby("label")["outcome"]
        return {str(label): next((o for o in group if o != "ok"), "ok") for label, group in rows}

    return worst
