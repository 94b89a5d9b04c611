"""The time that sampling takes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from scipy import stats
from torch import Tensor

import trilemma
from trilemma.plugins.metrics import sampling_time
from trilemma.plugins.metrics.sampling_time import SamplingTime


def test_throughput_and_latency_have_intervals(known: Any) -> None:
    config = SamplingTime.Config(seconds=0.5)
    found = known.results(SamplingTime(config), known.evaluate(known.Gauss(), known.Normal()))
    throughput = found["seconds_per_1k"]
    assert 0 < throughput.ci_low < throughput.value < throughput.ci_high
    assert throughput.details["batch"] == 1000
    assert 0 < found["latency_p50"].value <= found["latency_p90"].value


@pytest.mark.parametrize(("each", "least", "most"), [(0.0, 500, 1000), (2e-3, 64, 64)])
def test_the_batch_is_as_large_as_time_allows(each: float, least: int, most: int, known: Any) -> None:
    class Slow(known.Gauss):
        """Draws at a fixed cost for each call and a cost for each sample."""

        name = "slow"
        fixed, each = 0.02, 0.0

        def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
            time.sleep(self.fixed + n * self.each)
            return super().sample(n, ctx)

    model = Slow()
    model.each = each
    found = known.results(SamplingTime(SamplingTime.Config(seconds=0.05)), known.evaluate(model, known.Normal()))
    throughput = found["seconds_per_1k"]
    batch = throughput.details["batch"]
    assert least <= batch <= most
    asleep = (0.02 + batch * each) * 1000 / batch
    assert asleep <= throughput.value < 5 * asleep, "on a busy machine a sleep lasts longer, but never shorter"
    assert throughput.details["contended"], "a process that sleeps gets less than its core"


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


def test_energy_is_an_estimate_and_only_where_a_power_is_given(known: Any) -> None:
    config = SamplingTime.Config(seconds=0.02, watts=30)
    found = known.results(SamplingTime(config), known.evaluate(known.Gauss(), known.Normal()))
    assert found["energy_per_1k_estimate"].value == pytest.approx(30 * found["seconds_per_1k"].value)
    assert found["energy_per_1k_estimate"].details["estimate"] == "power times time"
    assert "energy_per_1k_estimate" not in known.results(
        SamplingTime(SamplingTime.Config(seconds=0.02)), known.evaluate(known.Gauss(), known.Normal())
    )
