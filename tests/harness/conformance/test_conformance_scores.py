"""The check of a score asks for it at the noise levels that the model names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import trilemma

sys.path.insert(0, str(Path(__file__).parent))
from planted_models import Gauss

LEVELS: tuple[float, float] = (0.0, float("inf"))


class Scored(Gauss):
    """The score of the standard normal, between two noise levels."""

    known: tuple[float, float] = LEVELS
    told: tuple[float, float] = LEVELS

    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        low, high = self.known
        if not low * (1 - 1e-6) <= float(sigma) <= high * (1 + 1e-6):
            raise trilemma.UnsupportedError("it is not known here")
        return -x / (1 + sigma**2)

    def score_levels(self) -> tuple[float, float]:
        return self.told


class FromTen(Scored):
    """A score that is no number at low noise levels."""

    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        return super().score(x, sigma, ctx) * (1 if sigma > 10 else torch.nan)


class OfTwoPoints(Scored):
    """The score of two points, which is far from that of the standard normal at low noise levels."""

    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        return (x.sign() - x) / sigma**2


class Doubled(Scored):
    """Twice the score."""

    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        return 2 * super().score(x, sigma, ctx)


def check(base: type[Scored], **levels: tuple[float, float]) -> Any:
    kind = type(base.__name__, (base,), {"__doc__": base.__doc__, **levels})
    return next(check for check in trilemma.conformance_checks(kind) if check.name == "score").run()


@pytest.mark.parametrize("levels", [LEVELS, (0.02, 4.0), (0.1, 0.1), (5.0, 9.0)])
def test_a_score_that_is_known_where_the_model_says_so_passes(levels: tuple[float, float]) -> None:
    assert check(Scored, known=levels, told=levels).status == "passed"


def test_a_low_noise_level_is_not_compared_with_the_standard_normal() -> None:
    assert check(OfTwoPoints, told=(0.01, 0.1)).status == "passed"


@pytest.mark.parametrize(
    ("base", "known", "told", "message"),
    [
        (Scored, (0.3, 0.3), LEVELS, "score_levels has 0 to inf, but at 0.04: it is not known here"),
        (Scored, (0.0, 1.0), LEVELS, "score_levels has 0 to inf, but at 30"),
        (Scored, LEVELS, (0.3, 0.3), "score_levels has 0.3 alone, but score returns a value at another level"),
        (Scored, LEVELS, (float("nan"), float("nan")), "returns (nan, nan)"),
        (Scored, LEVELS, (5.0, 0.1), "returns (5, 0.1)"),
        (FromTen, LEVELS, LEVELS, "the score is not finite at noise level 0.04"),
        (Doubled, LEVELS, LEVELS, "at noise level 30 the score differs by 100%"),
        (Doubled, (0.0, 4.0), (0.0, 4.0), "at noise level 4 the score differs by 100%"),
    ],
)
def test_a_score_that_is_not_known_where_the_model_says_so_fails(
    base: type[Scored], known: tuple[float, float], told: tuple[float, float], message: str
) -> None:
    result = check(base, known=known, told=told)
    assert result.status == "failed"
    assert message in result.message
