"""How fast the metrics are, against their peers, in CPU seconds of this process. Run on an otherwise idle machine."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from trilemma.harness.evaluation.cost import peak_memory, reset_peak_memory
from trilemma.harness.plugins import Registry
from trilemma.plugins.metrics import transport
from trilemma.plugins.metrics.precision_recall import precision_recall

pytestmark = pytest.mark.slow

Array = NDArray[np.float64]


def timed(call: Callable[[], float]) -> tuple[float, float]:
    with threadpool_limits(1):
        start = time.process_time()
        value = call()
        return value, time.process_time() - start


def gaussians(n: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 2)), rng.standard_normal((n, 2))


def held_out(name: str, n: int) -> tuple[Array, Array]:
    """Test and validation points of a shipped dataset."""
    splits = Registry().get("datasets", name)().splits
    real, generated = (part[:n].flatten(1).double().numpy() for part in (splits.test, splits.valid))
    return real, generated


def test_exact_w2_of_10k_points_takes_a_sixth_of_the_time_and_little_memory() -> None:
    real, generated = gaussians(10_000)
    reset_peak_memory()
    before = peak_memory()
    value, seconds = timed(lambda: transport.squared_w2(real=real, generated=generated))
    extra = (peak_memory() - before) / 2**20
    peer, peer_seconds = timed(lambda: transport.dense_squared_w2(real, generated))
    print(f"column generation {seconds:.2f} s, {extra:.0f} MiB; dense {peer_seconds:.2f} s")
    assert value == pytest.approx(peer, rel=1e-9)
    assert seconds < peer_seconds / 6
    assert extra < 0.3 * 1024


@pytest.mark.parametrize(
    ("name", "n"), [("grid25", 2000), ("grid25", 5000), ("moons", 2000), ("moons", 5000), ("digits", 269)]
)
def test_exact_w2_is_never_much_slower_than_the_dense_solver(name: str, n: int) -> None:
    real, generated = held_out(name, n)
    transport.squared_w2(real=real, generated=generated)
    value, seconds = timed(lambda: transport.squared_w2(real=real, generated=generated))
    peer, peer_seconds = timed(lambda: transport.dense_squared_w2(real, generated))
    print(f"{name} {n}: {seconds:.3f} s; dense {peer_seconds:.3f} s")
    assert value == pytest.approx(peer, rel=1e-9)
    assert seconds < 1.25 * peer_seconds + 0.01


def test_exact_w2_of_50k_points() -> None:
    real, generated = gaussians(50_000)
    _, seconds = timed(lambda: transport.squared_w2(real=real, generated=generated))
    print(f"50k: {seconds:.1f} s")
    assert seconds < 90


def test_precision_and_recall_of_10k_points() -> None:
    real, generated = gaussians(10_000)
    _, seconds = timed(lambda: precision_recall(real=real, generated=generated)["precision"])
    print(f"precision and recall: {seconds:.1f} s")
    assert seconds < 8
