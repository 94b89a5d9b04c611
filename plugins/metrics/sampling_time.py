"""The time of sampling: latency of one sample and throughput of a batch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

import trilemma

Interval = tuple[float, float | None, float | None]

_SHORTEST = 0.01  # seconds that one timed repeat should last
_LONG = 0.03  # seconds from which on a draw needs no warm-up, because what it warms up is a small part of it


@dataclass(frozen=True)
class Timing:
    """Wall seconds of one call in each repeat, and CPU seconds of one call, summed over the repeats."""

    wall: NDArray[np.float64]
    cpu: float

    def contended(self, threads: int) -> bool:
        """Whether other processes took time from this one: wall and CPU seconds differ by more than 10 %.

        With several threads, CPU seconds exceed wall seconds in any case, so only too few CPU seconds count.
        """
        ratio = self.cpu / float(self.wall.sum())
        return ratio < 0.9 or (threads == 1 and ratio > 1.1)


def measure(call: Callable[[], object], *, seconds: float, least: int = 1, most: int = 100, inner: int = 1) -> Timing:
    """Time `call` repeatedly until `seconds` are spent, at least `least` and at most `most` times.

    Each repeat is the mean of `inner` calls in a row, for calls that are too short to time one by one. The caller warms
    up `call` before.
    """
    wall: list[float] = []
    cpu = time.process_time()
    while len(wall) < least or (inner * sum(wall) < seconds and len(wall) < most):
        start = time.perf_counter()
        for _ in range(inner):
            call()
        wall.append((time.perf_counter() - start) / inner)
    return Timing(np.array(wall), (time.process_time() - cpu) / inner)


def quantile_interval(values: NDArray[np.float64], q: float, level: float = 0.95) -> Interval:
    """A quantile and its distribution-free interval by order statistics; the bounds are None if values are too few."""
    from scipy import stats

    ranked = np.sort(values)
    low, high = (int(stats.binom.ppf(tail, len(ranked), q)) for tail in (0.5 - level / 2, 0.5 + level / 2))
    value = float(np.quantile(ranked, q))
    if low < 1 or high >= len(ranked):
        return value, None, None
    return value, float(ranked[low - 1]), float(ranked[high])


def geometric_interval(values: NDArray[np.float64]) -> Interval:
    """Geometric mean of positive values, with the t-interval of their logarithms, because times are skewed."""
    mean, low, high = trilemma.mean_interval(np.log(values))
    return math.exp(mean), None if low is None else math.exp(low), None if high is None else math.exp(high)


class SamplingTime(trilemma.Metric):
    """Time of sampling: latency of one sample, throughput of a batch, and an estimate of the energy.

    Times are measured after a warm-up, with the threads of the process, after all cells of the run. They are measured
    in several visits, whose geometric mean is the value. A time that other processes disturbed is flagged `contended`.
    A sampler that changes the number of threads of torch is marked.
    """

    name = "sampling_time"
    stage = "timing"
    compares = False
    quantities = (
        trilemma.Quantity(name="seconds_per_1k", title="Time per 1k", unit="s", group="sampling", place="first"),
        trilemma.Quantity(name="latency_p50", title="Latency p50", unit="ms", group="sampling"),
        trilemma.Quantity(name="latency_p90", title="Latency p90", unit="ms", group="sampling", place="more"),
        trilemma.Quantity(
            name="energy_per_1k_estimate",
            title="Energy per 1k (estimate)",
            unit="J",
            group="sampling",
            place="more",
        ),
    )

    class Config(trilemma.Config):
        """Bounds of the measurement."""

        batch: int = Field(1000, ge=1, description="largest batch for throughput; smaller if that is slow")
        seconds: float = Field(
            0.05, gt=0, description="about how long latency is measured in one visit, and as long again throughput"
        )
        watts: float | None = Field(
            None,
            gt=0,
            description="power drawn while sampling; if it is given, energy is estimated as power times time",
        )

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        threads = torch.get_num_threads()
        try:
            results = self._timed(evaluation)
            used = torch.get_num_threads()
        finally:
            torch.set_num_threads(threads)
        if used == threads:
            return results
        mark = f"changes the number of threads: {used} instead of {threads}"
        return [result.model_copy(update={"marks": (mark,)}) for result in results]

    def _timed(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        results: list[trilemma.Result] = []

        def add(name: str, interval: Interval, details: dict[str, Any]) -> None:
            results.append(_result(self, name, interval, details, evaluation.dim))

        evaluation.draw(1)
        single = measure(lambda: evaluation.draw(1), seconds=self.config.seconds, least=2)
        batch, repeated = self._plan(evaluation, float(np.median(single.wall)))
        batched = measure(lambda: evaluation.draw(batch), seconds=self.config.seconds, inner=repeated)
        throughput = geometric_interval(batched.wall * 1000 / batch)
        add("seconds_per_1k", throughput, _how(batched, evaluation) | {"batch": batch})
        if self.config.watts is not None:
            watts = float(self.config.watts)
            value, low, high = throughput
            joules = value * watts, None if low is None else low * watts, None if high is None else high * watts
            how = _how(batched, evaluation) | {"estimate": "power times time", "watts": watts}
            add("energy_per_1k_estimate", joules, how)
        for name, q in (("latency_p50", 0.5), ("latency_p90", 0.9)):
            add(name, quantile_interval(single.wall * 1000, q), _how(single, evaluation))
        return results

    def _plan(self, evaluation: trilemma.Evaluation, single: float) -> tuple[int, int]:
        """Batch size and draws per repeat, from the seconds of a single sample and of a probe. Warms up the batch.

        Time is modeled as a fixed cost plus a cost per sample. The largest batch tried is the largest that the allowed
        time permits. The allowed time grows with the fixed cost: in a small batch, the fixed cost of a sampler with
        many steps would be divided by too few samples. Three batches are timed: the largest, a quarter of it, and the
        probe. The fastest per sample is kept, because caches sometimes favor a smaller batch.
        """
        largest: int = self.config.batch
        probe = min(64, largest)
        seconds = _one(evaluation, probe)
        each = max((seconds - single) / probe, 1e-9)
        allowed = max(3 * self.config.seconds, 2 * single)
        top = int(min(largest, max(probe, (allowed - single) / each)))
        taken = {probe: seconds}
        for size in sorted({max(probe, top // 4), top} - {probe}):
            taken[size] = _one(evaluation, size)
        batch = min(taken, key=lambda size: taken[size] / size)
        return batch, max(1, round(_SHORTEST / taken[batch]))


def _one(evaluation: trilemma.Evaluation, size: int) -> float:
    """Seconds of one draw of this size, after a warm-up."""
    timing = measure(lambda: evaluation.draw(size), seconds=0)
    if timing.wall[0] < _LONG:
        timing = measure(lambda: evaluation.draw(size), seconds=0)
    return float(timing.wall[0])


def _how(timing: Timing, evaluation: trilemma.Evaluation) -> dict[str, Any]:
    threads = torch.get_num_threads()
    details: dict[str, Any] = {"repeats": len(timing.wall), "threads": threads, "device": evaluation.device.type}
    if evaluation.device.type == "cpu" and timing.contended(threads):
        details["contended"] = True
    return details


def _result(
    metric: trilemma.Metric, name: str, interval: Interval, details: dict[str, Any], dim: int
) -> trilemma.Result:
    value, low, high = interval
    quantity = next(quantity for quantity in metric.quantities if quantity.name == name)
    return quantity.result(value, dim, low=low, high=high, details=details)
