"""Fields over the plane for the details of a result, which a report draws: densities, and scores as arrows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import trilemma

from .histograms import shortened

Array = NDArray[np.float64]

MARGIN = 0.15
"""The part of the width of the data by which a picture of the plane is larger than the data, on each side."""
PEAK = 0.95
"""The quantile of the densities at test points that stands for the peak of a density whose true one is unknown."""


def rows(values: Array, digits: int = 3) -> list[list[float]]:
    """The rows of a grid, with three significant digits of each number: details are stored as text."""
    return [[shortened(value, digits) for value in row] for row in values]


def plane(points: Array, side: int) -> tuple[Array, Array, Array]:
    """The axes `(side,)` and the points `(side^2, 2)`, row by row from the lowest, of a grid about `points` (n, 2)."""
    low, high = np.quantile(points, [0.001, 0.999], axis=0)
    margin = MARGIN * np.maximum(high - low, 1e-9)
    x, y = (np.linspace(low[i] - margin[i], high[i] + margin[i], side) for i in range(2))
    return x, y, np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def density_map(evaluation: trilemma.Evaluation, side: int) -> dict[str, Any]:
    """The drawing `map` of the density of a model in the plane, as a share of the highest true density.

    Its lines hold shares of the true distribution. Where that is not known, there are no lines, and the unit is the
    density that `PEAK` of the test points do not reach. Raises as `log_prob_at` does.
    """
    test = evaluation.points("test")
    x, y, at = plane(test, side)
    found = evaluation.log_prob_at(torch.tensor(at), "points of a grid").reshape(side, side)
    true = None
    if evaluation.dataset.has_density:
        true = evaluation.dataset.log_prob(torch.tensor(at)).numpy().reshape(side, side)
        peak, unit = float(true.max()), "the highest true density"
        lines = "The lines hold 50 % and 99 % of the true distribution. "
    else:
        peak = float(np.quantile(evaluation.log_prob("test", min(len(test), 500)), PEAK))
        unit, lines = "the density at the densest test points", ""
    drawing: dict[str, Any] = {
        "x": [shortened(value) for value in x],
        "y": [shortened(value) for value in y],
        "values": rows(np.exp(np.clip(found - peak, -30, 30))),
        "title": "Density of the model",
        "reading": (
            f"Color is the density of each model, as a share of {unit}. {lines}Look for density between the modes and "
            "outside the data, for modes that are too wide or too faint, and for spikes at single points."
        ),
    }
    if true is not None:
        drawing["log_density"] = rows(np.maximum(true - peak, -30))
    return drawing
