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

    A sample belongs to its most probable component. It is close to this component if its Mahalanobis distance is at
    most the radius that holds 98.9 % of the mass of a Gaussian, which is three standard deviations in two dimensions.
    A mode is covered if it has at least one close sample, and at least `least` times the number expected from its
    weight. `mode_mass_kl` is KL(sample shares | weights). `mode_spread` is the root mean squared Mahalanobis distance
    per coordinate of the close samples; it is absent if there are none. For the true distribution it is 0.97 in two
    dimensions.
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
    """Mode coverage: modes covered, share of samples near a mode, and errors of the mass and spread of the modes.

    Near means within three standard deviations in two dimensions, and within the radius of the same mass in others. The
    floors are the values of samples from the true distribution. Raises UnsupportedError if the true distribution is not
    a known mixture.
    """

    name = "modes"
    quantities = (
        trilemma.Quantity(name="modes_covered", title="Modes covered", group="coverage", better="higher"),
        trilemma.Quantity(name="within_3_sigma", title="Within 3σ", group="quality", better="none", place="more"),
        trilemma.Quantity(name="mode_mass_kl", title="Mode mass KL", unit="nats", group="coverage", place="more"),
        trilemma.Quantity(name="mode_spread", title="Mode spread", group="quality", better="none", place="more"),
    )

    class Config(DrawsConfig):
        """Sizes of the sample sets, and the threshold of coverage."""

        least: float = Field(
            0.1, gt=0, le=1, description="share of its expected close samples that a covered mode needs"
        )

    def compare(self, real: Array, generated: Array, evaluation: trilemma.Evaluation) -> Mapping[str, float]:
        modes = evaluation.dataset.modes()
        if modes is None:
            raise trilemma.UnsupportedError(f"the true distribution of '{evaluation.dataset.name}' has no known modes")
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
