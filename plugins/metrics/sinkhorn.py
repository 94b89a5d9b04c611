"""The Sinkhorn divergence: optimal transport with entropic regularization, debiased."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import trilemma

from .kernels import median_distance
from .samples import DrawsConfig, check_pair
from .transport import TransportError
from .two_sample import READABLE_UP_TO
from .wasserstein import CorrectedDistance, distance_and_excess

Array = NDArray[np.float64]

_INNER = 10  # scaling iterations between two absorptions of the scalings into the potentials
_MOST = 1000  # absorptions in all
_TOLERANCE = 3e-4  # on the marginals, in total variation; the error of the cost is of second order in it


def entropic_cost(x: Array, y: Array, epsilon: float) -> float:
    """Entropic transport cost min_P <P, |x_i - y_j|^2> + epsilon KL(P | a b') between sets `(n, d)` and `(m, d)`.

    The weights a and b are equal, and the cost is computed from its dual <f, a> + <g, b>. The algorithm is Sinkhorn's,
    with absorption into the potentials (Schmitzer 2019). It solves a sequence of problems, each with half the
    regularization of the one before, down to `epsilon`. Raises TransportError if it does not converge.
    """
    from scipy.spatial.distance import cdist

    cost = cdist(x, y, "sqeuclidean")
    f, g = np.zeros(len(x)), np.zeros(len(y))
    largest = max(float(cost.max()), epsilon)
    level = epsilon * 2.0 ** math.ceil(math.log2(largest / epsilon))
    for _ in range(_MOST):
        plan = np.exp((f[:, None] + g - cost) / level) / (len(x) * len(y))
        u, v = np.ones(len(x)), np.ones(len(y))
        for _ in range(_INNER):
            u = 1 / (len(x) * np.maximum(plan @ v, np.finfo(float).tiny))
            v = 1 / (len(y) * np.maximum(u @ plan, np.finfo(float).tiny))
        error = np.abs(u * (plan @ v) - 1 / len(x)).sum() / 2
        f, g = f + level * np.log(u), g + level * np.log(v)
        if error < _TOLERANCE:
            if level <= epsilon:
                return float(f.mean() + g.mean())
            level /= 2
    raise TransportError(
        f"Sinkhorn's algorithm did not converge: the error of the marginals is {error:.1e}; use a larger blur"
    )


def sinkhorn_divergence(*, real: Array, generated: Array, epsilon: float) -> float:
    """Sinkhorn divergence S = OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2 (Genevay et al. 2018; Feydy et al. 2019).

    OT is `entropic_cost` between sets `(n, d)`. S tends to W2^2 as epsilon tends to 0, and to the squared distance of
    the means as epsilon tends to infinity. It is never negative, and it is zero only for equal sets. Raises DataError
    or DivergedError for sets that cannot be compared, TransportError if the solver does not converge.
    """
    check_pair(real, generated)
    own = entropic_cost(real, real, epsilon) + entropic_cost(generated, generated, epsilon)
    return entropic_cost(real, generated, epsilon) - own / 2


class Sinkhorn(CorrectedDistance):
    """Sinkhorn divergence: optimal transport with entropic regularization, smoother than W2 and less biased."""

    name = "sinkhorn"
    resampled = False  # it would take too long
    floor_budget = 1e6
    quantities = distance_and_excess("sinkhorn", "Sinkhorn divergence", place="more", most_dim=READABLE_UP_TO)

    class Config(DrawsConfig):
        """Sizes of the sample sets, and the regularization."""

        n: int = Field(500, ge=2, description="points per sample set; fewer where the held-out data has fewer")
        draws: int = Field(4, ge=2, description="independent sample sets drawn from the model")
        blur: float = Field(
            0.1, gt=0, description="square root of the regularization over the median distance of real points"
        )

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        reference = evaluation.real(min(1000, evaluation.size("test")))
        self.epsilon = (self.config.blur * median_distance(reference)) ** 2
        return super().compute(evaluation)

    def powered(self, real: Array, generated: Array) -> float:
        return sinkhorn_divergence(real=real, generated=generated, epsilon=self.epsilon)

    def details(self, evaluation: trilemma.Evaluation) -> dict[str, Any]:
        return {"epsilon": self.epsilon}
