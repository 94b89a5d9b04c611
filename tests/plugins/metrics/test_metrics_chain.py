"""The distance along the chain of a sampler."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import trilemma
from trilemma.plugins.metrics.chain import ChainDistance, energy_distance


class Walk(trilemma.Sampler):
    """Moves points towards their end in 100 steps."""

    name = "walk"
    shows_chain = True


class Silent(trilemma.Sampler):
    """Shows nothing."""

    name = "silent"


def walking(known: Any, sampler: trilemma.Sampler, parts: int = 1) -> trilemma.Evaluation:
    """A model on the three-mode mixture whose samples come from 20 to the right in 100 steps, in several parts."""

    class Walker(known.Replay):  # type: ignore[misc]
        """Replays points that have come from the right."""

        def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
            found = []
            for part in range(parts):
                end = super().sample(n // parts, ctx)
                for k in range(101):
                    ctx.show(k, end + torch.tensor([20.0, 0.0]) * (1 - k / 100))
                found.append(end + part * 0.0)
            return torch.cat(found)

    evaluation: trilemma.Evaluation = known.replay(known.Mixture())
    replay: Any = evaluation.model
    evaluation.model = Walker(replay.config)
    evaluation.model.x = replay.x  # type: ignore[attr-defined]
    evaluation.sampler = sampler
    return evaluation


def test_the_energy_distance_is_scipys_in_one_dimension() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 1)), 1 + rng.standard_normal((80, 1))
    assert energy_distance(x, y) == pytest.approx(stats.energy_distance(x[:, 0], y[:, 0]) ** 2)
    assert energy_distance(x, x) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_chain_is_shown_from_its_start_to_the_samples_at_steps_further_and_further_apart(
    known: Any, parts: int
) -> None:
    evaluation = walking(known, Walk(), parts)
    chain = evaluation.chain(200)
    steps = [step for step, _ in chain]
    assert steps[:6] == [0, 1, 2, 3, 5, 7]
    assert steps[-1] == 100
    assert len(steps) < 20
    spread = evaluation.points("train").std(0, ddof=1)[0]
    first, last = chain[0][1], chain[-1][1]
    assert first.shape == (200, 2)
    np.testing.assert_allclose(first - last, np.tile([20 * spread, 0.0], (200, 1)), rtol=1e-4, atol=1e-3)


def test_the_distance_falls_to_the_floor_along_a_chain_that_finds_the_distribution(known: Any) -> None:
    (result,) = ChainDistance(ChainDistance.Config(n=300)).compute(walking(known, Walk()))
    curve = result.details["curve"]
    assert curve["y"] == sorted(curve["y"], reverse=True)
    assert curve["x"][0] == 0
    assert curve["y"][0] > 30
    assert result.value == curve["y"][-1]
    assert result.value < 3 * result.floor
    assert len(result.details["mode_mass_kl"]) == len(curve["x"])
    assert result.details["mode_mass_kl"][-1] < 0.05 < result.details["mode_mass_kl"][0]
    assert not result.ranks


def test_samplers_that_show_no_chain_are_unsupported_and_not_run(known: Any) -> None:
    evaluation = walking(known, Silent())
    evaluation.model.sample = None  # type: ignore[assignment,method-assign]
    with pytest.raises(trilemma.UnsupportedError, match="'silent' shows no chain"):
        ChainDistance().compute(evaluation)
