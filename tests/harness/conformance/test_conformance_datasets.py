"""The checks of a dataset: what is right passes, and each kind of mistake fails the check that is there for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.harness.conformance.distributions import ThreeGaussians

Failed = Callable[[type[Any]], set[str]]


class Leaky(ThreeGaussians):
    """Test points that are also training points."""

    def load(self) -> trilemma.Splits:
        splits = super().load()
        return trilemma.Splits(splits.train, splits.valid, splits.train[:100].clone())


class Restless(ThreeGaussians):
    """Other points each time."""

    def load(self) -> trilemma.Splits:
        splits = super().load()
        return trilemma.Splits(splits.train + torch.rand(2), splits.valid, splits.test)


class WrongEntropy(ThreeGaussians):
    """An entropy that is a quarter of a nat off."""

    @property
    def entropy(self) -> float:
        return super().entropy + 0.25


class WrongModes(ThreeGaussians):
    """Modes whose weights are those of another distribution."""

    def modes(self) -> trilemma.Modes:
        modes = super().modes()
        return trilemma.Modes(modes.centers, torch.ones(3) / 3, modes.covariances)


class GlobalDistribution(ThreeGaussians):
    """A distribution that draws by the global generator."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, 2)


class NoLicense(ThreeGaussians):
    """A card without a license."""

    license = ""


class Doubles(ThreeGaussians):
    """Points in double precision."""

    def load(self) -> trilemma.Splits:
        splits = super().load()
        return trilemma.Splits(splits.train.double(), splits.valid.double(), splits.test.double())


def test_a_right_dataset_passes(statuses: Callable[..., dict[str, str]]) -> None:
    assert set(statuses(ThreeGaussians).values()) == {"passed"}


@pytest.mark.parametrize(
    ("cls", "checks"),
    [
        (Leaky, {"disjoint"}),
        (Restless, {"deterministic"}),
        (WrongEntropy, {"entropy"}),
        (WrongModes, {"modes"}),
        (NoLicense, {"card"}),
        (Doubles, {"splits"}),
    ],
)
def test_each_mistake_of_a_dataset_fails_its_check(
    cls: type[trilemma.Dataset], checks: set[str], failed: Failed
) -> None:
    assert failed(cls) == checks


def test_a_distribution_of_the_global_generator_fails(failed: Failed) -> None:
    assert {"distribution", "deterministic"} <= failed(GlobalDistribution)
