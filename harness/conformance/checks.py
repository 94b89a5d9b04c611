"""The checks that a plugin must pass. Run them by `trilemma check NAME`, or in pytest:

import pytest, trilemma
from my_plugin import MyModel

@trilemma.parametrize_with_checks(MyModel)
def test_conformance(check):
    check()
"""

from __future__ import annotations

import contextlib
import functools
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal
from unittest import SkipTest

from ..boundary import boundary, described
from ..contracts.config import Config
from ..contracts.dataset import Dataset
from ..contracts.metric import Metric
from ..contracts.model import Model
from ..errors import PluginError, UnsupportedError, did_you_mean
from .datasets import DatasetKit
from .kit import FailureError, Kit
from .metrics import MetricKit
from .models import ModelKit

Status = Literal["passed", "failed", "skipped", "expected", "blocked"]
"""How a check ended.

`expected` means that it failed, as the author of the plugin expected. `blocked` means that it has not run, because a
check that it builds on has failed, so that a mistake is reported once.
"""


@dataclass(frozen=True)
class CheckResult:
    """The result of one check of one plugin class.

    `message` says what was found, what is wrong and how to mend it, or why the check was skipped. `traceback` is that
    of an error in the code of the plugin, from its first line there on.
    """

    kind: Literal["model", "dataset", "metric"]
    name: str
    check: str
    status: Status
    message: str
    seconds: float
    traceback: str = ""


@dataclass(frozen=True)
class Check:
    """One check of one plugin class. `expected` is the reason why it is expected to fail, or "".

    A call acts like a test. It raises AssertionError if the check fails, or if it passes although it was expected to
    fail. It raises unittest.SkipTest (which pytest shows as skipped) if the check does not apply, fails as expected, or
    is blocked by one of the checks that it `needs` (if they have run).
    """

    kind: Literal["model", "dataset", "metric"]
    plugin: str
    name: str
    description: str
    body: Callable[[], str]
    expected: str = ""
    needs: tuple[str, ...] = ()
    outcomes: dict[str, tuple[str, str]] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return f"{self.plugin}-{self.name}"

    def run(self) -> CheckResult:
        """Run the check. Errors of the plugin are part of the result and are not raised."""
        started = time.perf_counter()
        status, message, trace = self._run()
        if self.expected and status == "failed":
            status, message = "expected", f"{self.expected} ({message})"
        elif self.expected and status == "passed":
            status, message = (
                "failed",
                f"it was expected to fail ({self.expected}) but passes: remove it from expected_failures",
            )
        self.outcomes[self.name] = status, message
        return CheckResult(self.kind, self.plugin, self.name, status, message, time.perf_counter() - started, trace)

    def _run(self) -> tuple[Status, str, str]:
        for name in self.needs:
            if self.outcomes.get(name, ("",))[0] in ("failed", "expected", "blocked"):
                return "blocked", f"by the check '{name}', which has not passed", ""
        try:
            with boundary():
                return "passed", self.body(), ""
        except UnsupportedError as error:
            return "skipped", str(error), ""
        except FailureError as error:
            return "failed", str(error), _trace(error.__cause__)
        except Exception as error:  # any error of a plugin is a failed check
            return "failed", described(error), _trace(error)

    def __call__(self) -> None:
        result = self.run()
        if result.status == "failed":
            trace = f"\n{result.traceback}" if result.traceback else ""
            raise AssertionError(f"{self.plugin}, {self.description} {result.message}{trace}")
        if result.status in ("skipped", "expected", "blocked"):
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
        Check(
            *(kind, cls.name, name, (body.__doc__ or "").strip().split("\n")[0], body, expected.get(name, "")),
            needs=getattr(body, "needs", ()),
            outcomes=kit.outcomes,
        )
        for name, body in bodies.items()
    ]


def parametrize_with_checks(*classes: type[Any], **options: Any) -> Any:
    """A pytest decorator: the test runs once for each check of each class, which it gets as the argument `check`.

    `options` are those of `conformance_checks`. Its checks build on each other, so run them in order, in one process.
    """
    checks = [check for cls in classes for check in conformance_checks(cls, **options)]
    return import_module("pytest").mark.parametrize("check", checks, ids=str)


def _kit(cls: type[Any], config: Config | None) -> tuple[Literal["model", "dataset", "metric"], Kit]:
    if isinstance(cls, type) and issubclass(cls, Model):
        return "model", ModelKit(cls, config)
    if isinstance(cls, type) and issubclass(cls, Dataset):
        return "dataset", DatasetKit(cls, config)
    if isinstance(cls, type) and issubclass(cls, Metric):
        return "metric", MetricKit(cls, config)
    raise PluginError(f"{cls!r} is not a subclass of trilemma.Model, trilemma.Dataset or trilemma.Metric")


_NOT_THEIRS = (str(Path(__file__).parents[1]), contextlib.__file__, functools.__file__)


def _trace(error: BaseException | None) -> str:
    """The traceback of an error from the first line outside the harness on; "" if there is no such line."""
    if error is None:
        return ""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_NOT_THEIRS):
        trace = trace.tb_next
    if trace is None:
        return ""
    return "".join(traceback.format_exception(type(error), error, trace, chain=False)).rstrip()
