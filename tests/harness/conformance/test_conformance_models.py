"""How checks end: skipped, blocked, expected, with the author's traceback; and mistakes of a model of other kinds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import SkipTest

import pytest
import torch
from torch import Tensor

import trilemma

sys.path.insert(0, str(Path(__file__).parent))  # a new process imports the module too
from planted_models import FlatTailsOde, Gauss, OverflowsOde, TwiceTheMass, UndefinedOde
from planted_samples import Net

Statuses = Callable[..., dict[str, str]]
Failed = Callable[[type[Any]], set[str]]


class Frozen(Gauss):
    """It draws the same points each time."""

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.mean.expand(n, -1)


class UnlistedSampler(Gauss):
    """It always draws by a sampler that it does not list."""

    class Other(trilemma.Sampler):
        name = "other"

    always_samplers = (Other(),)


class TheSameMass(TwiceTheMass):
    """Its density integrates to 2, and it says so."""

    expected_failures = {"mass": "for the sake of it"}


class InfiniteOde(UndefinedOde):
    """Its density is +inf far from the data."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x, ctx).nan_to_num(torch.inf)


class NotANumber(Gauss):
    """Its density is NaN."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x, ctx) * torch.nan


class OneColumn(Gauss):
    """It keeps a dimension that should be gone."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().log_prob(x, ctx)[:, None]


class Liar(Gauss):
    """It has a density and denies it."""

    likelihood = "none"


class Undocumented(Gauss):
    """An option without a description."""

    class Config(trilemma.Config):
        width: int = 3


class BadScore(Gauss):
    """The score of the wrong sign."""

    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        return x / (1 + sigma**2)


class Counting(Net):
    """A loss that remembers how often it was called."""

    calls = 0

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        self.calls += 1
        return super().loss(x, ctx) * self.calls


