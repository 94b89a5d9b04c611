"""Copies of training and test points and repeated points are marked; narrow and blurred distributions are not."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.metrics.memorization import Memorization, nearest, nearness, repeated, thinned

SMALL = Memorization.Config(n=300, draws=3)


def marks(known: Any, evaluation: trilemma.Evaluation) -> list[str]:
    """The first words of all marks."""
    found = known.results(Memorization(SMALL), evaluation).values()
    return [mark.partition(":")[0] for result in found for mark in result.marks]


def table_model(known: Any, table: Tensor) -> trilemma.Evaluation:
    """A model that draws rows of `table`, in data space, on the dataset without a distribution."""
    evaluation: trilemma.Evaluation = known.replay(known.Table())
    train = evaluation.dataset.splits.train
    evaluation.model.x = (table - train.mean(0)) / train.std(0)
    return evaluation


def test_a_model_that_replays_training_points_is_marked(known: Any) -> None:
    for dataset in (known.Mixture(), known.Table()):
        found = known.results(Memorization(SMALL), known.replay(dataset))
        replayed = found["memorized"]
        assert replayed.value > 0.99
        assert replayed.floor == pytest.approx(0.05, abs=0.01)
        assert replayed.details["memorizes"]
        assert replayed.details["exact"] == 1
        assert replayed.marks[0].startswith("memorizes training points: ")
        assert found["copied"].marks == ()


def test_copies_of_held_out_points_are_marked(known: Any) -> None:
    splits = known.Table().splits
    assert marks(known, table_model(known, splits.test)) == ["copies test points", "repeats points"]
    assert marks(known, table_model(known, splits.valid)) == ["copies validation points", "repeats points"]
    fresh = torch.tensor(known.mixture(np.random.default_rng(9), 100_000)).float()
    assert marks(known, table_model(known, fresh)) == []


def test_repeated_points_are_marked(known: Any) -> None:
    fresh = torch.tensor(known.mixture(np.random.default_rng(9), 100_000)).float()
    found = known.results(Memorization(SMALL), table_model(known, fresh[:32]))["repeated"]
    assert found.value == 1
    assert found.floor == 0
    assert found.marks == ("repeats points: 100% of samples occur more than once",)
    one_in_four = fresh[: 900 // 4]
    assert marks(known, table_model(known, one_in_four)) == ["repeats points"]
    assert marks(known, table_model(known, fresh[:1000])) == ["repeats points"]
    found = known.results(Memorization(SMALL), table_model(known, fresh[:10_000]))["repeated"]
    assert found.value > 0.05
    assert found.details["pool"] == pytest.approx(10_000, rel=0.5)
    assert found.marks == (), "a stored set of many points is no repetition that matters"


def test_a_model_that_replays_some_whole_draws_is_marked(known: Any) -> None:
    fresh = torch.tensor(known.mixture(np.random.default_rng(9), 1000)).float()
    evaluation = table_model(known, fresh)
    order = itertools.cycle([0, 0, 1])
    evaluation.model.sample = lambda n, ctx: evaluation.model.x[300 * next(order) :][:n]
    found = known.results(Memorization(SMALL), evaluation)["repeated"]
    assert found.value == pytest.approx(2 / 3)
    assert found.marks == ("repeats points: 67% of samples occur more than once",)


def test_values_that_repeat_in_real_data_too_are_not_marked(known: Any) -> None:
    evaluation = known.replay(known.Images())  # 300 images of 16 pixels of 4 levels: no two are equal
    assert "repeats points" in marks(known, evaluation)

    class Pairs(known.Images):
        """Two pixels of four levels: only 16 images exist."""

        name = "pairs"

        def load(self) -> trilemma.Splits:
            splits = super().load()
            return trilemma.Splits(
                *(part[..., :1, :2].contiguous() for part in (splits.train, splits.valid, splits.test))
            )

    evaluation = known.replay(Pairs())
    found = known.results(Memorization(SMALL), evaluation)["repeated"]
    assert found.value > 0.9
    assert found.floor > 0.9
    assert found.marks == ()


def test_a_point_is_repeated_if_it_occurs_again_in_any_draw() -> None:
    one, two = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]), np.array([[0.0, 1e-9], [2.0, 2.0], [3.0, 3.0]])
    assert repeated([one, two], np.ones(2)) == [1.0, pytest.approx(1 / 3)]


@pytest.mark.parametrize("d", [2, 20])
def test_the_nearest_point_is_found_in_every_dimension(d: int) -> None:
    rng = np.random.default_rng(d)
    points, others = 5 + rng.standard_normal((200, d)), 5 + rng.standard_normal((300, d))
    others[7] = points[3]
    expected = np.sqrt(((points[:, None] - others) ** 2).sum(-1)).min(1)
    assert nearest(points, others) == pytest.approx(expected)
    assert nearest(points, others)[3] == 0


def test_searches_in_many_dimensions_use_fewer_points() -> None:
    sets = [np.zeros((1000, 784))] * 4
    generated, (real,) = thinned(sets, [np.zeros((2000, 784))], 784 * 80_000)
    assert len(generated[0]) == len(generated[3]) < 100
    assert len(real) == pytest.approx(2 * len(generated[0]), abs=2)
    generated, (real,) = thinned(sets, [np.zeros((2000, 784))], 784 * 1000)
    assert (len(generated[0]), len(real)) == (1000, 2000)


def test_a_narrow_distribution_is_not_taken_for_memorizing(known: Any) -> None:
    rng = np.random.default_rng(14)
    train, held_out, real = known.mixture(rng, 4000), known.mixture(rng, 1000), known.mixture(rng, 4000)
    mark = np.quantile(nearness(points=real, train=train, held_out=held_out), 0.05)
    for scale in (0.2, known.SCALE):
        share = (nearness(points=known.mixture(rng, 4000, scale=scale), train=train, held_out=held_out) < mark).mean()
        assert share == pytest.approx(0.05, abs=0.02)
