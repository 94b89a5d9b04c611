"""Round numbers for the axes of figures."""

from __future__ import annotations

import math

import numpy as np

MOST = 9
"""Most ticks of an axis."""


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two limits: powers of ten, with others between them if these are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for between in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)):
        ticks = [float(f"{m}e{p}") for p in powers for m in between if low <= float(f"{m}e{p}") <= high]
        if len(ticks) >= 4:
            break
    return ticks[:: math.ceil(len(ticks) / MOST)] if ticks else [low, high]


def even_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two limits at even distances."""
    step = 10.0 ** math.floor(math.log10(high - low))
    step = next(step * m for m in (0.1, 0.2, 0.5, 1.0, 2.0) if (high - low) / (step * m) <= MOST)
    return [float(f"{x:.12g}") for x in np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step]