class Detached(Net):
    """A loss without a gradient."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self.build(ctx.info)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().loss(x, ctx).detach()


class Misspelt(Gauss):
    """Its fit has a mistake."""

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self.mean = train.points.mean(0)  # type: ignore[attr-defined]


CHECKS = trilemma.conformance_checks(Gauss)


@trilemma.parametrize_with_checks(Gauss)
def test_a_right_model_passes(check: trilemma.Check) -> None:
    check()


def test_what_does_not_apply_is_skipped(statuses: Statuses) -> None:
    found = statuses(Net)
    skipped = {name for name, status in found.items() if status == "skipped"} - {"device"}
    assert skipped == {"mass", "samples-density", "rows", "score"}
    assert set(found.values()) <= {"passed", "skipped"}


@pytest.mark.parametrize(
    ("cls", "checks"),
    [
        (Frozen, {"sample-deterministic"}),
        (UnlistedSampler, {"samplers"}),
        (NotANumber, {"log-prob"}),
        (OneColumn, {"log-prob"}),
        (Liar, {"log-prob"}),
        (Undocumented, {"documented"}),
        (BadScore, {"score"}),
        (Counting, {"loss"}),
        (Detached, {"loss"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_each_mistake_of_a_model_fails_its_check(cls: type[trilemma.Model], checks: set[str], failed: Failed) -> None:
    assert failed(cls) == checks


def test_one_mistake_is_reported_once_with_the_traceback_of_the_author() -> None:
    results = [check.run() for check in trilemma.conformance_checks(Misspelt)]
    (failed,) = [result for result in results if result.status == "failed"]
    assert failed.check == "fit"
    assert "no attribute 'points'" in failed.message
    first = failed.traceback.splitlines()[1]
    assert f'{__file__}", line' in first
    assert first.endswith("in fit")
    rest = {
        result.status for result in results if result.check not in ("documented", "import-time", "fit", "global-state")
    }
    assert rest <= {"blocked", "passed", "skipped"}
    assert sum(result.status == "blocked" for result in results) >= 15


def test_a_check_that_is_run_alone_is_not_blocked() -> None:
    (mass,) = [check for check in trilemma.conformance_checks(Gauss) if check.name == "mass"]
    assert mass.run().status == "passed"


def test_a_blocked_check_is_skipped_in_pytest() -> None:
    checks = {check.name: check for check in trilemma.conformance_checks(TwiceTheMass)}
    assert checks["mass"].run().status == "failed"
    with pytest.raises(SkipTest, match="blocked: by the check 'mass'"):
        checks["samples-density"]()


def messages(cls: type[Any], name: str) -> str:
    return next(check for check in trilemma.conformance_checks(cls) if check.name == name).run().message


def test_messages_name_what_is_wrong() -> None:
    assert "integrates to 2.0" in messages(TwiceTheMass, "mass")
    assert "'width'" in messages(Undocumented, "documented")


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (FlatTailsOde, "log_prob is +"),
        (OverflowsOde, "the density integrates to exp(80"),  # 800 nats over an area of about 300
        (InfiniteOde, "log_prob is +inf at"),
    ],
)
def test_the_density_of_an_ode_that_is_too_high_away_from_the_data_fails(cls: type[Any], message: str) -> None:
    (mass,) = [check for check in trilemma.conformance_checks(cls) if check.name == "mass"]
    result = mass.run()
    assert result.status == "failed"
    assert message in result.message


def test_the_density_of_an_ode_that_is_not_a_number_where_no_mass_is_passes() -> None:
    (mass,) = [check for check in trilemma.conformance_checks(UndefinedOde) if check.name == "mass"]
    assert mass.run().status == "passed"


def test_a_class_that_no_other_process_can_import_skips_what_needs_one(statuses: Statuses) -> None:
    class Local(Gauss):
        """Defined in a function."""

    found = statuses(Local)
    assert {found["import-time"], found["fresh-process"]} == {"skipped"}
    assert "failed" not in found.values()


@pytest.mark.slow
def test_a_slow_import_of_the_module_with_the_hooks_fails(tmp_path: Path) -> None:
    from trilemma.harness.plugins import Registry

    file = tmp_path / "slow_import.py"
    file.write_text(
        "import time\nbegun = time.process_time()\nwhile time.process_time() - begun < 1.6:\n    pass\n"
        "import torch, trilemma\n"
        "class Slow(trilemma.Model):\n"
        "    'A model.'\n"
        "    name = 'slow-import'\n"
        "    def fit(self, train, ctx): pass\n"
        "    def sample(self, n, ctx): return torch.randn(n, *ctx.info.shape, generator=ctx.generator)\n"
        "@trilemma.hookimpl\n"
        "def trilemma_models(): return [Slow]\n"
    )
    cls = Registry([file]).get("models", "slow-import")
    (check,) = [check for check in trilemma.conformance_checks(cls) if check.name == "import-time"]
    result = check.run()
    assert result.status == "failed"
    assert "register the class by reference" in result.message


def test_expected_failures_are_strict(statuses: Statuses) -> None:
    alone = ("import-time", "fresh-process")  # they have nothing to do with it, and take long
    assert statuses(TheSameMass, alone)["mass"] == "expected"
    expected: Mapping[str, str] = {"mass": "known"}
    assert statuses(TwiceTheMass, alone, expected_failures=expected)["mass"] == "expected"
    (check,) = [c for c in trilemma.conformance_checks(TwiceTheMass, expected_failures=expected) if c.name == "mass"]
    with pytest.raises(SkipTest, match="known"):
        check()
    (check,) = [c for c in trilemma.conformance_checks(Gauss, expected_failures=expected) if c.name == "mass"]
    assert check.run().status == "failed"
    with pytest.raises(AssertionError, match="expected to fail"):
        check()
    with pytest.raises(trilemma.PluginError, match="did you mean 'mass'"):
        trilemma.conformance_checks(Gauss, expected_failures={"mas": "misspelt"})
    with pytest.raises(trilemma.PluginError, match="not a subclass"):
        trilemma.conformance_checks(int)
