"""The mass of densities with closed forms: its interval holds the true mass, and it is not told where it is unsure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import trilemma
from trilemma.plugins.flow_maps.likelihoods import jacobian_log_prob
from trilemma.plugins.flow_maps.networks import Direction, MapNetwork
from trilemma.plugins.metrics.likelihood.mass import Mass, Untold, excess_marks, mass_of, total_mass
from trilemma.plugins.metrics.likelihood.nll import Nll
from trilemma.plugins.metrics.likelihood.proposals import Proposal, around

Array = NDArray[np.float64]


@dataclass
class Blobs:
    """A sum of round Gaussians in d dimensions; its mass is the sum of the weights."""

    centers: Array
    scales: Array
    weights: Array

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        index = rng.choice(len(self.weights), n, p=self.weights / self.weights.sum())
        noise = rng.standard_normal((n, self.centers.shape[1]))
        points: Array = self.centers[index] + self.scales[index, None] * noise
        return points

    def log_prob(self, x: Array) -> Array:
        square = ((x[:, None] - self.centers) ** 2).sum(-1)
        parts = np.exp(-square / (2 * self.scales**2)) / (self.scales * math.sqrt(2 * math.pi)) ** x.shape[1]
        with np.errstate(divide="ignore"):
            total: Array = np.log(parts @ self.weights)
        return total


def data(d: int) -> Blobs:
    """Five clusters, narrower than the distances between them."""
    return Blobs(np.random.default_rng(5).standard_normal((5, d)), np.full(5, 0.2), np.full(5, 0.2))


def models(d: int) -> dict[str, tuple[Blobs, float]]:
    """Densities and their masses: what is off the data is up to four deviations of the data away from them."""
    true = data(d)
    beyond = np.concatenate([true.centers, np.eye(1, d) * 4])
    between = np.concatenate([true.centers, true.centers[:2].mean(0, keepdims=True)])
    return {
        "wider": (Blobs(true.centers, 1.3 * true.scales, 1.14 * true.weights), 1.14),
        "narrower": (Blobs(true.centers, 0.8 * true.scales, true.weights), 1.0),
        "one blob": (Blobs(true.centers.mean(0, keepdims=True), np.ones(1), np.ones(1)), 1.0),
        "far away": (Blobs(beyond, np.append(true.scales, 1.0), np.append(true.weights, 1.4)), 2.4),
        "between": (Blobs(between, np.append(true.scales, 0.2), np.append(true.weights, 0.3)), 1.3),
    }


def coverage(d: int, repeats: int, *names: str) -> dict[tuple[str, bool], float]:
    """The share of intervals that hold the true mass, by model and whether the true distribution is known."""
    found = {}
    for name in names or models(d):
        model, mass = models(d)[name]
        for known in (True, False):
            held = []
            for seed in range(repeats):
                rng = np.random.default_rng(1000 + seed)
                proposal = around(data(d).sample(1000, rng), rng, data(d) if known else None)
                low, high = total_mass(model.log_prob, proposal, 4000, seed=seed).interval()
                held.append(low <= mass <= high)
            found[name, known] = float(np.mean(held))
    return found


def test_the_interval_of_a_mass_holds_the_true_mass() -> None:
    found = coverage(2, 8, "wider", "far away")
    assert np.mean(list(found.values())) >= 0.87, found


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 2])
def test_the_interval_of_a_mass_holds_the_true_mass_of_every_model(d: int) -> None:
    found = coverage(d, 150)
    assert np.mean(list(found.values())) >= 0.93, found
    assert min(found.values()) >= 0.88, found


def test_mass_that_lies_off_the_data_counts() -> None:
    rng = np.random.default_rng(0)
    model, mass = models(2)["far away"]
    estimate = total_mass(model.log_prob, around(data(2).sample(1000, rng), rng, data(2)), 4000)
    points = data(2).sample(20_000, rng)
    on_the_data = float(np.exp(model.log_prob(points) - data(2).log_prob(points)).mean())
    assert on_the_data < 1.2, "points of the true distribution alone do not see it"
    assert estimate.value == pytest.approx(mass, rel=0.1)


def test_a_multiple_of_the_true_density_has_nearly_no_error() -> None:
    rng = np.random.default_rng(0)
    true = data(2)
    estimate = total_mass(lambda x: true.log_prob(x) + math.log(1.14), around(true.sample(1000, rng), rng, true), 2000)
    assert estimate.value == pytest.approx(1.14, abs=1e-4)
    assert estimate.marks("exact") == ("mass 1.14 (1.14 to 1.14)",)
    assert estimate.marks("ode")
    assert not estimate.marks("bound")
    assert not estimate.marks("estimate")


def test_a_normalized_density_has_no_mark() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        for name in ("narrower", "one blob"):
            proposal = around(data(2).sample(1000, rng), rng, data(2))
            assert not total_mass(models(2)[name][0].log_prob, proposal, 2000, seed=seed).marks("exact")


@pytest.mark.parametrize("d", [2, 16, 64])
def test_too_much_mass_on_the_data_is_seen_in_every_dimension(d: int) -> None:
    rng = np.random.default_rng(d)
    x = rng.standard_normal((2000, d))

    def log_normal(scale: float) -> Array:
        value: Array = -0.5 * ((x / scale) ** 2).sum(1) - d * math.log(scale)
        return value

    (mark,) = excess_marks(log_normal(1.01) + math.log(1.3) - log_normal(1.0))
    assert 1.2 < float(mark.removeprefix("mass at least ")) <= 1.3
    for scale in (0.9, 1.0, 1.1, 1.5):
        assert not excess_marks(log_normal(scale) - log_normal(1.0))
    assert not excess_marks(np.full(2000, math.log(0.6))), "the rest may lie off the data"


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
    assert not untold(evaluation, 2000).marks, "its mass is 1"
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
    for result in (found["nll"], found["nll_gap"]):
        least = [mark.removeprefix("mass at least ") for mark in result.marks if mark.startswith("mass at least")]
        assert [math.log(float(number)) for number in least] == [pytest.approx(290, abs=30)]


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
