"""What may be trusted: no metric prefers a narrow distribution to the true one, and intervals cover."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

import trilemma
from trilemma.harness.evaluation.evaluation import TrainingRecord
from trilemma.harness.evaluation.spaces import Space
from trilemma.harness.plugins import Registry
from trilemma.plugins.metrics.kernels import Energy
from trilemma.plugins.metrics.likelihood.nll import gap_to_entropy
from trilemma.plugins.metrics.wasserstein import Wasserstein

Array = NDArray[np.float64]
METRICS = list(Registry(builtin_only=True).classes("metrics").values())


class Normal(trilemma.Distribution):
    """N(0, I)."""

    name = "normal"

    class Config(trilemma.DistributionConfig):
        dim: int = Field(2, description="coordinates")
        n_train: int = Field(4000, description="training points")
        n_valid: int = Field(500, description="validation points")
        n_test: int = Field(2000, description="test points")

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        if self.config.data_seed:  # other fresh draws too, not only other splits
            drawn = int(torch.randint(2**31, (), generator=generator))
            generator = torch.Generator().manual_seed(drawn ^ (self.config.data_seed * 7919))
        return torch.randn(n, self.config.dim, generator=generator)

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.distributions.Normal(0.0, 1.0).log_prob(x.double()).sum(1)

    def modes(self) -> trilemma.Modes:
        d = self.config.dim
        return trilemma.Modes(torch.zeros(1, d), torch.ones(1), torch.eye(d).expand(1, d, d))


class Scaled(trilemma.Model):
    """N(0, scale^2 I) in data space, exactly."""

    name = "scaled"
    likelihood = "exact"

    class Config(trilemma.Config):
        scale: float = Field(1.0, description="standard deviation")

    def place(self, space: Space, d: int) -> None:
        origin, unit = (space.to_model(torch.full((1, d), value, dtype=torch.float64))[0][0] for value in (0.0, 1.0))
        self.mean, self.deviation = origin, self.config.scale * (unit - origin)

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None: ...

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        noise = torch.randn((n, len(self.mean)), generator=ctx.generator, dtype=torch.float64)
        return (self.mean + self.deviation * noise).float()

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return torch.distributions.Normal(self.mean, self.deviation).log_prob(x.double()).sum(1)

    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        return (self.mean - x) / (self.deviation**2 + sigma.double() ** 2)


def evaluate(d: int, scale: float, seed: int = 0, data_seed: int = 0) -> trilemma.Evaluation:
    dataset = Normal(Normal.Config(dim=d, data_seed=data_seed))
    space = Space.fit(dataset, flatten=False)
    model = Scaled(Scaled.Config(scale=scale))
    model.place(space, d)
    info = trilemma.DataInfo(dataset.name, dataset.kind, dataset.shape, 4000)
    record = TrainingRecord(seconds=1, wall_seconds=1, steps=1, peak_memory=1, parameters=1)
    return trilemma.Evaluation(model, dataset, space, info, seed=seed, device=torch.device("cpu"), training=record)


# A narrow distribution

# What looks at correlations or mode masses alone cannot tell the scales apart: such a tie is right.
BLIND = {"correlation_error", "mode_mass_kl"}
COMPARING = [metric for metric in METRICS if metric.compares and metric.name not in ("frechet", "memorization")]


def ranked(metric: type[trilemma.Metric], d: int, n: int, scale: float, seed: int = 0) -> Mapping[str, trilemma.Result]:
    """What the report ranks by: results with a direction that are not to be read elsewhere."""
    known = metric.Config.model_fields
    config = {key: value for key, value in (("n", n), ("draws", 3)) if key in known}
    found = metric(metric.Config(**config)).compute(evaluate(d, scale, seed))
    return {r.metric: r for r in found if r.better != "none" and r.ranks}


def cases() -> Iterator[Any]:
    """Every metric at every size; what takes longer is slow."""
    for metric in COMPARING:
        heavy = metric.name in ("sinkhorn", "c2st")
        for d, n in product((2, 8, 64), (500, 2000)):
            cheap = d == 2 or (d == 64 and metric.name in ("witness_energy", "energy", "sliced_wasserstein"))
            yield case(metric, d, n, slow=heavy or n == 2000 or not cheap)
        if heavy:
            yield case(metric, 2, 100 if metric.name == "sinkhorn" else 200, slow=False)
            yield case(metric, 64, 200, slow=True)


def case(metric: type[trilemma.Metric], d: int, n: int, slow: bool) -> Any:
    return pytest.param(metric, d, n, id=f"{metric.name}-{d}-{n}", marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(("metric", "d", "n"), list(cases()))
def test_a_distribution_of_half_the_scale_never_ranks_above_the_true_one(
    metric: type[trilemma.Metric], d: int, n: int
) -> None:
    distribution, narrow = ranked(metric, d, n, 1.0), ranked(metric, d, n, 0.5)
    assert distribution.keys() == narrow.keys()
    for name, one in distribution.items():
        two = narrow[name]
        sign = 1 if one.better == "lower" else -1
        if name in BLIND:
            half = (one.ci_high - one.ci_low + two.ci_high - two.ci_low) / 2
            assert sign * (two.value - one.value) >= -half, f"{name} ranks the narrow distribution first"
        else:
            assert sign * two.value > sign * one.value, f"{name} ranks the narrow distribution first"


# Other scales

SCALES = (0.5, 0.8, 0.9, 1.1, 1.25)


def starred(metric: type[trilemma.Metric], d: int, n: int, scales: tuple[float, ...], repeats: int) -> dict[str, float]:
    """The share of comparisons that put a scale before the true one, by intervals that do not overlap."""
    wins: dict[str, list[bool]] = {}
    for seed in range(repeats):
        distribution = ranked(metric, d, n, 1.0, 100 * seed)
        for scale in scales:
            for name, other in ranked(metric, d, n, scale, 100 * seed + 1).items():
                one = distribution[name]
                before = other.ci_high < one.ci_low if one.better == "lower" else other.ci_low > one.ci_high
                wins.setdefault(name, []).append(before)
    return {name: float(np.mean(values)) for name, values in wins.items()}


@pytest.mark.parametrize("d", [2, 16])
@pytest.mark.parametrize("name", ["witness_energy", "energy", "precision_recall", "modes"])
def test_no_scale_is_put_before_the_true_one(name: str, d: int) -> None:
    metric = next(metric for metric in METRICS if metric.name == name)
    found = starred(metric, d, 300, (0.8, 1.25), 2)
    assert all(share == 0 for share in found.values()), found


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 4, 5, 8, 10, 16, 32, 64, 128])
@pytest.mark.parametrize("metric", COMPARING, ids=lambda metric: metric.name)
def test_no_scale_is_put_before_the_true_one_in_any_dimension(metric: type[trilemma.Metric], d: int) -> None:
    found = starred(metric, d, 200 if metric.name in ("sinkhorn", "c2st") else 500, SCALES, 4)
    assert all(share <= 0.05 for share in found.values()), found


@pytest.mark.slow
def test_something_is_ranked_in_every_dimension() -> None:
    for d in (2, 64):
        names = {name for metric in COMPARING for name in ranked(metric, d, 100, 1.0)}
        assert {"w2_excess" if d == 2 else "sliced_w2_excess", "energy", "nll", "witness_energy"} <= names


# Coverage of intervals


def coverage(intervals: list[tuple[float, float | None, float | None]], truth: float) -> float:
    return float(np.mean([low is not None and high is not None and low <= truth <= high for _, low, high in intervals]))


def simulate(n: int, scale: float, experiments: int) -> dict[str, float]:
    """Coverage of the intervals of metrics, over experiments that draw all points anew.

    The truth is the mean over the experiments, for the gap the closed form of the divergence.
    """
    found: dict[str, list[tuple[float, float | None, float | None]]] = {"w2_excess": [], "energy": [], "nll": []}
    rng = np.random.default_rng(15)
    for seed in range(1, experiments + 1):
        evaluation = evaluate(2, scale, seed, data_seed=seed)
        for metric, name in ((Wasserstein, "w2_excess"), (Energy, "energy")):
            result = {r.metric: r for r in metric(metric.Config(n=n)).compute(evaluation)}[name]
            found[name].append((result.value, result.ci_low, result.ci_high))
        x = rng.standard_normal((n, 2))
        log_ratio = 2 * math.log(scale) + (x**2).sum(1) * (1 / scale**2 - 1) / 2
        found["nll"].append(gap_to_entropy(log_prob=-log_ratio, true_log_prob=np.zeros(n)))
    truths = {name: float(np.mean([value for value, _, _ in values])) for name, values in found.items()}
    truths["nll"] = 2 * (math.log(scale) + 0.5 / scale**2 - 0.5)
    return {name: coverage(values, truths[name]) for name, values in found.items()}


@pytest.mark.parametrize("scale", [1.25, 0.8])
def test_intervals_cover(scale: float) -> None:
    found = simulate(40, scale, 100)
    assert min(found.values()) >= 0.88, found


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0001, 1.2, 0.7])
def test_intervals_cover_at_larger_samples(scale: float) -> None:
    found = simulate(200, scale, 300)
    assert min(found.values()) >= 0.92, found
