"""Replayed training points are flagged, narrow distributions are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trilemma.plugins.metrics.memorization import Memorization, nearness


def test_a_model_that_replays_training_points_is_flagged(known: Any) -> None:
    for dataset in (known.Mixture(), known.Table()):
        (replayed,) = Memorization(Memorization.Config(n=300, draws=3)).compute(known.replay(dataset))
        assert replayed.value > 0.99
        assert replayed.floor == pytest.approx(0.05, abs=0.01)
        assert replayed.details["memorizes"]


def test_a_narrow_distribution_is_not_taken_for_memorizing(known: Any) -> None:
    rng = np.random.default_rng(14)
    train, held_out, real = known.mixture(rng, 4000), known.mixture(rng, 1000), known.mixture(rng, 4000)
    mark = np.quantile(nearness(points=real, train=train, held_out=held_out), 0.05)
    for scale in (0.2, known.SCALE):
        share = (nearness(points=known.mixture(rng, 4000, scale=scale), train=train, held_out=held_out) < mark).mean()
        assert share == pytest.approx(0.05, abs=0.02)
