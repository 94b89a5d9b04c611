"""What the tests of the analysis share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Rows = list[dict[str, Any]]


def make_rows(label: str, *values: float, **more: Any) -> Rows:
    """Results of the deciding metric of quality of one model for several seeds."""
    base = {
        "model": label, "label": label, "control": False, "dataset_id": "ring8", "budget": "10 s", "device": "cpu",
        "sampler": "heun", "metric": "energy", "better": "lower", "least": 0.0, "noise": 0.1, "group": "quality",
        "place": "first", "outcome": "ok", "n": 500, "title": "Energy",
    }  # fmt: skip
    rows = []
    for seed, value in enumerate(values):
        own = {"cell": f"{label}-{seed}", "seed": seed, "value": value, "ci_low": value - 0.01, "ci_high": value + 0.01}
        rows.append(base | own | more)
    return rows


@pytest.fixture(scope="session")
def seeds() -> Callable[..., Rows]:
    """`make_rows`."""
    return make_rows
