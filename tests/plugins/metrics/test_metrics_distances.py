"""What any distance between samples must do, and its closed forms and peers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import trilemma
from trilemma.plugins.metrics import samples, transport
from trilemma.plugins.metrics.c2st import classifier_auc
from trilemma.plugins.metrics.kernels import energy_distance, squared_mmd
from trilemma.plugins.metrics.precision_recall import precision_recall
from trilemma.plugins.metrics.wasserstein import fixed_directions, squared_sliced_w2

Array = NDArray[np.float64]
Distance = Callable[[Array, Array], float]

# Each is nearly zero for equal distributions after `excess` or by being unbiased.
DIRECTIONS = fixed_directions(2, 64)
DISTANCES: dict[str, Distance] = {
    "w2": lambda r, g: transport.squared_w2(real=r, generated=g),
    "sliced_w2": lambda r, g: squared_sliced_w2(real=r, generated=g, directions=DIRECTIONS),
    "energy": lambda r, g: energy_distance(real=r, generated=g),
    "mmd": lambda r, g: squared_mmd(real=r, generated=g, bandwidth=3.0),
    "precision_recall": lambda r, g: 4 - sum(precision_recall(real=r, generated=g).values()),
    "c2st": lambda r, g: classifier_auc(real=r, generated=g),
}


@pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES)
def test_self_tests_of_a_distance(distance: Distance, known: Any) -> None:
    rng = np.random.default_rng(0)
    real, same = known.mixture(rng, 300), known.mixture(rng, 300)

    def value(generated: Array) -> float:
        return distance(real, generated)

    distribution = value(same)
    shifts = [value(same + shift) for shift in (0.0, 1.0, 2.5)]
    assert shifts == sorted(shifts), "it grows with a shift"
    dropped = known.mixture(rng, 300, np.array([0.7, 0.3, 0.0]))
    assert value(dropped) > distribution, "it sees a missing mode"
    assert value(known.mixture(rng, 300, scale=0.1)) > distribution or distance is DISTANCES["w2"], (
        "it sees modes that are too narrow"
    )
    order = rng.permutation(300)
    assert value(same[order]) == pytest.approx(distribution, abs=1e-9), "the order of points is irrelevant"
    with pytest.raises(trilemma.DivergedError):
        value(np.where(np.arange(600).reshape(300, 2) == 7, np.nan, same))
    with pytest.raises(trilemma.DataError):
        value(same[:, :1])


@pytest.mark.parametrize("name", ["w2", "sliced_w2", "precision_recall", "c2st"])
def test_distances_that_are_biased_by_n_refuse_unequal_sizes(name: str, known: Any) -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(trilemma.DataError, match="same size"):
        DISTANCES[name](known.mixture(rng, 50), known.mixture(rng, 40))


@pytest.mark.parametrize("name", ["w2", "sliced_w2", "energy", "mmd"])
def test_identical_sets_are_at_no_positive_distance(name: str, known: Any) -> None:
    points = known.mixture(np.random.default_rng(2), 200)
    assert DISTANCES[name](points, points) <= 1e-12


@settings(max_examples=30, deadline=None)
@given(a=st.floats(-9, 9), b=st.floats(-9, 9))
def test_energy_distance_of_point_masses(a: float, b: float) -> None:
    real, generated = np.full((5, 1), a), np.full((7, 1), b)
    assert energy_distance(real=real, generated=generated) == pytest.approx(2 * abs(a - b), abs=1e-6)


def test_energy_distance_of_gaussians() -> None:
    rng = np.random.default_rng(4)
    found = energy_distance(real=rng.standard_normal((6000, 1)), generated=2 * rng.standard_normal((6000, 1)))
    closed_form = math.sqrt(2 / math.pi) * (2 * math.sqrt(5) - math.sqrt(2) - math.sqrt(8))
    assert found == pytest.approx(closed_form, abs=0.02)


def test_squared_mmd_of_gaussians() -> None:
    rng = np.random.default_rng(5)
    shift, width, n = 1.5, 2.0, 5000
    found = squared_mmd(
        real=rng.standard_normal((n, 1)), generated=shift + rng.standard_normal((n, 1)), bandwidth=width
    )
    widths = width * np.array([0.25, 0.5, 1, 2, 4])
    closed_form = np.mean(2 * widths / np.sqrt(widths**2 + 2) * (1 - np.exp(-(shift**2) / (2 * (widths**2 + 2)))))
    assert found == pytest.approx(closed_form, abs=0.01)


def test_unbiased_distances_are_zero_on_average_for_equal_distributions(known: Any) -> None:
    rng = np.random.default_rng(6)
    for name in ("energy", "mmd"):
        values = [DISTANCES[name](known.mixture(rng, 40), known.mixture(rng, 40)) for _ in range(300)]
        _, low, high = trilemma.mean_interval(values, level=0.999)
        assert low < 0 < high


def test_blocks_do_not_change_a_distance() -> None:
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((234, 3)) + 100, rng.standard_normal((177, 3)) + 100
    blocks = np.concatenate(list(samples.squared_distances(x, y, rows=50)))
    assert blocks == pytest.approx(((x[:, None] - y[None]) ** 2).sum(-1), abs=1e-9)


def test_sliced_w2_equals_that_of_pot() -> None:
    rng = np.random.default_rng(8)
    real, generated = rng.standard_normal((300, 5)), 1 + rng.standard_normal((300, 5))
    directions = fixed_directions(5, 40)
    peer = ot.sliced_wasserstein_distance(real, generated, projections=directions, p=2)
    assert squared_sliced_w2(real=real, generated=generated, directions=directions) == pytest.approx(peer**2)


def test_a_classifier_tells_what_is_different_and_nothing_else(known: Any) -> None:
    rng = np.random.default_rng(10)
    assert classifier_auc(real=known.mixture(rng, 500), generated=known.mixture(rng, 500)) == pytest.approx(
        0.5, abs=0.06
    )
    assert classifier_auc(real=known.mixture(rng, 500), generated=known.mixture(rng, 500) + 20) > 0.995
