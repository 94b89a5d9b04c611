"""NLL and its gaps, on models and distributions with closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.metrics.likelihood import nll
from trilemma.plugins.metrics.likelihood.density_checks import IMPOSSIBLE, least_nll
from trilemma.plugins.metrics.likelihood.nll import Nll
from trilemma.plugins.networks.runge_kutta import record_overflow


def test_the_nll_of_the_true_distribution_is_the_entropy_and_its_gap_is_nearly_zero(known: Any) -> None:
    found = known.results(Nll(), known.evaluate(known.Gauss(), known.Normal()))
    nats = found["nll"]
    assert nats.unit == "nats"
    assert nats.n == 1000
    assert nats.likelihood == "exact"
    assert nats.details["method"] == "closed form"
    assert len(nats.details["block_means"]) == 32
    assert np.mean(nats.details["block_means"]) == pytest.approx(nats.value, abs=0.01)  # blocks of 31 or 32 points
    assert nats.ci_low < known.Normal().entropy < nats.ci_high
    gap = found["nll_gap"]
    assert abs(gap.value) < 0.01, "only the standardization by the training split separates model and distribution"
    assert gap.floor == 0
    assert gap.ci_high - gap.ci_low < (nats.ci_high - nats.ci_low) / 5, "the gap is paired"
    assert found["mass"].value == pytest.approx(1, abs=0.05)
    assert found["mass"].floor == 1
    assert found["generalization_gap"].n == 600
    assert found["nll"].floor == pytest.approx(found["nll"].value - gap.value)


def test_the_gap_of_a_wider_model_is_its_kullback_leibler_divergence(known: Any) -> None:
    distribution = known.Normal(known.Normal.Config(n_train=100_000, n_test=20_000))
    gap = known.results(
        Nll(Nll.Config(n=20_000)), known.evaluate(known.Gauss(known.Gauss.Config(scale=1.5)), distribution)
    )["nll_gap"]
    divergence = 2 * (math.log(1.5) + 0.5 / 1.5**2 - 0.5)
    assert gap.n == 20_000
    assert gap.value == pytest.approx(divergence, abs=0.02)


def test_a_uniform_model_of_images_has_log2_of_the_levels(known: Any) -> None:
    class Box(known.Gauss):
        """The uniform distribution over all levels of `Levels`."""

        name = "box"

        def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
            return torch.full((len(x),), -2 * math.log(float(x.max() - x.min())))

    found = known.results(Nll(), known.evaluate(Box(), known.Levels()))
    assert found["nll"].unit == "bits/dim"
    assert found["nll"].value == pytest.approx(math.log2(4), abs=0.02)
    assert found["nll"].details["bound"] == "uniform dequantization bound"
    assert found["nll"].n == 270
    assert "nll_gap" not in found


def test_memorizing_shows_in_the_generalization_gap() -> None:
    rng = np.random.default_rng(0)
    test, train = rng.normal(-5, 1, 500), rng.normal(-2, 1.2, 500)
    value, low, high = nll.generalization_gap(test=test, train=train)
    assert value == pytest.approx(train.mean() - test.mean())
    error = math.sqrt(test.var(ddof=1) / 500 + train.var(ddof=1) / 500)
    assert high - low == pytest.approx(2 * 1.962 * error, rel=1e-3)


def test_points_without_mass_give_an_infinite_nll_and_no_interval(known: Any) -> None:
    class OutOfReach(known.Gauss):
        """A density without mass at negative points."""

        name = "out-of-reach"

        def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
            return torch.where(x.min(1).values < 0, -torch.inf, 0.0)

    results = known.results(Nll(), known.evaluate(OutOfReach(), known.Normal()))
    result = results["nll"]
    assert result.value == math.inf
    assert result.ci_low is None
    assert 0 < result.details["points_without_mass"] < result.n
    assert results["generalization_gap"].value == 0
    assert not results["generalization_gap"].marks


def test_a_training_point_without_density_hides_no_memorized_ones() -> None:
    rng = np.random.default_rng(0)
    test, train = rng.normal(-9, 1, 200), rng.normal(0, 1, 200)
    train[3] = -np.inf
    value, low, high = nll.generalization_gap(test=test, train=train)
    assert low is not None
    assert high is not None
    assert 8.5 < low < value < high < 9.5
    assert nll.generalization_gap(test=np.full(5, -np.inf), train=train)[0] == math.inf


def test_an_ode_that_overflows_at_data_is_a_failure_and_at_given_points_a_density_of_0(known: Any) -> None:
    class Overflowing(known.Gauss):
        """A density whose ODE overflows at positive points."""

        name = "overflowing"

        def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
            values = torch.where(x.min(1).values > 0, -torch.inf, super().log_prob(x, ctx))
            record_overflow(ctx, values)
            return values

    evaluation = known.evaluate(Overflowing(), known.Normal())
    points = torch.tensor([[99.0, 99.0], [-99.0, 99.0]])
    assert np.isneginf(evaluation.log_prob_of(points)).tolist() == [True, False]
    with pytest.raises(trilemma.DivergedError, match=r"'overflowing' overflows at \d+ of \d+ test points"):
        Nll().compute(evaluation)


def test_models_without_a_likelihood_are_unsupported(known: Any) -> None:
    with pytest.raises(trilemma.UnsupportedError):
        Nll().compute(known.evaluate(known.Blind(), known.Normal()))


def test_the_mass_of_a_density_is_checked_where_no_distribution_is_known(known: Any) -> None:
    class Table(trilemma.Dataset):
        """Points of a distribution that nobody knows."""

        name = "table"

        def load(self) -> trilemma.Splits:
            drawn = [known.Normal().sample(n, torch.Generator().manual_seed(n)) for n in (600, 300, 2000)]
            return trilemma.Splits(*drawn)

    class Double(known.Gauss):
        """A density that integrates to 2."""

        def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
            return super().log_prob(x, ctx) + math.log(2)

    for model, mass in ((known.Gauss(), 1), (Double(), 2)):
        found = known.results(Nll(), known.evaluate(model, Table()))["mass"]
        assert found.ci_low - 0.02 <= mass <= found.ci_high + 0.02
        assert found.value == pytest.approx(mass, rel=0.1)
        assert bool(found.marks) == (mass == 2)


def test_no_distribution_gives_images_an_nll_below_the_least() -> None:
    g = torch.Generator().manual_seed(0)
    images = torch.cartesian_prod(torch.arange(3), torch.arange(3)).reshape(9, 1, 1, 2)
    assert least_nll(images) == pytest.approx(math.log(9))
    drawn = torch.randint(9, (40,), generator=g)
    least = least_nll(images[drawn])
    for sharpness in (0.0, 1.0, 5.0):
        log_p = (sharpness * torch.randn(9, generator=g, dtype=torch.float64)).log_softmax(0)
        assert float(-log_p[drawn].mean()) > least
    counts = torch.bincount(drawn, minlength=9).double()
    best = (counts / counts.sum()).log()  # of all distributions, the shares of the images themselves have the least NLL
    assert float(-best[drawn].mean()) == pytest.approx(least)


@pytest.mark.parametrize(("offset", "marked"), [(0.0, False), (3.0, True)])
def test_an_nll_lower_than_that_of_any_distribution_of_images_is_marked(
    offset: float, marked: bool, known: Any
) -> None:
    class Flattered(known.Gauss):
        """Log-densities that are too large by a constant."""

        name = "flattered"

        def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
            found: Tensor = super().log_prob(x, ctx)
            return found + offset

    found = known.results(Nll(), known.evaluate(Flattered(), known.Levels()))
    assert (IMPOSSIBLE in found["nll"].marks) == marked
