"""Every plugin that ships conforms."""

from __future__ import annotations

from typing import Any

import pytest

import trilemma
from trilemma.harness.plugins import Registry


def shipped() -> list[Any]:
    """The checks of every built-in plugin that the fast tests do not run already."""
    registry = Registry(builtin_only=True)
    return [
        pytest.param(cls, id=f"{kind[:-1]}-{name}")
        for kind in ("models", "datasets", "metrics")
        for name, cls in registry.classes(kind).items()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("cls", shipped())
def test_what_ships_conforms(cls: type[Any]) -> None:
    results = [check.run() for check in trilemma.conformance_checks(cls)]
    if missing := [result.message for result in results if (result.check, result.status) == ("load", "skipped")]:
        pytest.skip(missing[0])
    assert [(result.check, result.message) for result in results if result.status == "failed"] == []
