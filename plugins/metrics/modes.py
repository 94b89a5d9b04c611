"""How a model spreads its samples over the components of a mixture distribution."""

from __future__ import annotations

import math
from collections.abc import Mapping
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import trilemma

from .drawings.histograms import histogram, span
from .samples import DrawsConfig
from .two_sample import TwoSample

Array = NDArray[np.float64]

_TRUE_POINTS = 50_000  # whose radii are compared with those of samples
_TRUE_DRAW = 999  # of real points, which no other metric uses
_true_radii: WeakKeyDictionary[trilemma.Dataset, Array] = WeakKeyDictionary()
_MOST_BARS = 100  # modes that a picture can show
_SHARE = 1 - math.exp(-4.5)  # of a two-dimensional Gaussian within three standard deviations


def nearest_modes(
    points: Array, *, centers: Array, weights: Array, covariances: Array
) -> tuple[NDArray[np.int64], Array]:
    """The most probable component of each point `(n, d)`, and the squared Mahalanobis distance to it, each `(n,)`."""
    squared = np.empty((len(points), len(centers)))
    log_density = np.empty_like(squared)
    for j, (center, covariance) in enumerate(zip(centers, covariances, strict=True)):
        factor = np.linalg.cholesky(covariance)
        squared[:, j] = (np.linalg.solve(factor, (points - center).T) ** 2).sum(0)
        log_density[:, j] = math.log(weights[j]) - np.log(np.diag(factor)).sum() - squared[:, j] / 2
    mode = log_density.argmax(1)
    return mode, squared[np.arange(len(points)), mode]


def mode_statistics(
    *,
    generated: Array,
    centers: Array,
    weights: Array,
    covariances: Array,
    least: float = 0.1,
    true_radii: Array | None = None,
) -> dict[str, float]:
    """Where samples `(n, d)` fall among Gaussian components: `centers` (k, d), `weights` (k,), `covariances` (k, d, d).

    A sample belongs to its most probable component. It is close to this component if its Mahalanobis distance is at
    most the radius that holds 98.9 % of the mass of a Gaussian, which is three standard deviations in two dimensions.
    A mode is covered if it has at least one close sample, and at least `least` times the number expected from its
    weight. `mode_mass_kl` is KL(sample shares | weights) without its bias (k - 1) / 2n for the k modes that have
    samples (Miller 1955), so it can be negative. `mode_spread` is the root mean squared Mahalanobis distance per
    coordinate of the close samples; it is absent if there are none. For the true distribution it is 0.97 in two
    dimensions. `radius_ks` is the Kolmogorov-Smirnov distance between the Mahalanobis distances of all samples and
    `true_radii`, those of points of the true distribution; it is absent if they are not given.
    """
    from scipy import stats

    n, d = generated.shape
    radius = stats.chi2.ppf(_SHARE, d)
    mode, distance = nearest_modes(generated, centers=centers, weights=weights, covariances=covariances)
    close = distance <= radius
    counts = np.bincount(mode[close], minlength=len(centers))
    shares = np.bincount(mode, minlength=len(centers)) / n
    seen = shares > 0
    bias = (seen.sum() - 1) / (2 * n)
    found = {
        "modes_covered": float((counts >= np.maximum(1, least * weights * _SHARE * n)).sum()),
        "within_3_sigma": float(close.mean()),
        "mode_mass_kl": float((shares[seen] * np.log(shares[seen] / weights[seen])).sum() - bias),
    }
    if close.any():
        found["mode_spread"] = float(np.sqrt(distance[close].mean() / d))
    if true_radii is not None:
        found["radius_ks"] = float(stats.ks_2samp(np.sqrt(distance), true_radii).statistic)
    return found


def true_components(evaluation: trilemma.Evaluation) -> dict[str, Array] | None:
    """The centers, weights and covariances of the true distribution; None if it is not a known mixture."""
    modes = evaluation.dataset.modes()
    if modes is None:
        return None
    return {
        "centers": modes.centers.double().numpy(),
        "weights": modes.weights.double().numpy(),
        "covariances": modes.covariances.double().numpy(),
    }


