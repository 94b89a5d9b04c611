"""Where the mass of a model is told, where it is not, and what a lower limit and a mark say there."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.flow_maps.likelihoods import jacobian_log_prob
from trilemma.plugins.flow_maps.networks import Direction, MapNetwork
from trilemma.plugins.metrics.likelihood.mass import Mass, Untold, mass_of
from trilemma.plugins.metrics.likelihood.nll import Nll
from trilemma.plugins.metrics.likelihood.proposals import Proposal


def test_no_mass_is_told_where_it_would_be_unsure(known: Any) -> None:
    class Spiky(known.Gauss):
        """Half of its mass is in narrow peaks at training points."""

        name = "spiky"
        peaks: Tensor

        def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
            square = torch.cdist(x.double(), self.peaks.double()).square()
            tall = torch.logsumexp(-square / 2e-8, 1) - math.log(2e-8 * math.pi * len(self.peaks))
            return torch.logaddexp(super().log_prob(x, ctx).double(), tall) - math.log(2)

    evaluation = known.evaluate(Spiky(), known.Normal())
    train = evaluation.dataset.splits.train
    evaluation.model.peaks = (train - train.mean(0)) / train.std(0)
    assert "peaks" in untold(evaluation, 2000).reason
    assert not untold(evaluation, 2000).marks("exact"), "its mass is 1"
    assert "images" in untold(known.evaluate(known.Gauss(), known.Levels()), 2000).reason
    assert "too few" in untold(known.evaluate(known.Gauss(), known.Normal()), 0).reason


def test_no_mass_is_told_in_many_dimensions(gaussian_in: Callable[[int], trilemma.Evaluation]) -> None:
    assert isinstance(mass_of(gaussian_in(2), 2000), Mass)
    assert untold(gaussian_in(3), 2000) == Untold("more than 2 dimensions")


def untold(evaluation: trilemma.Evaluation, n: int) -> Untold:
    """The reason why a mass is not told, which must be one."""
    found = mass_of(evaluation, n)
    assert isinstance(found, Untold)
    return found


def test_the_mass_of_narrow_ridges_is_told_with_more_points(known: Any) -> None:
    """N(0, I) times 1 + 400 w(x_1) with ridges w that are a four-hundredth of a deviation wide."""

    def ridges(x: Any, exp: Any, sin: Any) -> Any:
        return 1 + 400 * exp(-(sin(8 * x) ** 2) / (2 * 0.02**2))

    class Ridged(known.Gauss):
        """The density with ridges."""

        name = "ridged"

        def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
            return super().log_prob(x, ctx).double() + ridges(x[:, 0].double(), torch.exp, torch.sin).log()

    grid = np.linspace(-8, 8, 400_001)
    true = float((ridges(grid, np.exp, np.sin) * np.exp(-(grid**2) / 2)).sum() * 4e-5 / math.sqrt(2 * math.pi))
    assert true > 5
    found = mass_of(known.evaluate(Ridged(), known.Normal()), 4000)
    assert isinstance(found, Mass)
    assert len(found.weights) > 4000, "4000 points are too few"
    low, high = found.interval(0.999)
    assert low < true < high
    assert high - low < true
    assert found.marks("map")


def test_the_mass_of_a_folded_map_is_the_mean_number_of_points_that_it_carries_to_one(known: Any) -> None:
    class Fold(MapNetwork):
        """One step from time 1 to 0 that carries each coordinate x to x^3 - 3 x."""

        def forward(self, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
            return x - (x**3 - 3 * x)

        def along(self, x: Tensor, s: Tensor, t: Tensor, direction: Direction) -> tuple[Tensor, Tensor]:
            raise NotImplementedError

    class Folded(known.Gauss):
        """The change of variables by the fold."""

        name = "folded"
        likelihood = "map"

        def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
            return jacobian_log_prob(Fold(), x.double(), 1)

    z = np.random.default_rng(0).standard_normal(4000)
    numbers = [int((np.abs(np.roots([1, 0, -3, -one]).imag) < 1e-9).sum()) for one in z]
    found = mass_of(known.evaluate(Folded(), known.Normal()), 4000)
    assert isinstance(found, Mass)
    low, high = found.interval(0.999)
    assert low - 0.16 < np.mean(numbers) ** 2 < high + 0.16  # 0.16 is four standard errors of the squared mean
    assert high - low < found.value / 2, (low, high)


def test_a_mass_too_large_for_a_number_is_marked_and_stops_nothing(known: Any) -> None:
    class Huge(known.Gauss):
        """A Gaussian times exp(800), of kind `estimate` as a divergence head may give it."""

        name = "huge"
        likelihood = "estimate"

        def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
            return super().log_prob(x, ctx) + 800

    found = known.results(Nll(Nll.Config(n=200, side=0)), known.evaluate(Huge(), known.Normal()))
    assert "mass" not in found
    assert found["nll"].details["no_mass"] == "the mass is too large for a number"
    # Markov's inequality for 32,000 weights up to exp(300), and the mean of q/p on the data, which is cut at exp(300).
    for result, expected in ((found["nll"], 300 - math.log(32_000 * 1000)), (found["nll_gap"], 300)):
        least = [mark.split(" least ")[1] for mark in result.marks if mark.startswith("mass too large: at least ")]
        assert [math.log(float(number)) for number in least] == [pytest.approx(expected, abs=4)]


def test_the_mass_of_a_noisy_bound_is_no_mark() -> None:
    noisy = Untold("only 11 effective points", 34.0)
    assert noisy.marks("bound") == ()
    assert noisy.marks("map") == ("mass too large: at least 34.00",)


def test_a_right_bound_is_not_marked_for_its_noise(known: Any) -> None:
    """Noise of variance 2.25 with mean -.6: a bound on average, and E_p[q/p] = exp(-.6 + 2.25 / 2) = 1.7."""

    class Noisy(known.Gauss):
        name = "noisy"
        likelihood = "bound"

        def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
            noise = 1.5 * torch.randn(len(x), generator=ctx.generator, dtype=torch.float64)
            return super().log_prob(x, ctx) + noise - 0.6

    found = known.results(Nll(Nll.Config(n=4000, mass_points=0, side=0)), known.evaluate(Noisy(), known.Normal()))
    assert found["nll_gap"].likelihood == "bound"
    assert found["nll_gap"].value > 0.4
    assert found["nll_gap"].marks == ()


def test_a_map_needs_a_mass_that_is_known_well(known: Any) -> None:
    """1.2 times a normal density, which covers the data, and .08 in ridges beside it: told or not, it is marked."""

    class Inflated(known.Gauss):
        name = "inflated"
        likelihood = "map"

        def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
            square = (x[:, 0].double() - 4.0) ** 2 / 2e-6 + x[:, 1].double() ** 2 / 2
            ridge = math.log(0.08) - square - math.log(2 * math.pi * 1e-3)
            return torch.logaddexp(super().log_prob(x, ctx).double() + math.log(1.2), ridge)

    found = known.results(Nll(Nll.Config(n=200, side=0)), known.evaluate(Inflated(), known.Normal()))
    marks = [mark for result in found.values() for mark in result.marks]
    assert any(mark.startswith("mass") for mark in marks)
    plain = type("Plain", (known.Gauss,), {"name": "plain", "likelihood": "map"})
    told = known.results(Nll(Nll.Config(n=200, side=0)), known.evaluate(plain(), known.Normal()))
    assert told["mass"].value == pytest.approx(1, abs=0.02)
    assert not any(result.marks for result in told.values())


def test_the_least_mass_is_below_the_mass_and_not_far_below() -> None:
    """Weights that are log-normal with a deviation of 2.5 have mean exp(2.5^2 / 2); few of them are effective."""
    rng, true = np.random.default_rng(0), math.exp(2.5**2 / 2)
    least = []
    for _ in range(300):
        weights = np.exp(2.5 * rng.standard_normal(4000))
        mass = Mass(1.0, 1.0, 1, weights, 0.0, Proposal((), (), 2))
        least.append(mass.least())
    assert np.mean(np.array(least) > true) <= 0.01
    assert np.median(least) > true / 4
    assert Mass(1.0, 1.0, 1, np.ones(20), 0.0, Proposal((), (), 2)).least() == 0, "no 100 points"


def test_a_map_whose_mass_is_not_told_is_marked_and_another_kind_is_not(known: Any) -> None:
    def marks(kind: str, dataset: trilemma.Dataset, mass_points: int = 2000) -> str:
        class Kind(known.Gauss):
            """A standard Gaussian in model space, under another kind of likelihood."""

            name = "kind"
            likelihood = kind

        found = known.results(Nll(Nll.Config(n=200, mass_points=mass_points)), known.evaluate(Kind(), dataset))
        return "; ".join(mark for result in found.values() for mark in result.marks)

    assert "mass" not in marks("map", known.Normal())
    assert "mass not told, so a map may be no density: too few points" in marks("map", known.Normal(), 0)
    assert "images have too many dimensions" in marks("map", known.Levels())
    for kind in ("ode", "exact", "estimate"):
        assert "not told" not in marks(kind, known.Levels())


@pytest.fixture
def gaussian_in(known: Any) -> Callable[[int], trilemma.Evaluation]:
    """A standard Gaussian as model, on a Gaussian distribution in d dimensions."""

    class Standard(known.Gauss):
        """A standard Gaussian."""

        def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
            return torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(1)

    def make(d: int) -> trilemma.Evaluation:
        class Round(known.Normal):
            """N(0, I)."""

            def sample(self, n: int, generator: torch.Generator) -> Tensor:
                return torch.randn(n, d, generator=generator)

            def log_prob(self, x: Tensor) -> Tensor:
                return torch.distributions.Normal(0.0, 1.0).log_prob(x.double()).sum(1)

        evaluation: trilemma.Evaluation = known.evaluate(Standard(), Round())
        info = trilemma.DataInfo("round", "vector", (d,), 600)
        evaluation.info = info
        return evaluation

    return make
