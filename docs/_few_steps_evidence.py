"""Which likelihoods by few steps are shown to be of no density, counted from the stored values.

A likelihood of one training is shown to be of no density by a mass off 1, by an NLL below the entropy, or by a mean of
log q - log p above 0 at samples of the ODE. Masses that are not told are missing not at random: the mass of a density
with narrow peaks is hard to find. So they show nothing, and a table says how many there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

TOLERANCE = 0.02
"""Distance of a mass from 1 that solvers may cause, as in the marks of the metric `nll`."""
WIDER = NormalDist().inv_cdf(0.9995) / NormalDist().inv_cdf(0.975)
"""From a 95 % interval to one of 99.9 %, because there are more than a hundred likelihoods."""

METHODS = {"ode": ("ODE", "#757575"), "estimate": ("head", "#3f51b5"), "map": ("Jacobian", "#d2691e")}
"""The word and the color of the likelihoods, by their kind."""


@dataclass(frozen=True)
class Value:
    """One number of one training: a quantity of one likelihood (`kind`) with `steps` steps.

    A mass that is not told is None. Then `why` says the reason, and `low` is the least that it can be, if it is known.
    """

    suite: str
    model: str
    dataset: str
    penalty: float
    seed: int
    kind: str
    steps: int
    quantity: str
    value: float | None
    low: float | None
    high: float | None
    why: str = ""

    @property
    def label(self) -> str:
        """The likelihood in words, with the penalty that the map was trained with."""
        return METHODS[self.kind][0] + (", with penalty" if self.penalty else "")

    @property
    def surely(self) -> tuple[float, float]:
        """The 99.9 % interval. A value without an interval is none."""
        if self.value is None or self.low is None or self.high is None:
            return -math.inf, math.inf
        return self.value - WIDER * (self.value - self.low), self.value + WIDER * (self.high - self.value)


def shows(value: Value) -> bool:
    """Whether a number shows that the likelihood is of no density."""
    low, high = value.surely
    if value.quantity == "mass" and value.value is None:
        return value.low is not None and value.low > 1 + TOLERANCE
    if value.quantity == "mass":
        return low > 1 + TOLERANCE or high < 1 - TOLERANCE
    if value.quantity == "nll_gap":
        return high < 0
    return value.quantity == "own" and low > 0


def shown(values: Iterable[Value]) -> tuple[set[int], set[int]]:
    """The seeds for which values of one likelihood show that it is of no density, and the seeds that have a value."""
    values = list(values)
    return {value.seed for value in values if shows(value)}, {value.seed for value in values}
