"""Distributions, datasets and models with closed forms, loaded by the fixture `known`."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

import trilemma
from trilemma.harness.evaluation.evaluation import TrainingRecord
from trilemma.harness.evaluation.spaces import Space
from trilemma.harness.evaluation.truth import DatasetTruth
from trilemma.plugins.metrics.score_error import mixture_score

Array = NDArray[np.float64]
RECORD = TrainingRecord(seconds=1.5, wall_seconds=2.0, steps=10, peak_memory=2**21, parameters=4)


def results(metric: trilemma.Metric, evaluation: trilemma.Evaluation) -> dict[str, trilemma.Result]:
    """The results of a metric by name."""
    return {result.metric: result for result in metric.compute(evaluation)}


# One Gaussian, and a model that is one


class Normal(trilemma.Distribution):
    """N(1, 4 I) in two dimensions."""

    name = "normal"

    class Config(trilemma.DistributionConfig):
        n_train: int = Field(600, description="training points")
        n_valid: int = Field(500, description="validation points")
        n_test: int = Field(1000, description="test points")

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return 1 + 2 * torch.randn(n, 2, generator=generator)

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.distributions.Normal(1.0, 2.0).log_prob(x.double()).sum(1)

    @property
    def entropy(self) -> float:
        return math.log(2 * math.pi * math.e * 4)


class Levels(trilemma.Dataset):
    """Two-pixel images of four equally likely levels, with few held-out points."""

    name = "levels"
    kind = "image"
    levels = 4

    def load(self) -> trilemma.Splits:
        parts = [torch.randint(4, (n, 1, 1, 2), generator=torch.Generator().manual_seed(n)) for n in (400, 269, 270)]
        return trilemma.Splits(*(part.to(torch.uint8) for part in parts))


class Gauss(trilemma.Model):
    """An isotropic Gaussian of fixed scale in model space, with a network that it evaluates three times."""

    name = "gauss"
    likelihood = "exact"

    class Config(trilemma.Config):
        scale: float = Field(1.0, description="standard deviation")

    def __init__(self, config: trilemma.Config | None = None) -> None:
        super().__init__(config)
        self.network = nn.Linear(2, 2, bias=False)
        nn.init.eye_(self.network.weight)

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None: ...

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        x = self.config.scale * torch.randn(n, 2, generator=ctx.generator)
        for _ in range(3):
            x = self.network(x)
        return x

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        ctx.details["method"] = "closed form"
        return torch.distributions.Normal(0.0, self.config.scale).log_prob(x).sum(1)

    def networks(self) -> tuple[nn.Module, ...]:
        return (self.network,)


class Blind(Gauss):
    """A model without a likelihood that marks no network."""

    name = "blind"
    likelihood = "none"
    log_prob = trilemma.Model.log_prob

    def networks(self) -> tuple[nn.Module, ...]:
        return ()


def evaluate(model: trilemma.Model, dataset: trilemma.Dataset, seed: int = 0) -> trilemma.Evaluation:
    """A model against a dataset of two coordinates or pixels."""
    space = Space.fit(dataset, flatten=True)
    info = trilemma.DataInfo(dataset.name, dataset.kind, (2,), len(dataset.splits.train), dataset.levels)
    common = {"seed": seed, "device": torch.device("cpu"), "training": RECORD, "truth": DatasetTruth(dataset, space)}
    return trilemma.Evaluation(model, dataset, space, info, **common)


# Mixtures, data without a distribution, and a model that replays training points

CENTERS = np.array([[-4.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
WEIGHTS = np.array([0.5, 0.3, 0.2])
SCALE = 0.5


def mixture(rng: np.random.Generator, n: int, weights: Array = WEIGHTS, scale: float = SCALE) -> Array:
    """Points of three round Gaussians."""
    return CENTERS[rng.choice(3, n, p=weights)] + scale * rng.standard_normal((n, 2))


class Mixture(trilemma.Distribution):
    """The distribution of `mixture`."""

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


class Normals(trilemma.Distribution):
    """Two Gaussians in the plane, far from standardized."""

    name = "normals"

    class Config(trilemma.DistributionConfig):
        n_train: int = Field(2000, description="training points")
        n_valid: int = Field(500, description="validation points")
        n_test: int = Field(500, description="test points")

    centers = torch.tensor([[10.0, 0.0], [40.0, 5.0]], dtype=torch.float64)
    scale = torch.tensor([2.0, 0.5], dtype=torch.float64)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        labels = torch.randint(2, (n,), generator=generator)
        return (self.centers[labels] + self.scale * torch.randn(n, 2, generator=generator)).float()

    def log_prob(self, x: Tensor) -> Tensor:
        parts = [torch.distributions.Normal(c, self.scale).log_prob(x.double()).sum(1) for c in self.centers]
        return torch.stack(parts).logsumexp(0) - math.log(2)

    def modes(self) -> trilemma.Modes:
        return trilemma.Modes(self.centers, torch.ones(2) / 2, torch.diag(self.scale**2).expand(2, 2, 2))


class Images(trilemma.Dataset):
    """Noise of four levels."""

    name = "noise"
    kind = "image"
    levels = 4

    def load(self) -> trilemma.Splits:
        parts = [
            torch.randint(4, (n, 1, 4, 4), generator=torch.Generator().manual_seed(n), dtype=torch.uint8)
            for n in (300, 200, 210)
        ]
        return trilemma.Splits(*parts)


class Replay(trilemma.Model):
    """Training points, of these those right of `cut`; its score is the true one, plus `error` in every coordinate."""

    name = "replay"

    class Config(trilemma.Config):
        cut: float = Field(-10.0, description="least first coordinate")
        error: float = Field(0.0, description="added to the score")

    distribution: trilemma.Modes | None = None

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self.x = train.x if train.x.ndim > 2 else train.x[train.x[:, 0] > self.config.cut]

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.x[torch.randint(len(self.x), (n,), generator=ctx.generator)]

    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        if self.distribution is None:
            return super().score(x, sigma, ctx)
        modes = self.distribution
        true = mixture_score(
            x.double(), centers=modes.centers, weights=modes.weights, covariances=modes.covariances, sigma=float(sigma)
        )
        return true + self.config.error


def replay(dataset: trilemma.Dataset, seed: int = 0, *, knows: bool = False, **options: float) -> trilemma.Evaluation:
    """The replaying model against a dataset; with `knows` it has a score."""
    space = Space.fit(dataset, flatten=False)
    info = trilemma.DataInfo(dataset.name, dataset.kind, dataset.shape, 2000, dataset.levels)
    model = Replay(Replay.Config(**options))
    points = space.dequantize(dataset.splits.train, torch.Generator().manual_seed(0))[0]
    model.fit(
        trilemma.Split(space.to_model(points)[0].float()),
        trilemma.Context(info=info, device=torch.device("cpu"), generator=torch.Generator()),
    )
    evaluation = trilemma.Evaluation(
        model, dataset, space, info, seed=seed, device=torch.device("cpu"), training=RECORD
    )
    if knows:
        model.distribution = evaluation.model_space_modes()
    return evaluation
