"""Conditional restoration: test points that a model degrades and restores, against the points themselves."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import trilemma

from .kernels import energy_distance
from .two_sample import BLOCKS, jackknife_interval

Array = NDArray[np.float64]


def squared_errors(*, original: Array, restored: Array) -> Array:
    """Mean squared difference of the coordinates of each point, `(n,)`, of two sets `(n, d)` in the same order."""
    errors: Array = ((restored - original) ** 2).mean(1)
    return errors


class Restoration(trilemma.Metric):
    """Restoration of degraded test points, as in conditional generation (Bansal et al. 2023, section 4).

    The model degrades test points as far as its samples start from, and its sampler restores them. The model gets the
    degraded points alone for this. `restoration_rmse` is the root mean squared difference to the test points, and
    `restoration_energy` is the energy distance between the restored points and other real points. A restoration by the
    conditional mean has the least error, and its points are too much alike, so that the distance is large. The details
    have both numbers for the degraded points. The sampler `naive` with one step is the direct restoration by the
    network. Errors are in data units; intensities of images are in [0, 1].

    Raises UnsupportedError for models that degrade no points.
    """

    name = "restoration"
    compares = False
    expected_failures = {
        "checked": "it needs a model that degrades points, unlike the one on which metrics are checked"
    }
    quantities = (
        trilemma.Quantity(name="restoration_rmse", title="Restoration RMSE", unit="data units", ranks=False, least=0.0),
        trilemma.Quantity(
            name="restoration_energy", title="Energy distance of restored points", place="more", ranks=False
        ),
    )

    class Config(trilemma.Config):
        """The number of points."""

        n: int = Field(1000, ge=20, description="test points to restore; fewer where the held-out data has fewer")

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        n = min(self.config.n, evaluation.size("test"))
        if not evaluation.real_draws(n):
            n = min(n, evaluation.size("valid"))
        degraded, restored = evaluation.restored(n)
        original, other, dim = evaluation.real(n), evaluation.real(n, 1), evaluation.dim
        rmse, energy = self.quantities
        errors = squared_errors(original=original, restored=restored)
        _, *ends = trilemma.mean_interval(errors)
        low, high = (None if end is None else math.sqrt(max(0.0, end)) for end in ends)
        value = energy_distance(real=other, generated=restored)
        edges = np.linspace(0, n, BLOCKS + 1).astype(int)
        rows = [np.r_[0:a, b:n] for a, b in pairwise(edges)]
        around = jackknife_interval(
            value, [energy_distance(real=other[kept], generated=restored[kept]) for kept in rows]
        )
        of_degraded = {
            "degraded_rmse": math.sqrt(squared_errors(original=original, restored=degraded).mean()),
            "degraded_energy": energy_distance(real=other, generated=degraded),
        }
        return [
            rmse.result(math.sqrt(errors.mean()), dim, low=low, high=high, floor=0.0, n=n, details=of_degraded),
            energy.result(
                value,
                dim,
                low=around[0],
                high=around[1],
                floor=energy_distance(real=other, generated=original),
                n=n,
                details=of_degraded,
            ),
        ]