class ModeCoverage(TwoSample):
    """Mode coverage: modes covered, the error of the masses of the modes, and the error of the spread within them.

    `mode_mass_kl` decides on coverage. The number of covered modes alone ranks no models, because most cover all.
    `radius_ks` is the error of the spread: it compares the distances of samples to their mode with those of true
    points, so samples that are too near and too far both raise it. `within_3_sigma` and `mode_spread` say in which
    direction the spread is off. Within three standard deviations means that in two dimensions, and within the radius of
    the same mass in others. The floors are the values of samples from the true distribution. Raises UnsupportedError if
    the true distribution is not a known mixture.
    """

    name = "modes"
    quantities = (
        trilemma.Quantity(
            name="mode_mass_kl",
            title="Mode mass KL",
            unit="nats",
            group="coverage",
            place="first",
            least=0,
            unbiased=True,
        ),
        trilemma.Quantity(name="modes_covered", title="Modes covered", group="coverage", better="higher", ranks=False),
        trilemma.Quantity(name="radius_ks", title="Spread error (KS)", group="quality"),
        trilemma.Quantity(name="within_3_sigma", title="Within 3σ", group="quality", better="none", place="more"),
        trilemma.Quantity(name="mode_spread", title="Mode spread", group="quality", better="none", place="more"),
    )

    class Config(DrawsConfig):
        """Sizes of the sample sets, and the threshold of coverage."""

        least: float = Field(
            0.1, gt=0, le=1, description="share of its expected close samples that a covered mode needs"
        )

    def compare(self, real: Array, generated: Array, evaluation: trilemma.Evaluation) -> Mapping[str, float]:
        components = self._components(evaluation)
        return mode_statistics(
            generated=generated, least=self.config.least, true_radii=self._true_radii(evaluation), **components
        )

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        results = super().compute(evaluation)
        n, draws = results[0].n or 0, results[0].details["draws"]
        points = np.concatenate([evaluation.generate(n, draw) for draw in range(draws)])
        drawings = self._drawings(points, evaluation)
        return [
            result.model_copy(update={"details": result.details | drawings.get(result.metric, {})})
            for result in results
        ]

    def _drawings(self, points: Array, evaluation: trilemma.Evaluation) -> dict[str, dict[str, object]]:
        """The histograms of the masses of the modes and of the distances to them, by the result that they belong to."""
        components, true = self._components(evaluation), self._true_radii(evaluation)
        mode, squared = nearest_modes(points, **components)
        modes = len(components["weights"])
        masses = {
            "edges": (np.arange(modes + 1) - 0.5).tolist(),
            "series": [
                {"title": "samples", "shares": (np.bincount(mode, minlength=modes) / len(mode)).round(5).tolist()},
                {"title": "true mass", "shares": components["weights"].round(5).tolist()},
            ],
            "bars": True,
            "title": "Mass of each mode",
            "x_title": "mode",
            "reading": (
                "The share of samples that belong to each mode, beside its true mass. A mode without a bar is lost. "
                "Bars of other heights than the lines are modes that get too many or too few samples."
            ),
        }
        radii = histogram(
            {"samples": np.sqrt(squared), "true points": true},
            span(np.array([0.0, 1.4 * np.quantile(true, 0.999)])),
            title="Distance to the mode",
            x_title="distance to the mode [standard deviations]",
            reading=(
                "The share of points by their distance from the center of their mode. Samples to the left of the true "
                "points are modes that are too narrow; a tail to the right is samples between the modes. The last bar "
                "holds all points beyond it."
            ),
        )
        return {
            "mode_mass_kl": {"histogram": masses} if modes <= _MOST_BARS else {},
            "radius_ks": {"histogram": radii},
        }

    def details(self, evaluation: trilemma.Evaluation) -> dict[str, int]:
        return {"modes": len(self._components(evaluation)["weights"])}

    def _components(self, evaluation: trilemma.Evaluation) -> dict[str, Array]:
        components = true_components(evaluation)
        if components is None:
            raise trilemma.UnsupportedError(f"the true distribution of '{evaluation.dataset.name}' has no known modes")
        return components

    def _true_radii(self, evaluation: trilemma.Evaluation) -> Array:
        """Distances of fresh true points to their modes, computed once for each dataset.

        Modes that overlap give other radii than one Gaussian does, so these are not the radii of a chi distribution.
        """
        dataset = evaluation.dataset
        if dataset not in _true_radii:
            points = evaluation.real(_TRUE_POINTS, _TRUE_DRAW)
            _true_radii[dataset] = np.sqrt(nearest_modes(points, **self._components(evaluation))[1])
        return _true_radii[dataset]
