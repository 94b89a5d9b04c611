"""The quality verdict: energy distances of the points and of their log-densities, in units of their noise."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import trilemma

from .energy_sums import Sums, frames, sums_of_pairs, sums_on_lines
from .samples import check_pair
from .witness import Features, Witness, witness_of

Array = NDArray[np.float64]

_LEAST_POINTS = 500  # also for the slowest samplers
_UNKNOWN_POINTS = 2000  # for samplers of unknown cost
_FLOOR_PAIRS = 20  # fresh pairs of real sets for the floor
_FLOOR_POINTS = 1000  # points of each; the statistic is unbiased, so the floor at any n has the same mean
_REFERENCES = 1000  # first number of the draws of real points that no other metric uses

_floors: WeakKeyDictionary[trilemma.Dataset, dict[int, Array]] = WeakKeyDictionary()


def points_for(evaluation: trilemma.Evaluation, most: int, budget: float) -> int:
    """The number of points to draw: `budget` over the work of one sample, from 500 to `most`.

    It is at most 2,000 if the operations of the sampler cannot be observed.
    """
    try:
        work = evaluation.work
    except trilemma.UnsupportedError:
        return min(_UNKNOWN_POINTS, most)
    return most if not work else int(np.clip(budget / work, min(_LEAST_POINTS, most), most))


class WitnessEnergy(trilemma.Metric):
    """Energy distance of the points and of their log-densities: the statistic that decides on quality.

    The value is E(x) / u + E(z) / v. E is the energy distance 2 E|a - b| - E|a - a'| - E|b - b'| between real and
    generated points, x are the points in units of their standard deviations, and z is the log-density of each point,
    standardized and clipped to +-8. Energy distances see shifts and missing mass, but neither a spread that is slightly
    off nor points between modes; z sees these. Both terms are distances and zero for the true distribution, and the
    first is zero for no other. The units u and v are the limits of n times the standard deviation of each term for n
    points of the true distribution, so a value of 3 / n is a difference that n points just show. Values do not depend
    on n, and are negative by chance alone.

    - Distributions with a known density: z is the true log-density. E(x) is the mean over random directions, which
      depend on the seed of the evaluation and are the same for all models (sliced energy). Its real points are fresh.
    - Other data: z is the log-density of a Gaussian mixture of its own, which is fitted to a half of the training
      points. Real points are the test split, and E(x) is over all pairs of points.

    Samplers that need more operations per point are given fewer points. The interval is the jackknife over real and
    generated points, and is at least as wide as the noise at the true distribution. `cross_entropy` is the mean
    negative log-density of the samples minus that of real points, both clipped likewise; a distribution that is too
    narrow lowers it, so it has no direction.
    """

    name = "witness_energy"
    quantities = (
        trilemma.Quantity(
            name="witness_energy", title="Witness energy", group="quality", place="first", least=0, unbiased=True
        ),
        trilemma.Quantity(
            name="cross_entropy",
            title="Cross-entropy excess",
            unit="nats",
            group="quality",
            better="none",
            unbiased=True,
        ),
    )

    class Config(trilemma.Config):
        """Numbers of points and directions."""

        n: int = Field(20_000, ge=4, description="most points of the model, and real points of a known distribution")
        pairs: int = Field(2000, ge=4, description="most points of each set where the density is not known")
        directions: int = Field(64, ge=1, description="random directions of the sliced energy distance")
        work: float = Field(
            1e11,
            gt=0,
            description="FLOP plus elements of outputs that the samples may take; slower samplers give fewer",
        )

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        witness = witness_of(evaluation, self.config.directions)
        real, generated = self._points(evaluation, witness.known)
        check_pair(real, generated, equal=False)
        one, two = witness.features(real, 0), witness.features(generated, 1)
        energies = self._sums(one, two, witness, evaluation.seed)
        sizes = 1 / len(real) + 1 / len(generated)
        about = {
            **witness.about,
            "real": len(real),
            "directions": self.config.directions if witness.known else None,
        }
        value, low, high = (energies[0] + energies[1]).interval()
        noise = witness.noise * sizes
        low, high = min(low, value - noise), max(high, value + noise)
        floors = self._floor(evaluation, witness)
        parts = {"points": energies[0].energy(), "log_density_energy": energies[1].energy()}
        results = [self._result(0, evaluation, (value, low, high), floors[0], generated, about | parts, noise)]
        if witness.known:
            results.append(self._cross_entropy(evaluation, one, two, witness, floors[1], generated, about))
        return results

    def _points(self, evaluation: trilemma.Evaluation, known: bool) -> tuple[Array, Array]:
        """The real and the generated points."""
        most = self.config.n if known else min(self.config.n, self.config.pairs)
        n = points_for(evaluation, most, self.config.work)
        if known:
            # Other real points for each seed, so that a spread over seeds contains their variance.
            return evaluation.real(self.config.n, _REFERENCES + evaluation.seed), evaluation.generate(n)
        if not evaluation.independent_draws:
            n = min(n, evaluation.size("valid"))  # a control that draws held-out points would repeat them
        return evaluation.real(min(most, evaluation.size("test"))), evaluation.generate(n)

    def _sums(self, real: Features, generated: Features, witness: Witness, seed: int) -> tuple[Sums, Sums]:
        """The sums of x and of z, in their units."""
        u, v = witness.units
        if not witness.known:
            x = sums_of_pairs(real.x, generated.x)
        else:
            lines = frames(real.x.shape[1], self.config.directions, np.random.default_rng((31, seed)))
            x = sums_on_lines(real.x @ lines, generated.x @ lines)
        return x / u, sums_on_lines(real.z, generated.z) / v

    def _cross_entropy(
        self,
        evaluation: trilemma.Evaluation,
        real: Features,
        generated: Features,
        witness: Witness,
        floors: Array,
        points: Array,
        about: dict[str, Any],
    ) -> trilemma.Result:
        from scipy.special import ndtri

        normal = float(ndtri(0.975)) * witness.deviation
        value = (real.z.mean() - generated.z.mean()) * witness.deviation
        half = normal * np.sqrt(real.z.var() / len(real.z) + generated.z.var() / len(generated.z))
        noise = normal * float(real.z.std()) * np.sqrt(1 / len(real.z) + 1 / len(generated.z))
        return self._result(1, evaluation, (value, value - half, value + half), floors, points, about, noise)

    def _floor(self, evaluation: trilemma.Evaluation, witness: Witness) -> Array:
        """The values of both quantities `(2, k)` for pairs of real sets, computed once for each dataset."""
        known = _floors.setdefault(evaluation.dataset, {})
        key = self.config.directions if witness.known else -self.config.pairs
        if key not in known:
            pairs = []
            if witness.known:
                pairs = [
                    (evaluation.real(_FLOOR_POINTS, draw), evaluation.real(_FLOOR_POINTS, draw + 1))
                    for draw in range(1, 2 * _FLOOR_PAIRS, 2)
                ]
            elif (n := min(self.config.pairs, evaluation.size("test"), evaluation.size("valid"))) > 1:
                pairs = [(evaluation.real(n), evaluation.real(n, 1))]
            values = []
            for number, (first, second) in enumerate(pairs):
                one, two = witness.features(first, 0), witness.features(second, 1)
                x, z = self._sums(one, two, witness, number)
                values.append(((x + z).energy(), (one.z.mean() - two.z.mean()) * witness.deviation))
            known[key] = np.array(values).reshape(-1, 2).T
        return known[key]

    def _result(
        self,
        index: int,
        evaluation: trilemma.Evaluation,
        interval: tuple[float, float, float],
        floors: Array,
        points: Array,
        about: dict[str, Any],
        noise: float,
    ) -> trilemma.Result:
        floor, floor_low, floor_high = trilemma.mean_interval(floors)
        value, low, high = (float(number) for number in interval)
        return self.quantities[index].result(
            value,
            evaluation.dim,
            low=low,
            high=high,
            floor=floor,
            n=len(points),
            noise=noise if noise > 0 else None,
            details=about | {"floor_ci": [floor_low, floor_high], "floor_pairs": len(floors)},
        )
