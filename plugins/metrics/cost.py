"""What sampling and training cost."""

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
from scipy import stats

import trilemma

_MIB = 2**20
_SHORTEST = 0.01  # seconds that one timed repeat should last


@dataclass(frozen=True)
class Timing:
    """Wall seconds of one call in each repeat, and the CPU seconds of the process, summed over the repeats alike."""

    wall: NDArray[np.float64]
    cpu: float

    def contended(self, threads: int) -> bool:
        """Whether others took time from the process: wall and CPU seconds differ by more than 10 %.

        With several threads CPU seconds rightly exceed wall seconds, so only a shortfall tells.
        """
        ratio = self.cpu / float(self.wall.sum())
        return ratio < 0.9 or (threads == 1 and ratio > 1.1)


def measure(call: Callable[[], object], *, seconds: float, least: int = 3, most: int = 100, inner: int = 1) -> Timing:
    """Time repeats of `call` until `seconds` are spent, at least `least` and at most `most`. Warm it up before.

    Each repeat is the mean of `inner` calls in a row, for calls too short to time one by one.
    """
    wall: list[float] = []
    cpu = time.process_time()
    while len(wall) < least or (inner * sum(wall) < seconds and len(wall) < most):
        start = time.perf_counter()
        for _ in range(inner):
            call()
        wall.append((time.perf_counter() - start) / inner)
    return Timing(np.array(wall), (time.process_time() - cpu) / inner)


def quantile_interval(
    values: NDArray[np.float64], q: float, level: float = 0.95
) -> tuple[float, float | None, float | None]:
    """A quantile and its distribution-free interval by order statistics; no bounds where there are too few values."""
    ranked = np.sort(values)
    low, high = (int(stats.binom.ppf(tail, len(ranked), q)) for tail in (0.5 - level / 2, 0.5 + level / 2))
    value = float(np.quantile(ranked, q))
    if low < 1 or high >= len(ranked):
        return value, None, None
    return value, float(ranked[low - 1]), float(ranked[high])


def geometric_interval(values: NDArray[np.float64]) -> tuple[float, float | None, float | None]:
    """Geometric mean of positive values and the t-interval of their logarithms: times are skewed to the right."""
    mean, low, high = trilemma.mean_interval(np.log(values))
    return math.exp(mean), None if low is None else math.exp(low), None if high is None else math.exp(high)


class SamplingCost(trilemma.Metric):
    """What a sample costs: network evaluations, FLOPs, latency of one, throughput of a batch, memory.

    Times are taken after warm-up, alone on the cores, on the threads that the process has; a time that others disturbed
    is flagged `contended`. FLOPs are counted apart, with the operations that the count leaves out.
    """

    name = "sampling_cost"
    compares = False

    class Config(trilemma.Config):
        """Bounds of the measurement."""

        batch: int = Field(1000, ge=1, description="largest batch for throughput and memory; smaller if that is slow")
        seconds: float = Field(0.3, gt=0, description="about how long latency, and again throughput, is measured")
        watts: float | None = Field(
            None, gt=0, description="power drawn while sampling; given, energy is estimated as power times time"
        )

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        results = []
        if (nfe := evaluation.nfe) is not None:
            details = evaluation.sampling_details
            results.append(trilemma.Result(metric="nfe", value=nfe, unit="evaluations/sample", details=details))
        with evaluation.alone():
            evaluation.draw(1)
            single = measure(lambda: evaluation.draw(1), seconds=self.config.seconds)
            batch, repeated = self._plan(evaluation, float(np.median(single.wall)))
            batched = measure(lambda: evaluation.draw(batch), seconds=self.config.seconds, inner=repeated)
            peak, before = evaluation.peak_memory(batch)
        flops, uncounted = evaluation.flops()
        throughput = geometric_interval(batched.wall * 1000 / batch)
        results.append(_result("seconds_per_1k", throughput, "s", _how(batched, evaluation) | {"batch": batch}))
        if self.config.watts is not None:
            watts = float(self.config.watts)
            value, low, high = throughput
            joules = value * watts, None if low is None else low * watts, None if high is None else high * watts
            details = {"estimate": "power times time", "watts": watts}
            results.append(_result("energy_per_1k_estimate", joules, "J", details))
        for name, q in (("latency_p50", 0.5), ("latency_p90", 0.9)):
            interval = quantile_interval(single.wall * 1000, q)
            results.append(_result(name, interval, "ms", _how(single, evaluation)))
        results += [
            _result("flops_per_sample", (flops, None, None), "FLOP", {"uncounted": uncounted}),
            _result(
                "peak_memory",
                (peak / _MIB, None, None),
                "MiB",
                {"batch": batch, "before": before / _MIB, "of": evaluation.device.type},
            ),
        ]
        return results

    def _plan(self, evaluation: trilemma.Evaluation, single: float) -> tuple[int, int]:
        """Batch size and draws per repeat, from the seconds of a single sample and of a probe; warms up.

        Time is fixed cost plus cost per sample. The largest batch tried is as large as time allows, and the largest of
        all where the fixed cost dominates it: a small one would blame a sampler of many steps for what a batch shares.
        Of that one, a quarter of it and the probe the fastest per sample is kept (caches favor smaller ones at times).
        """
        largest: int = self.config.batch
        probe = min(64, largest)
        evaluation.draw(probe)
        seconds = measure(lambda: evaluation.draw(probe), seconds=0, least=1).wall[0]
        each = max((seconds - single) / probe, 1e-9)
        allowed = max(self.config.seconds, 1.5 * single)
        top = int(min(largest, max(probe, (allowed - single) / each)))
        taken = {probe: float(seconds)}
        for size in sorted({max(probe, top // 4), top} - {probe}):
            evaluation.draw(size)
            taken[size] = float(measure(lambda size=size: evaluation.draw(size), seconds=0, least=1).wall[0])  # type: ignore[misc]
        batch = min(taken, key=lambda size: taken[size] / size)
        return batch, max(1, round(_SHORTEST / taken[batch]))


class TrainingCost(trilemma.Metric):
    """What training cost: seconds by the budget's clock, FLOPs, steps, peak memory, parameters."""

    name = "training_cost"
    compares = False
    stage = "training"

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        record = evaluation.training
        results = [
            _result("train_seconds", (record.seconds, None, None), "s", {"wall_seconds": record.wall_seconds}),
            _result("train_peak_memory", (record.peak_memory / _MIB, None, None), "MiB", {}),
        ]
        for name, count in (("train_steps", record.steps), ("parameters", record.parameters)):
            if count is not None:
                results.append(trilemma.Result(metric=name, value=count, better="none"))
        if (flops := evaluation.training_flops()) is not None:
            details = {"uncounted": flops[1], "of": "one step times the steps; without the optimizer"}
            results.append(_result("train_flops", (flops[0], None, None), "FLOP", details))
        return results


def _how(timing: Timing, evaluation: trilemma.Evaluation) -> dict[str, Any]:
    threads = torch.get_num_threads()
    details: dict[str, Any] = {"repeats": len(timing.wall), "threads": threads, "device": evaluation.device.type}
    if evaluation.device.type == "cpu" and timing.contended(threads):
        details["contended"] = True
    return details


def _result(
    metric: str,
    interval: tuple[float, float | None, float | None],
    unit: str,
    details: dict[str, Any],
) -> trilemma.Result:
    value, low, high = interval
    return trilemma.Result(metric=metric, value=value, ci_low=low, ci_high=high, unit=unit, details=details)
