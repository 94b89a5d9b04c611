"""What any metric of two samples must do."""

from __future__ import annotations

import math
from typing import Any

import pytest

import trilemma
from trilemma.harness.plugins import Registry
from trilemma.plugins.metrics.frechet import Frechet
from trilemma.plugins.metrics.modes import ModeCoverage
from trilemma.plugins.metrics.two_sample import TwoSample

METRICS = list(Registry(builtin_only=True).classes("metrics").values())
TWO_SAMPLE = [metric for metric in METRICS if issubclass(metric, TwoSample) and metric is not Frechet]  # of images


@pytest.mark.parametrize("metric", TWO_SAMPLE, ids=lambda metric: metric.name)
def test_every_result_has_an_interval_a_floor_and_its_size(metric: type[TwoSample], known: Any) -> None:
    config = metric.Config(n=200, draws=3)
    for dataset, n in ((known.Mixture(), 200), (known.Table(), 130)):
        if dataset.modes() is None and metric is ModeCoverage:
            with pytest.raises(trilemma.UnsupportedError):
                metric(config).compute(known.replay(dataset))
            continue
        results = metric(config).compute(known.replay(dataset))
        assert len({result.metric for result in results}) == len(results)
        for result in results:
            assert result.ci_low <= result.value <= result.ci_high
            assert math.isfinite(result.floor)
            assert result.n == n
            assert result.details["reference"] == ("fresh" if dataset.has_density else "shared")


@pytest.mark.parametrize("metric", TWO_SAMPLE, ids=lambda metric: metric.name)
def test_a_model_that_drops_a_mode_is_worse_than_one_that_does_not(metric: type[TwoSample], known: Any) -> None:
    config, dataset = metric.Config(n=400, draws=3), known.Mixture()
    whole, thinned = (
        {result.metric: result for result in metric(config).compute(known.replay(dataset, cut=cut))} for cut in (-10, 0)
    )
    blind = ("precision", "density", "w2", "sliced_w2")  # to a missing mode, or for the bias of a finite n
    ranked = [name for name in whole if whole[name].better != "none" and name not in blind]
    assert ranked
    for name in ranked:
        sign = 1 if whole[name].better == "lower" else -1
        assert sign * thinned[name].value > sign * whole[name].value
