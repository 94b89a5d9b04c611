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
    """Wall seconds of each repeat, and the CPU seconds of the process over all of them."""

    wall: NDArray[np.float64]
    cpu: float

    def contended(self, threads: int) -> bool:
        """Whether others took time from the process: wall and CPU seconds differ by more than 10 %.

        With several threads CPU seconds rightly exceed wall seconds, so only a shortfall tells.
        """
        ratio = self.cpu / float(self.wall.sum())
        return ratio < 0.9 or (threads == 1 and ratio > 1.1)


def measure(call: Callable[[], object], *, seconds: float, least: int = 3, most: int = 100) -> Timing:
    """Time repeats of `call` until `seconds` are spent, at least `least` and at most `most`. Warm it up before."""
    wall: list[float] = []
    cpu = time.process_time()
    while len(wall) < least or (sum(wall) < seconds and len(wall) < most):
        start = time.perf_counter()
        call()
        wall.append(time.perf_counter() - start)
    return Timing(np.array(wall), time.process_time() - cpu)


def quantile_interval(
    values: NDArray[np.float64], q: float, level: float = 0.95
) -> tuple[float, float | None, float | None]:
    """A quantile and its distribution-free interval by order statistics; no bounds where there are too few values."""
    ranked = np.sort(values)
    low, high = (int(rank) for rank in stats.binom.ppf([0.5 - level / 2, 0.5 + level / 2], len(ranked), q))
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

    class Config(trilemma.Config):
        """Bounds of the measurement."""

        batch: int = Field(1000, ge=1, description="largest batch for throughput and memory; smaller if that is slow")
        seconds: float = Field(0.4, gt=0, description="about how long latency, and again throughput, is measured")

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        results = []
        if (nfe := evaluation.nfe) is not None:
            results.append(trilemma.Result(metric="nfe", value=nfe, unit="evaluations/sample"))
        with evaluation.alone():
            evaluation.draw(1)
            single = measure(lambda: evaluation.draw(1), seconds=self.config.seconds)
            batch, once = self._batch(evaluation)
            repeated = max(1, round(_SHORTEST / once))
            batched = measure(lambda: [evaluation.draw(batch) for _ in range(repeated)], seconds=self.config.seconds)
            peak, before = evaluation.peak_memory(batch)
        flops, uncounted = evaluation.flops()
        throughput = geometric_interval(batched.wall * 1000 / (batch * repeated))
        results.append(_result("seconds_per_1k", throughput, "s", batch, _how(batched, evaluation) | {"batch": batch}))
        for name, q in (("latency_p50", 0.5), ("latency_p90", 0.9)):
            interval = quantile_interval(single.wall * 1000, q)
            results.append(_result(name, interval, "ms", 1, _how(single, evaluation)))
        results += [
            _result("flops_per_sample", (flops, None, None), "FLOP", None, {"uncounted": uncounted}),
            _result(
                "peak_memory",
                (peak / _MIB, None, None),
                "MiB",
                batch,
                {"batch": batch, "before": before / _MIB, "of": evaluation.device.type},
            ),
        ]
        return results

    def _batch(self, evaluation: trilemma.Evaluation) -> tuple[int, float]:
        """The largest batch of which some repeats fit into the time, and the seconds of one.

        It grows fourfold and warms up on the way.
        """
        largest: int = self.config.batch
        batch = min(64, largest)
        while True:
            start = time.perf_counter()
            evaluation.draw(batch)
            once = time.perf_counter() - start
            if batch == largest or once > self.config.seconds / 8:
                return batch, once
            batch = min(4 * batch, largest)


class TrainingCost(trilemma.Metric):
    """What training cost: seconds by the budget's clock, steps, peak memory, parameters."""

    name = "training_cost"
    stage = "training"

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        record = evaluation.training
        results = [
            _result("train_seconds", (record.seconds, None, None), "s", None, {"wall_seconds": record.wall_seconds}),
            _result("train_peak_memory", (record.peak_memory / _MIB, None, None), "MiB", None, {}),
        ]
        for name, count in (("train_steps", record.steps), ("parameters", record.parameters)):
            if count is not None:
                results.append(trilemma.Result(metric=name, value=count, better="none"))
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
    n: int | None,
    details: dict[str, Any],
) -> trilemma.Result:
    value, low, high = interval
    return trilemma.Result(metric=metric, value=value, ci_low=low, ci_high=high, unit=unit, n=n, details=details)
