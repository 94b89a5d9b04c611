"""What a few-step likelihood differs in from that of the ODE of the same training, in words."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import trilemma

from . import numbers

KINDS = ("map", "estimate")
"""The kinds of likelihood that are compared with the ODE of the same training. They are not ranked with it."""
LEAST_SEEDS = 3
"""Fewest training seeds behind an interval, as in the table."""


def odes(rows: Iterable[Any]) -> dict[tuple[str, str, str], Any]:
    """The summary rows of the ODE among those of one model, by metric, base measure and machine.

    Of several settings of the ODE it is the one that ranks the model. Without it, there is none to compare with.
    """
    found: dict[tuple[str, str, str], list[Any]] = {}
    for row in rows:
        if row.likelihood == "ode":
            found.setdefault((row.metric, row.base, row.machine), []).append(row)
    ranked = {key: [row for row in same if row.ranks] if len(same) > 1 else same for key, same in found.items()}
    return {key: same[0] for key, same in ranked.items() if len(same) == 1}


def beside_ode(row: Any, found: dict[tuple[str, str, str], Any], factor: float) -> str:
    """How far a number of a `map` or `estimate` is from that of the ODE in `found`; "" if there is none.

    The difference is the mean over the training seeds that both have. Its 95 % interval, from three seeds on, is that
    of differences at the same seed, because both are of one training.
    """
    ode = found.get((row.metric, row.base, row.machine))
    if row.likelihood not in KINDS or ode is None:
        return ""
    of_ode = dict(zip(ode.value_seeds, ode.values, strict=True))
    pairs = zip(row.value_seeds, row.values, strict=True)
    apart = [factor * (value - of_ode[seed]) for seed, value in pairs if seed in of_ode]
    if not apart or not all(map(math.isfinite, apart)):
        return ""
    mean, low, high = trilemma.mean_interval(apart)
    few = len(apart) < LEAST_SEEDS
    return _words(mean, math.nan if few or low is None or high is None else (high - low) / 2)


def _words(difference: float, half: float) -> str:
    if difference == 0:
        return "as the ODE of the same training"
    shown, plus_minus = numbers.with_interval(abs(difference), half)
    error = f" ± {plus_minus}" if plus_minus else ""
    return f"{shown}{error} {'above' if difference > 0 else 'below'} the ODE of the same training"
