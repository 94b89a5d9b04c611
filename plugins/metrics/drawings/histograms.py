"""Histograms for the details of a result, which a report draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BINS = 40


def histogram(
    series: Mapping[str, Array], edges: Array, *, title: str, x_title: str, reading: str, bars: bool = False
) -> dict[str, Any]:
    """The drawing `histogram` of several sets of numbers `(n,)` by their titles, over bins with `edges` (k + 1,).

    The first set is what the result is about, the others are to compare it with. Numbers outside the edges count in the
    first or last bin. `bars` says that each bin is a thing of its own, such as a mode.
    """
    return {
        "edges": [shortened(edge) for edge in edges],
        "series": [{"title": name, "shares": shares(values, edges)} for name, values in series.items()],
        "title": title,
        "x_title": x_title,
        "reading": reading,
        "bars": bars,
    }


def shares(values: Array, edges: Array) -> list[float]:
    """The share of `values` (n,) in each bin. Values outside count in the first or last bin, NaN in none."""
    inside = np.clip(values[~np.isnan(values)], edges[0], edges[-1])
    counts = np.histogram(inside, edges)[0]
    return [shortened(count / max(1, len(values))) for count in counts]


def span(values: Array, outer: float = 0.0, bins: int = BINS) -> Array:
    """Edges of `bins` equal bins that hold all `values` but a share `outer` at each end."""
    finite = values[np.isfinite(values)]
    low, high = np.quantile(finite, [outer, 1 - outer]) if len(finite) else (0.0, 1.0)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, bins + 1)


def shortened(value: float, digits: int = 4) -> float:
    """`value` with four significant digits: details are stored as text."""
    return float(f"{value:.{digits}g}")
