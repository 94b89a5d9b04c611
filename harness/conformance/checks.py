"""The checks that a plugin must pass. Run them by `trilemma check NAME`, or in pytest:

import pytest, trilemma
from my_plugin import MyModel

@pytest.mark.parametrize("check", trilemma.conformance_checks(MyModel), ids=str)
def test_conformance(check):
    check()
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from unittest import SkipTest

from ..boundary import boundary, described
from ..contracts.config import Config
from ..contracts.dataset import Dataset
from ..contracts.metric import Metric
from ..contracts.model import Model
from ..errors import PluginError, UnsupportedError, did_you_mean
from .datasets import DatasetKit
from .kit import Kit
from .metrics import MetricKit
from .models import ModelKit

Status = Literal["passed", "failed", "skipped", "expected"]
"""How a check ended. `expected` means that it failed, as the author of the plugin expected."""


@dataclass(frozen=True)
class CheckResult:
    """The result of one check of one plugin class. `message` says what was found, or why the check was skipped."""

    kind: Literal["model", "dataset", "metric"]
    name: str
    check: str
    status: Status
    message: str
    seconds: float


@dataclass(frozen=True)
class Check:
    """One check of one plugin class. `expected` is the reason why it is expected to fail, or "".

    A call acts like a test. It raises AssertionError if the check fails, or if it passes although it was expected to
    fail. It raises unittest.SkipTest (which pytest shows as skipped) if the check does not apply, or fails as expected.
    """

    kind: Literal["model", "dataset", "metric"]
    plugin: str
    name: str
    description: str
    body: Callable[[], str]
    expected: str = ""

    def __str__(self) -> str:
        return f"{self.plugin}-{self.name}"

    def run(self) -> CheckResult:
        """Run the check. Errors of the plugin are part of the result and are not raised."""
        started = time.perf_counter()
        status: Status = "passed"
        try:
            with boundary():
                message = self.body()
        except UnsupportedError as error:
            status, message = "skipped", str(error)
        except AssertionError as error:
            status, message = "failed", str(error)
        except Exception as error:  # any error of a plugin is a failed check
            status, message = "failed", described(error)
        if self.expected and status == "failed":
            status, message = "expected", f"{self.expected} ({message})"
        elif self.expected and status == "passed":
            status, message = (
                "failed",
                f"it was expected to fail ({self.expected}) but passes: remove it from expected_failures",
            )
        return CheckResult(self.kind, self.plugin, self.name, status, message, time.perf_counter() - started)

    def __call__(self) -> None:
        result = self.run()
        if result.status == "failed":
            raise AssertionError(f"{self.plugin}, {self.description} {result.message}")
        if result.status in ("skipped", "expected"):
            raise SkipTest(f"{result.status}: {result.message}")


def conformance_checks(
    cls: type[Any], config: Config | None = None, *, expected_failures: Mapping[str, str] | None = None
) -> list[Check]:
    """The checks of a model, dataset or metric class, in the order in which they build on each other.

    Args:
        cls: subclass of `trilemma.Model`, `trilemma.Dataset` or `trilemma.Metric`.
        config: options of the class; by default its defaults (for metrics, with fewer points).
        expected_failures: map from the name of a check to the reason why it is expected to fail. A check that passes
            although it was expected to fail counts as failed. The class attribute `expected_failures` of the plugin
            adds to this map.

    Raises PluginError for a class of another kind, and for an expected failure that names no check.
    """
    kind, kit = _kit(cls, config)
    bodies = kit.checks()
    expected = {**cls.expected_failures, **(expected_failures or {})}
    for name in expected:
        if name not in bodies:
            raise PluginError(f"there is no {kind} check '{name}' ({did_you_mean(name, bodies)})")
    return [
        Check(kind, cls.name, name, (body.__doc__ or "").strip().split("\n")[0], body, expected.get(name, ""))
        for name, body in bodies.items()
    ]


def _kit(cls: type[Any], config: Config | None) -> tuple[Literal["model", "dataset", "metric"], Kit]:
    if isinstance(cls, type) and issubclass(cls, Model):
        return "model", ModelKit(cls, config)
    if isinstance(cls, type) and issubclass(cls, Dataset):
        return "dataset", DatasetKit(cls, config)
    if isinstance(cls, type) and issubclass(cls, Metric):
        return "metric", MetricKit(cls, config)
    raise PluginError(f"{cls!r} is not a subclass of trilemma.Model, trilemma.Dataset or trilemma.Metric")
