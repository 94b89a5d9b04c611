"""The time that sampling takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import trilemma
from trilemma.plugins.metrics import sampling_time
from trilemma.plugins.metrics.sampling_time import SamplingTime


class Clock:
    """A clock that moves only when a sampler works, at `fixed` seconds for each call and `each` for each sample."""

    def __init__(self, fixed: float, each: float, jitter: float = 0.0) -> None:
        self.now, self.fixed, self.each, self.jitter = 0.0, fixed, each, jitter
        self.busy = 1.0  # CPU seconds per wall second
        self.rng = np.random.default_rng(0)

    def work(self, n: int) -> None:
        self.now += (self.fixed + n * self.each) * (1 + self.jitter * self.rng.random())

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return self.busy * self.now


def timed(known: Any, monkeypatch: pytest.MonkeyPatch, clock: Clock, **options: Any) -> dict[str, trilemma.Result]:
    """The results for a sampler that takes the time of the clock."""

    class Timed(known.Gauss):  # type: ignore[name-defined,misc]
        name = "timed"

        def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
            clock.work(n)
            return super().sample(n, ctx)

    monkeypatch.setattr(sampling_time, "time", clock)
    config = SamplingTime.Config(seconds=0.05, **options)
    found: dict[str, trilemma.Result] = known.results(SamplingTime(config), known.evaluate(Timed(), known.Normal()))
    return found


def test_throughput_and_latency_have_intervals(known: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = timed(known, monkeypatch, Clock(1e-3, 1e-5, jitter=0.1))
    throughput = found["seconds_per_1k"]
    assert 0 < throughput.ci_low < throughput.value < throughput.ci_high
    assert throughput.value == pytest.approx(0.011, rel=0.1)
    assert throughput.details["batch"] == 1000
    assert "contended" not in throughput.details
    assert 1 <= found["latency_p50"].value <= found["latency_p90"].value <= 1.2


@pytest.mark.parametrize(("each", "batch"), [(0.0, 1000), (2e-3, 64)])
def test_the_batch_is_as_large_as_time_allows(
    each: float, batch: int, known: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    throughput = timed(known, monkeypatch, Clock(0.02, each))["seconds_per_1k"]
    found = throughput.details["batch"]
    assert found == pytest.approx(batch, rel=0.02)
    assert throughput.value == pytest.approx((0.02 + found * each) * 1000 / found)


def test_a_process_that_gets_less_than_its_core_is_contended(known: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(0.02, 0.0)
    clock.busy = 0.5
    assert timed(known, monkeypatch, clock)["seconds_per_1k"].details["contended"]


def test_time_that_others_took_is_contended() -> None:
    wall = np.array([1.0, 1.0])
    assert not sampling_time.Timing(wall, cpu=1.95).contended(threads=1)
    assert sampling_time.Timing(wall, cpu=1.7).contended(threads=1)
    assert sampling_time.Timing(wall, cpu=3.8).contended(threads=1)
    assert not sampling_time.Timing(wall, cpu=3.8).contended(threads=2)


def test_quantile_intervals_cover() -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(300):
        _, low, high = sampling_time.quantile_interval(rng.exponential(size=60), 0.9)
        covered += low <= stats.expon.ppf(0.9) <= high
    assert covered / 300 >= 0.92
    assert sampling_time.quantile_interval(np.arange(3.0), 0.9)[1:] == (None, None)


def test_a_sampler_that_takes_more_threads_is_marked_and_they_are_given_back(known: Any) -> None:
    class Greedy(known.Gauss):  # type: ignore[name-defined,misc]
        def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
            torch.set_num_threads(threads + 1)
            x: Tensor = super().sample(n, ctx)
            return x

    threads = torch.get_num_threads()
    metric = SamplingTime(SamplingTime.Config(seconds=0.01))
    found = known.results(metric, known.evaluate(Greedy(), known.Normal()))
    assert torch.get_num_threads() == threads
    mark = f"changes the number of threads: {threads + 1} instead of {threads}"
    assert {result.marks for result in found.values()} == {(mark,)}
    honest = known.results(metric, known.evaluate(known.Gauss(), known.Normal()))
    assert {result.marks for result in honest.values()} == {()}


def test_energy_is_an_estimate_and_only_where_a_power_is_given(known: Any) -> None:
    config = SamplingTime.Config(seconds=0.02, watts=30)
    found = known.results(SamplingTime(config), known.evaluate(known.Gauss(), known.Normal()))
    assert found["energy_per_1k_estimate"].value == pytest.approx(30 * found["seconds_per_1k"].value)
    assert found["energy_per_1k_estimate"].details["estimate"] == "power times time"
    assert "energy_per_1k_estimate" not in known.results(
        SamplingTime(SamplingTime.Config(seconds=0.02)), known.evaluate(known.Gauss(), known.Normal())
    )
