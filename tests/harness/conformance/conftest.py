"""What the tests of the checks share: the outcome of all checks of a class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import trilemma


def statuses_of(cls: type[Any], **options: Any) -> dict[str, str]:
    """Check -> status."""
    return {check.name: check.run().status for check in trilemma.conformance_checks(cls, **options)}


@pytest.fixture(scope="session")
def statuses() -> Callable[..., dict[str, str]]:
    """`statuses_of`."""
    return statuses_of


@pytest.fixture(scope="session")
def failed() -> Callable[[type[Any]], set[str]]:
    """The names of the checks that a class fails."""
    return lambda cls: {name for name, status in statuses_of(cls).items() if status == "failed"}
