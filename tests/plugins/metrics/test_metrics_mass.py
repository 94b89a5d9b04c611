"""The mass of densities with closed forms: its interval holds the true mass, and a mark names a mass off 1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from trilemma.plugins.metrics.likelihood.mass import excess_marks, total_mass
from trilemma.plugins.metrics.likelihood.proposals import around

Array = NDArray[np.float64]


@dataclass
class Blobs:
    """A sum of round Gaussians in d dimensions; its mass is the sum of the weights."""

    centers: Array
    scales: Array
    weights: Array

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        index = rng.choice(len(self.weights), n, p=self.weights / self.weights.sum())
        noise = rng.standard_normal((n, self.centers.shape[1]))
        points: Array = self.centers[index] + self.scales[index, None] * noise
        return points

    def log_prob(self, x: Array) -> Array:
        square = ((x[:, None] - self.centers) ** 2).sum(-1)
        parts = np.exp(-square / (2 * self.scales**2)) / (self.scales * math.sqrt(2 * math.pi)) ** x.shape[1]
        with np.errstate(divide="ignore"):
            total: Array = np.log(parts @ self.weights)
        return total


def data(d: int) -> Blobs:
    """Five clusters, narrower than the distances between them."""
    return Blobs(np.random.default_rng(5).standard_normal((5, d)), np.full(5, 0.2), np.full(5, 0.2))


def models(d: int) -> dict[str, tuple[Blobs, float]]:
    """Densities and their masses: what is off the data is up to four deviations of the data away from them."""
    true = data(d)
    beyond = np.concatenate([true.centers, np.eye(1, d) * 4])
    between = np.concatenate([true.centers, true.centers[:2].mean(0, keepdims=True)])
    return {
        "wider": (Blobs(true.centers, 1.3 * true.scales, 1.14 * true.weights), 1.14),
        "narrower": (Blobs(true.centers, 0.8 * true.scales, true.weights), 1.0),
        "one blob": (Blobs(true.centers.mean(0, keepdims=True), np.ones(1), np.ones(1)), 1.0),
        "far away": (Blobs(beyond, np.append(true.scales, 1.0), np.append(true.weights, 1.4)), 2.4),
        "between": (Blobs(between, np.append(true.scales, 0.2), np.append(true.weights, 0.3)), 1.3),
    }


def coverage(d: int, repeats: int, *names: str) -> dict[tuple[str, bool], float]:
    """The share of intervals that hold the true mass, by model and whether the true distribution is known."""
    found = {}
    for name in names or models(d):
        model, mass = models(d)[name]
        for known in (True, False):
            held = []
            for seed in range(repeats):
                rng = np.random.default_rng(1000 + seed)
                proposal = around(data(d).sample(1000, rng), rng, data(d) if known else None)
                low, high = total_mass(model.log_prob, proposal, 4000, seed=seed).interval()
                held.append(low <= mass <= high)
            found[name, known] = float(np.mean(held))
    return found


def test_the_interval_of_a_mass_holds_the_true_mass() -> None:
    found = coverage(2, 8, "wider", "far away")
    assert np.mean(list(found.values())) >= 0.87, found


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 2])
def test_the_interval_of_a_mass_holds_the_true_mass_of_every_model(d: int) -> None:
    found = coverage(d, 150)
    assert np.mean(list(found.values())) >= 0.93, found
    assert min(found.values()) >= 0.88, found


def test_mass_that_lies_off_the_data_counts() -> None:
    rng = np.random.default_rng(0)
    model, mass = models(2)["far away"]
    estimate = total_mass(model.log_prob, around(data(2).sample(1000, rng), rng, data(2)), 4000)
    points = data(2).sample(20_000, rng)
    on_the_data = float(np.exp(model.log_prob(points) - data(2).log_prob(points)).mean())
    assert on_the_data < 1.2, "points of the true distribution alone do not see it"
    assert estimate.value == pytest.approx(mass, rel=0.1)


def test_a_multiple_of_the_true_density_has_nearly_no_error() -> None:
    rng = np.random.default_rng(0)
    true = data(2)
    estimate = total_mass(lambda x: true.log_prob(x) + math.log(1.14), around(true.sample(1000, rng), rng, true), 2000)
    assert estimate.value == pytest.approx(1.14, abs=1e-4)
    assert estimate.marks("exact") == ("mass too large: 1.14 (1.14 to 1.14)",)
    assert estimate.marks("ode")
    assert not estimate.marks("bound")
    assert not estimate.marks("estimate")


def test_a_normalized_density_has_no_mark() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        for name in ("narrower", "one blob"):
            proposal = around(data(2).sample(1000, rng), rng, data(2))
            assert not total_mass(models(2)[name][0].log_prob, proposal, 2000, seed=seed).marks("exact")


@pytest.mark.parametrize("d", [2, 16, 64])
def test_too_much_mass_on_the_data_is_seen_in_every_dimension(d: int) -> None:
    rng = np.random.default_rng(d)
    x = rng.standard_normal((2000, d))

    def log_normal(scale: float) -> Array:
        value: Array = -0.5 * ((x / scale) ** 2).sum(1) - d * math.log(scale)
        return value

    (mark,) = excess_marks(log_normal(1.01) + math.log(1.3) - log_normal(1.0))
    assert 1.2 < float(mark.removeprefix("mass too large: at least ")) <= 1.3
    for scale in (0.9, 1.0, 1.1, 1.5):
        assert not excess_marks(log_normal(scale) - log_normal(1.0))
    assert not excess_marks(np.full(2000, math.log(0.6))), "the rest may lie off the data"
