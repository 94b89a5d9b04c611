"""Metrics of samples: closed forms, peers, and the properties that any such metric must have."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

import trilemma
from trilemma.harness.evaluation.evaluation import TrainingRecord
from trilemma.harness.evaluation.spaces import Space
from trilemma.plugins.metrics import METRICS, column_generation, samples, transport
from trilemma.plugins.metrics.c2st import classifier_auc
from trilemma.plugins.metrics.frechet import Frechet
from trilemma.plugins.metrics.kernels import energy_distance, squared_mmd
from trilemma.plugins.metrics.memorization import Memorization, nearness
from trilemma.plugins.metrics.modes import ModeCoverage, mode_statistics
from trilemma.plugins.metrics.precision_recall import precision_recall
from trilemma.plugins.metrics.two_sample import TwoSample
from trilemma.plugins.metrics.wasserstein import SlicedWasserstein, fixed_directions, squared_sliced_w2

Array = NDArray[np.float64]
Distance = Callable[[Array, Array], float]

CENTERS = np.array([[-4.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
WEIGHTS = np.array([0.5, 0.3, 0.2])
SCALE = 0.5


def mixture(rng: np.random.Generator, n: int, weights: Array = WEIGHTS, scale: float = SCALE) -> Array:
    return CENTERS[rng.choice(3, n, p=weights)] + scale * rng.standard_normal((n, 2))


class Mixture(trilemma.Distribution):
    name = "three"

    class Config(trilemma.DistributionConfig):
        n_train: int = Field(2000, description="training points")
        n_valid: int = Field(300, description="validation points")
        n_test: int = Field(400, description="test points")

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        mode = torch.multinomial(torch.tensor(WEIGHTS), n, replacement=True, generator=generator)
        return torch.tensor(CENTERS).float()[mode] + SCALE * torch.randn(n, 2, generator=generator)

    def log_prob(self, x: Tensor) -> Tensor:
        component = torch.distributions.Normal(torch.tensor(CENTERS)[:, None], SCALE)
        return (component.log_prob(x.double()).sum(-1) + torch.tensor(WEIGHTS).log()[:, None]).logsumexp(0)

    def modes(self) -> trilemma.Modes:
        covariances = SCALE**2 * torch.eye(2).expand(3, 2, 2)
        return trilemma.Modes(torch.tensor(CENTERS), torch.tensor(WEIGHTS), covariances)


class Table(trilemma.Dataset):
    """A dataset without a distribution, with few held-out points."""

    name = "table"

    def load(self) -> trilemma.Splits:
        rng = np.random.default_rng(0)
        return trilemma.Splits(*(torch.tensor(mixture(rng, n)).float() for n in (2000, 130, 150)))


class Replay(trilemma.Model):
    """Training points, moved by `shift` and thinned to those right of `cut`."""

    name = "replay"

    class Config(trilemma.Config):
        shift: float = Field(0.0, description="added to each coordinate")
        cut: float = Field(-10.0, description="least first coordinate")

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self.x = train.x[train.x[:, 0] > self.config.cut]

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.x[torch.randint(len(self.x), (n,), generator=ctx.generator)] + self.config.shift


def evaluate(dataset: trilemma.Dataset, seed: int = 0, **options: float) -> trilemma.Evaluation:
    space = Space.fit(dataset, flatten=True)
    info = trilemma.DataInfo(dataset.name, dataset.kind, (2,), 2000)
    model = Replay(Replay.Config(**options))
    model.fit(
        trilemma.Split(space.to_model(dataset.splits.train.double())[0].float()),
        trilemma.Context(info=info, device=torch.device("cpu"), generator=torch.Generator()),
    )
    record = TrainingRecord(seconds=1, wall_seconds=1, steps=1, peak_memory=1, parameters=1)
    return trilemma.Evaluation(model, dataset, space, info, seed=seed, device=torch.device("cpu"), training=record)


# What any distance between samples must do. Each is nearly zero for equal distributions after `excess` or by being
# unbiased.

DIRECTIONS = fixed_directions(2, 64)
DISTANCES: dict[str, Distance] = {
    "w2": lambda r, g: transport.squared_w2(real=r, generated=g),
    "sliced_w2": lambda r, g: squared_sliced_w2(real=r, generated=g, directions=DIRECTIONS),
    "energy": lambda r, g: energy_distance(real=r, generated=g),
    "mmd": lambda r, g: squared_mmd(real=r, generated=g, bandwidth=3.0),
    "precision_recall": lambda r, g: 4 - sum(precision_recall(real=r, generated=g).values()),
    "c2st": lambda r, g: classifier_auc(real=r, generated=g),
}


@pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES)
def test_self_tests_of_a_distance(distance: Distance) -> None:
    rng = np.random.default_rng(0)
    real, same = mixture(rng, 300), mixture(rng, 300)

    def value(generated: Array) -> float:
        return distance(real, generated)

    distribution = value(same)
    shifts = [value(same + shift) for shift in (0.0, 1.0, 2.5)]
    assert shifts == sorted(shifts), "it grows with a shift"
    dropped = mixture(rng, 300, np.array([0.7, 0.3, 0.0]))
    assert value(dropped) > distribution, "it sees a missing mode"
    assert value(mixture(rng, 300, scale=0.1)) > distribution or distance is DISTANCES["w2"], (
        "it sees modes that are too narrow"
    )
    order = rng.permutation(300)
    assert value(same[order]) == pytest.approx(distribution, abs=1e-9), "the order of points is irrelevant"
    with pytest.raises(trilemma.DivergedError):
        value(np.where(np.arange(600).reshape(300, 2) == 7, np.nan, same))
    with pytest.raises(trilemma.DataError):
        value(same[:, :1])


@pytest.mark.parametrize("name", ["w2", "sliced_w2", "precision_recall", "c2st"])
def test_distances_that_are_biased_by_n_refuse_unequal_sizes(name: str) -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(trilemma.DataError, match="same size"):
        DISTANCES[name](mixture(rng, 50), mixture(rng, 40))


@pytest.mark.parametrize("name", ["w2", "sliced_w2", "energy", "mmd"])
def test_identical_sets_are_at_no_positive_distance(name: str) -> None:
    points = mixture(np.random.default_rng(2), 200)
    assert DISTANCES[name](points, points) <= 1e-12


# Closed forms and peers


@settings(max_examples=30, deadline=None)
@given(a=st.floats(-9, 9), b=st.floats(-9, 9))
def test_energy_distance_of_point_masses(a: float, b: float) -> None:
    real, generated = np.full((5, 1), a), np.full((7, 1), b)
    assert energy_distance(real=real, generated=generated) == pytest.approx(2 * abs(a - b), abs=1e-6)


def test_energy_distance_of_gaussians() -> None:
    rng = np.random.default_rng(4)
    found = energy_distance(real=rng.standard_normal((6000, 1)), generated=2 * rng.standard_normal((6000, 1)))
    closed_form = math.sqrt(2 / math.pi) * (2 * math.sqrt(5) - math.sqrt(2) - math.sqrt(8))
    assert found == pytest.approx(closed_form, abs=0.02)


def test_squared_mmd_of_gaussians() -> None:
    rng = np.random.default_rng(5)
    shift, width, n = 1.5, 2.0, 5000
    found = squared_mmd(
        real=rng.standard_normal((n, 1)), generated=shift + rng.standard_normal((n, 1)), bandwidth=width
    )
    widths = width * np.array([0.25, 0.5, 1, 2, 4])
    closed_form = np.mean(2 * widths / np.sqrt(widths**2 + 2) * (1 - np.exp(-(shift**2) / (2 * (widths**2 + 2)))))
    assert found == pytest.approx(closed_form, abs=0.01)


def test_unbiased_distances_are_zero_on_average_for_equal_distributions() -> None:
    rng = np.random.default_rng(6)
    for name in ("energy", "mmd"):
        values = [DISTANCES[name](mixture(rng, 40), mixture(rng, 40)) for _ in range(300)]
        _, low, high = trilemma.mean_interval(values, level=0.999)
        assert low < 0 < high


def test_blocks_do_not_change_a_distance() -> None:
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((234, 3)) + 100, rng.standard_normal((177, 3)) + 100
    blocks = np.concatenate(list(samples.squared_distances(x, y, rows=50)))
    assert blocks == pytest.approx(((x[:, None] - y[None]) ** 2).sum(-1), abs=1e-9)


def test_sliced_w2_equals_that_of_pot() -> None:
    rng = np.random.default_rng(8)
    real, generated = rng.standard_normal((300, 5)), 1 + rng.standard_normal((300, 5))
    directions = fixed_directions(5, 40)
    peer = ot.sliced_wasserstein_distance(real, generated, projections=directions, p=2)
    assert squared_sliced_w2(real=real, generated=generated, directions=directions) == pytest.approx(peer**2)


def test_precision_recall_by_definition() -> None:
    rng = np.random.default_rng(9)
    real, generated, k = mixture(rng, 700), mixture(rng, 700, scale=0.8), 4

    def distances(a: Array, b: Array) -> Array:
        return np.linalg.norm(a[:, None] - b[None], axis=-1)

    real_radii, model_radii = (np.sort(distances(a, a), axis=1)[:, k] for a in (real, generated))
    cross = distances(real, generated)
    assert precision_recall(real=real, generated=generated, k=k) == pytest.approx(
        {
            "precision": (cross < real_radii[:, None]).any(0).mean(),
            "recall": (cross < model_radii[None]).any(1).mean(),
            "density": (cross < real_radii[:, None]).sum(0).mean() / k,
            "coverage": (cross.min(1) < real_radii).mean(),
        }
    )


def test_a_classifier_tells_what_is_different_and_nothing_else() -> None:
    rng = np.random.default_rng(10)
    assert classifier_auc(real=mixture(rng, 500), generated=mixture(rng, 500)) == pytest.approx(0.5, abs=0.06)
    assert classifier_auc(real=mixture(rng, 500), generated=mixture(rng, 500) + 20) > 0.995


def statistics(points: Array) -> dict[str, float]:
    covariances = SCALE**2 * np.broadcast_to(np.eye(2), (3, 2, 2))
    return mode_statistics(generated=points, centers=CENTERS, weights=WEIGHTS, covariances=covariances)


def test_mode_statistics_of_the_distribution_and_of_its_failures() -> None:
    rng = np.random.default_rng(11)
    distribution = statistics(mixture(rng, 50_000))
    assert distribution["modes_covered"] == 3
    assert distribution["within_3_sigma"] == pytest.approx(1 - math.exp(-4.5), abs=0.002)
    assert distribution["mode_mass_kl"] < 1e-3
    assert distribution["mode_spread"] == pytest.approx(0.974, abs=0.005)

    dropped = statistics(mixture(rng, 5000, np.array([0.5, 0.5, 0.0])))
    assert dropped["modes_covered"] == 2
    assert dropped["mode_mass_kl"] == pytest.approx(0.5 * math.log(0.5 / 0.3), abs=0.02)
    assert statistics(mixture(rng, 5000, scale=0.25))["mode_spread"] == pytest.approx(0.5, abs=0.02)
    far = statistics(np.full((10, 2), 100.0))
    assert far["within_3_sigma"] == 0
    assert "mode_spread" not in far


# Exact transport by column generation


def clouds(rng: np.random.Generator, kind: str, n: int) -> Array:
    if kind == "gaussian":
        return rng.standard_normal((n, 2))
    if kind == "grid":
        return rng.integers(5, size=(n, 2)) + 0.05 * rng.standard_normal((n, 2))
    if kind == "levels":
        return rng.integers(4, size=(n, 2)) / 3
    if kind == "line":
        return np.outer(rng.standard_normal(n), [1.0, 0.0])
    return rng.standard_normal((n, 16))


@pytest.mark.parametrize("kind", ["gaussian", "grid", "levels", "line", "high"])
def test_column_generation_equals_the_dense_solver_and_proves_it(kind: str) -> None:
    rng = np.random.default_rng(12)
    real, generated = clouds(rng, kind, 900), 0.9 * clouds(rng, kind, 900) + 0.1
    ones = np.ones(900)
    plan = column_generation.solve(real, generated, ones, ones)
    assert plan.cost / 900 == pytest.approx(transport.dense_squared_w2(real, generated), rel=1e-9, abs=1e-12)
    slack = ((real[:, None] - generated[None]) ** 2).sum(-1) - plan.u[:, None] - plan.v[None]
    assert slack.min() > -1e-8
    assert plan.u.sum() + plan.v.sum() == pytest.approx(plan.cost, rel=1e-9)
    assert sorted(plan.rows) == sorted(plan.columns) == list(range(900))


def test_where_column_generation_gives_up_the_dense_solver_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(13)
    real, generated = rng.standard_normal((1600, 2)), rng.standard_normal((1600, 2))
    expected = transport.squared_w2(real=real, generated=generated)
    monkeypatch.setattr(column_generation, "_HOPELESS", 0)
    monkeypatch.setattr(column_generation, "_GUESS", 2)
    with pytest.raises(column_generation.HopelessError):
        column_generation.solve(real, generated, np.ones(1600), np.ones(1600))
    assert transport.squared_w2(real=real, generated=generated) == pytest.approx(expected, rel=1e-9)


# As metrics


TWO_SAMPLE = [metric for metric in METRICS if issubclass(metric, TwoSample) and metric is not Frechet]  # of images


@pytest.mark.parametrize("metric", TWO_SAMPLE, ids=lambda metric: metric.name)
def test_every_result_has_an_interval_a_floor_and_its_size(metric: type[TwoSample]) -> None:
    config = metric.Config(n=200, draws=3)
    for dataset, n in ((Mixture(), 200), (Table(), 130)):
        if dataset.modes() is None and metric is ModeCoverage:
            with pytest.raises(trilemma.UnsupportedError):
                metric(config).compute(evaluate(dataset))
            continue
        results = metric(config).compute(evaluate(dataset))
        assert len({result.metric for result in results}) == len(results)
        for result in results:
            assert result.ci_low <= result.value <= result.ci_high
            assert math.isfinite(result.floor)
            assert result.n == n
            assert result.details["reference"] == ("fresh" if dataset.has_density else "shared")


@pytest.mark.parametrize("metric", TWO_SAMPLE, ids=lambda metric: metric.name)
def test_a_model_that_drops_a_mode_is_worse_than_one_that_does_not(metric: type[TwoSample]) -> None:
    config, dataset = metric.Config(n=400, draws=3), Mixture()
    whole, thinned = (
        {result.metric: result for result in metric(config).compute(evaluate(dataset, cut=cut))} for cut in (-10, 0)
    )
    blind = ("precision", "density", "w2", "sliced_w2")  # to a missing mode, or for the bias of a finite n
    ranked = [name for name in whole if whole[name].better != "none" and name not in blind]
    assert ranked
    for name in ranked:
        sign = 1 if whole[name].better == "lower" else -1
        assert sign * thinned[name].value > sign * whole[name].value


def test_a_model_that_replays_training_points_is_flagged() -> None:
    for dataset in (Mixture(), Table()):
        (replayed,) = Memorization(Memorization.Config(n=300, draws=3)).compute(evaluate(dataset))
        assert replayed.value > 0.99
        assert replayed.floor == pytest.approx(0.05, abs=0.01)
        assert replayed.details["memorizes"]


def test_a_narrow_distribution_is_not_taken_for_memorizing() -> None:
    rng = np.random.default_rng(14)
    train, held_out, real = mixture(rng, 4000), mixture(rng, 1000), mixture(rng, 4000)
    mark = np.quantile(nearness(points=real, train=train, held_out=held_out), 0.05)
    for scale in (0.2, SCALE):
        share = (nearness(points=mixture(rng, 4000, scale=scale), train=train, held_out=held_out) < mark).mean()
        assert share == pytest.approx(0.05, abs=0.02)


def test_floors_are_computed_once_for_each_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    squared = SlicedWasserstein.powered

    def counting(self: SlicedWasserstein, real: Array, generated: Array) -> float:
        calls.append(1)
        return squared(self, real, generated)

    monkeypatch.setattr(SlicedWasserstein, "powered", counting)
    dataset, config = Mixture(), SlicedWasserstein.Config(n=100, draws=3)
    counts = []
    for seed in (0, 1):
        SlicedWasserstein(config).compute(evaluate(dataset, seed))
        counts.append(len(calls))
    assert counts == [9, 15]
