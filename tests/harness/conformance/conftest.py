"""What the tests of the checks share: the outcome of all checks of a class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import trilemma

IN_A_PROCESS = ("import-time", "fresh-process")
"""Checks that start a process, which takes longer than all others."""


def statuses_of(cls: type[Any], without: tuple[str, ...] = (), **options: Any) -> dict[str, str]:
    """Check -> status, of all checks but those that are left out."""
    checks = trilemma.conformance_checks(cls, **options)
    return {check.name: check.run().status for check in checks if check.name not in without}


@pytest.fixture(scope="session")
def statuses() -> Callable[..., dict[str, str]]:
    """`statuses_of`."""
    return statuses_of


@pytest.fixture(scope="session")
def failed() -> Callable[[type[Any]], set[str]]:
    """The names of the checks that a class fails, of those in this process."""
    return lambda cls: {name for name, status in statuses_of(cls, IN_A_PROCESS).items() if status == "failed"}
