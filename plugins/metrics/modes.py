"""How a model spreads its samples over the components of a mixture distribution."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import stats

import trilemma

from .samples import DrawsConfig
from .two_sample import TwoSample

Array = NDArray[np.float64]

_SHARE = 1 - math.exp(-4.5)  # of a two-dimensional Gaussian within three standard deviations


def mode_statistics(
    *, generated: Array, centers: Array, weights: Array, covariances: Array, least: float = 0.1
) -> dict[str, float]:
    """Where samples `(n, d)` fall among Gaussian components: `centers` (k, d), `weights` (k,), `covariances` (k, d, d).

    A sample belongs to its most probable component, and is close where its Mahalanobis distance is at most that within
    which a component holds 98.9 % of its mass: three standard deviations in two dimensions, and the radius of the same
    mass in others. A mode is covered where it has at least `least` times the close samples that its weight promises,
    and at least one. `mode_mass_kl` is KL(sample shares | weights); `mode_spread` the root mean squared Mahalanobis
    distance per coordinate of the close samples, absent without any (.97 for the distribution itself in two
    dimensions).
    """
    n, d = generated.shape
    radius = stats.chi2.ppf(_SHARE, d)
    squared = np.empty((n, len(centers)))
    log_density = np.empty_like(squared)
    for j, (center, covariance) in enumerate(zip(centers, covariances, strict=True)):
        factor = np.linalg.cholesky(covariance)
        squared[:, j] = (np.linalg.solve(factor, (generated - center).T) ** 2).sum(0)
        log_density[:, j] = math.log(weights[j]) - np.log(np.diag(factor)).sum() - squared[:, j] / 2
    mode = log_density.argmax(1)
    distance = squared[np.arange(n), mode]
    close = distance <= radius
    counts = np.bincount(mode[close], minlength=len(centers))
    shares = np.bincount(mode, minlength=len(centers)) / n
    seen = shares > 0
    found = {
        "modes_covered": float((counts >= np.maximum(1, least * weights * _SHARE * n)).sum()),
        "within_3_sigma": float(close.mean()),
        "mode_mass_kl": float((shares[seen] * np.log(shares[seen] / weights[seen])).sum()),
    }
    return found | ({"mode_spread": float(np.sqrt(distance[close].mean() / d))} if close.any() else {})


class ModeCoverage(TwoSample):
    """Modes covered, share of samples within three standard deviations of a mode, and how mass and spread agree.

    The floors are the true distribution's own shares. Raises UnsupportedError where the distribution is not a mixture.
    """

    name = "modes"
    quantities = (
        trilemma.Quantity(name="modes_covered", title="Modes covered", group="coverage", better="higher"),
        trilemma.Quantity(name="within_3_sigma", title="Within 3σ", group="quality", better="none", place="more"),
        trilemma.Quantity(name="mode_mass_kl", title="Mode mass KL", unit="nats", group="coverage", place="more"),
        trilemma.Quantity(name="mode_spread", title="Mode spread", group="quality", better="none", place="more"),
    )

    class Config(DrawsConfig):
        """Sizes of the sample sets, and when a mode counts as covered."""

        least: float = Field(0.1, gt=0, le=1, description="share of its expected close samples that a mode needs")

    def compare(self, real: Array, generated: Array, evaluation: trilemma.Evaluation) -> Mapping[str, float]:
        modes = evaluation.dataset.modes()
        if modes is None:
            raise trilemma.UnsupportedError(f"the distribution behind '{evaluation.dataset.name}' has no known modes")
        return mode_statistics(
            generated=generated,
            centers=modes.centers.double().numpy(),
            weights=modes.weights.double().numpy(),
            covariances=modes.covariances.double().numpy(),
            least=self.config.least,
        )

    def details(self, evaluation: trilemma.Evaluation) -> dict[str, int]:
        modes = evaluation.dataset.modes()
        return {} if modes is None else {"modes": len(modes.weights)}
