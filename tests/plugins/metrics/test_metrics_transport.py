"""Exact transport, dense and by column generation: brute force, closed forms, proofs of optimality."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

import trilemma
from trilemma.plugins.metrics import column_generation, transport
from trilemma.plugins.metrics.transport import w1

Array = NDArray[np.float64]
Clouds = Callable[..., tuple[Array, Array]]


def test_squared_w2_is_the_best_matching() -> None:
    rng = np.random.default_rng(1)
    real, generated = rng.normal(size=(200, 3)), rng.normal(size=(200, 3)) + 1
    cost_matrix = ((real[:, None] - generated[None]) ** 2).sum(-1)
    rows, columns = linear_sum_assignment(cost_matrix)
    assert transport.squared_w2(real=real, generated=generated) == pytest.approx(cost_matrix[rows, columns].mean())


def test_w2_of_gaussians_converges_to_the_closed_form() -> None:
    rng = np.random.default_rng(2)
    scales, errors = np.array([1.0, 3.0]), []
    for n in (30, 1000):
        pairs = [(rng.normal(size=(n, 2)), rng.normal(size=(n, 2)) * scales) for _ in range(6)]
        values = [transport.squared_w2(real=real, generated=generated) for real, generated in pairs]
        errors.append(abs(np.mean(values) - ((scales - 1) ** 2).sum()))
    assert errors[1] < 0.12
    assert errors[1] < errors[0] / 2


@settings(max_examples=20, deadline=None)
@given(shift=st.floats(-50, 50), seed=st.integers(0, 99))
def test_w2_of_a_translation_is_its_length(shift: float, seed: int) -> None:
    real = np.random.default_rng(seed).normal(size=(30, 2))
    assert transport.squared_w2(real=real, generated=real + shift) == pytest.approx(2 * shift**2, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"generated": np.zeros((9, 2))}, trilemma.DataError),
        ({"generated": np.zeros((10, 3))}, trilemma.DataError),
        ({"generated": np.full((10, 2), np.nan)}, trilemma.DivergedError),
        ({"real": np.full((10, 2), np.inf)}, trilemma.DataError),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(change: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        transport.squared_w2(**({"real": np.ones((10, 2)), "generated": np.ones((10, 2))} | change))


def test_a_solver_that_stops_early_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_MAX_ITERATIONS", 3)
    rng = np.random.default_rng(3)
    with pytest.raises(transport.TransportError, match="did not converge"):
        transport.squared_w2(real=rng.normal(size=(100, 2)), generated=rng.normal(size=(100, 2)))


def test_w1_is_the_best_matching_and_in_one_dimension_scipys(clouds: Clouds) -> None:
    real, generated = clouds(150, 3)
    cost = cdist(real, generated)
    assert w1(real=real, generated=generated) == pytest.approx(cost[linear_sum_assignment(cost)].mean())
    line, other = clouds(150, 1)
    assert w1(real=line, generated=other) == pytest.approx(stats.wasserstein_distance(line[:, 0], other[:, 0]))


def points(rng: np.random.Generator, kind: str, n: int) -> Array:
    if kind == "gaussian":
        return rng.standard_normal((n, 2))
    if kind == "grid":
        return rng.integers(5, size=(n, 2)) + 0.05 * rng.standard_normal((n, 2))
    if kind == "levels":
        return rng.integers(4, size=(n, 2)) / 3
    if kind == "line":
        return np.outer(rng.standard_normal(n), [1.0, 0.0])
    return rng.standard_normal((n, 16))


@pytest.mark.parametrize("kind", ["gaussian", "grid", "levels", "line", "high"])
def test_column_generation_equals_the_dense_solver_and_proves_it(kind: str) -> None:
    rng = np.random.default_rng(12)
    real, generated = points(rng, kind, 900), 0.9 * points(rng, kind, 900) + 0.1
    ones = np.ones(900)
    plan = column_generation.solve(real, generated, ones, ones)
    assert plan.cost / 900 == pytest.approx(transport.dense_squared_w2(real, generated), rel=1e-9, abs=1e-12)
    slack = ((real[:, None] - generated[None]) ** 2).sum(-1) - plan.u[:, None] - plan.v[None]
    assert slack.min() > -1e-8
    assert plan.u.sum() + plan.v.sum() == pytest.approx(plan.cost, rel=1e-9)
    assert sorted(plan.rows) == sorted(plan.columns) == list(range(900))


def test_where_column_generation_gives_up_the_dense_solver_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(13)
    real, generated = rng.standard_normal((1600, 2)), rng.standard_normal((1600, 2))
    expected = transport.squared_w2(real=real, generated=generated)
    monkeypatch.setattr(column_generation, "_HOPELESS", 0)
    monkeypatch.setattr(column_generation, "_GUESS", 2)
    with pytest.raises(column_generation.HopelessError):
        column_generation.solve(real, generated, np.ones(1600), np.ones(1600))
    assert transport.squared_w2(real=real, generated=generated) == pytest.approx(expected, rel=1e-9)
