"""Samplers of the true distribution with a planted defect, for tests of what metrics can see."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

import trilemma
from trilemma.datasets.digits import Digits
from trilemma.harness.evaluation.evaluation import TrainingRecord
from trilemma.harness.evaluation.spaces import Space

Defect = Callable[[Tensor, trilemma.Dataset, torch.Generator], Tensor]
RECORD = TrainingRecord(seconds=1, wall_seconds=1, steps=1, peak_memory=1, parameters=1)


class Planted(trilemma.Model):
    """Draws given by a function of n and a generator, in data space."""

    name = "planted"

    def __init__(self, draw: Callable[[int, torch.Generator], Tensor], space: Space) -> None:
        super().__init__()
        self.draw, self.space = draw, space

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None: ...

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        x = self.draw(n, ctx.generator).double()
        middle = 0.5 if self.space.levels is not None else 0.0  # of the interval that is a level
        return self.space.to_model(x + middle)[0]


def evaluation(
    dataset: trilemma.Dataset, draw: Callable[[int, torch.Generator], Tensor], seed: int
) -> trilemma.Evaluation:
    """The evaluation of a sampler against a dataset."""
    space = Space.fit(dataset, flatten=False)
    info = trilemma.DataInfo(dataset.name, dataset.kind, dataset.shape, len(dataset.splits.train), dataset.levels)
    return trilemma.Evaluation(
        Planted(draw, space), dataset, space, info, seed=seed, device=torch.device("cpu"), training=RECORD
    )


def of_distribution(dataset: trilemma.Dataset, defect: Defect | None, seed: int) -> trilemma.Evaluation:
    """The evaluation of the true distribution with a defect."""

    def draw(n: int, generator: torch.Generator) -> Tensor:
        x = dataset.sample(n, generator).double()
        return x if defect is None else defect(x, dataset, generator)

    return evaluation(dataset, draw, seed)


def nearest_mode(x: Tensor, dataset: trilemma.Dataset) -> Tensor:
    return torch.cdist(x, dataset.modes().centers.double()).argmin(1)


def spread(factor: float) -> Defect:
    """Every mode is wider or narrower by a factor."""

    def plant(x: Tensor, dataset: trilemma.Dataset, generator: torch.Generator) -> Tensor:
        center = dataset.modes().centers.double()[nearest_mode(x, dataset)]
        return center + factor * (x - center)

    return plant


def lose(share: float) -> Defect:
    """A share of all mass moves from the first mode to the others."""

    def plant(x: Tensor, dataset: trilemma.Dataset, generator: torch.Generator) -> Tensor:
        mode = nearest_mode(x, dataset)
        first = (mode == 0).nonzero()[: int(share * len(x)), 0]
        others = (mode != 0).nonzero()[:, 0]
        spare = dataset.sample(2 * len(x), generator).double()
        spare = spare[nearest_mode(spare, dataset) != 0]
        assert len(others) > 0
        assert len(first) == int(share * len(x))
        x[first] = spare[: len(first)]
        return x

    return plant


def bridges(share: float) -> Defect:
    """A share of the points lies between points of two different modes."""

    def plant(x: Tensor, dataset: trilemma.Dataset, generator: torch.Generator) -> Tensor:
        k = int(share * len(x))
        ends = dataset.sample(4 * k + 100, generator).double().reshape(2, -1, x.shape[1])
        apart = nearest_mode(ends[0], dataset) != nearest_mode(ends[1], dataset)
        one, two = ends[0][apart][:k], ends[1][apart][:k]
        t = torch.rand(k, 1, generator=generator).double()
        x[:k] = t * one + (1 - t) * two
        return x

    return plant


def scaled(factor: float) -> Defect:
    """All points are scaled about the origin."""
    return lambda x, dataset, generator: factor * x


MIXTURE_DEFECTS: dict[str, Defect] = {
    "spread x.9": spread(0.9),
    "spread x1.25": spread(1.25),
    "spread x1.5": spread(1.5),
    "a mode loses 5 %": lose(0.05),
    "2 % bridges": bridges(0.02),
    "5 % bridges": bridges(0.05),
    "all x.97": scaled(0.97),
}


# Digits


class ResampledDigits(Digits):
    """The digits with another test split: the images that the witness is not fitted to change places.

    `spare` holds the images, with `labels`, that are not in the test split and that the witness has not seen.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def load(self) -> trilemma.Splits:
        images = load_digits().images.astype(np.uint8)
        order = np.random.RandomState(0).permutation(len(images))
        labels = load_digits().target[order]
        points = torch.from_numpy(images[order]).unsqueeze(1)
        half = np.random.default_rng(0).permutation(1258)  # the order in which the witness halves the training points
        fitted, free = half[:629], np.concatenate([half[629:], np.arange(1258, len(images))])
        free = np.random.default_rng(self.seed).permutation(free)
        test, valid, rest = free[:270], free[270:539], free[539:]
        train = torch.empty((1258, 1, 8, 8), dtype=torch.uint8)
        train[half[:629]], train[half[629:]] = points[fitted], points[rest]
        self.spare = points[free[270:]].float()
        self.labels = torch.from_numpy(labels[free[270:]])
        return trilemma.Splits(train, points[valid], points[test])


def noise(deviation: float) -> Defect:
    """Noise of a standard deviation in units of the range of intensities."""
    return lambda x, dataset, g: (x + 16 * deviation * torch.randn(x.shape, generator=g)).round().clamp(0, 16)


def blur(x: Tensor, dataset: trilemma.Dataset, generator: torch.Generator) -> Tensor:
    """A tenth of each intensity goes to the four neighbors."""
    kernel = torch.tensor([[0.0, 0.025, 0.0], [0.025, 0.9, 0.025], [0.0, 0.025, 0.0]])[None, None]
    return torch.nn.functional.conv2d(x, kernel, padding=1).round().clamp(0, 16)


def junk(x: Tensor, dataset: trilemma.Dataset, generator: torch.Generator) -> Tensor:
    """One image in twenty is uniform noise."""
    k = len(x) // 20
    x[:k] = torch.randint(17, x[:k].shape, generator=generator).float()
    return x


def few(x: Tensor, dataset: trilemma.Dataset, generator: torch.Generator) -> Tensor:
    """One image in four is unique."""
    return x[torch.arange(len(x)) % (len(x) // 4)]


DIGIT_DEFECTS: dict[str, Defect] = {
    "pixel noise .03": noise(0.03),
    "pixel noise .06": noise(0.06),
    "slight blur": blur,
    "contrast x.93": lambda x, dataset, generator: (0.93 * x).round(),
    "5 % junk": junk,
    "a class gone": lambda x, dataset, generator: x,  # see of_digits
    "1 in 4 unique": few,
}


def of_digits(dataset: ResampledDigits, defect: str | None, seed: int) -> trilemma.Evaluation:
    """The evaluation of real digits, none of them in the test split, with a defect."""
    assert len(dataset.splits.test) == 270
    kept = torch.ones(len(dataset.spare), dtype=torch.bool)
    if defect == "a class gone":
        kept = dataset.labels != 3

    def draw(n: int, generator: torch.Generator) -> Tensor:
        x = dataset.spare[kept]
        x = x[torch.randperm(len(x), generator=generator)[:n]].clone()
        return x if defect is None else DIGIT_DEFECTS[defect](x, dataset, generator)

    return evaluation(dataset, draw, seed)
