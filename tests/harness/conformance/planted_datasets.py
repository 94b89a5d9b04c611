"""Datasets with a planted defect each, and correct datasets that look alike."""

from __future__ import annotations

import math
import os

import numpy as np
import torch
from plantings import look_alike, planted
from torch import Tensor

import trilemma
from trilemma.harness.conformance.distributions import ThreeGaussians


class Table(trilemma.Dataset):
    """A table of two classes with three columns: correct, and the base of the others."""

    name = "table"
    title = "Two classes"
    source = "drawn"
    license = "CC0-1.0"

    def rows(self) -> Tensor:
        x = torch.randn(3000, 3, generator=torch.Generator().manual_seed(0))
        x[:1500] += 2  # the first class comes first
        return x

    def load(self) -> trilemma.Splits:
        rows = self.rows()
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1))
        return trilemma.Splits(*rows[order].split([2000, 500, 500]))


@planted("dataset", "splits not exchangeable (sorted by class)", "exchangeable", "shuffle the rows")
class Sorted(Table):
    """It cuts the table in order, so that the test points are of one class."""

    def load(self) -> trilemma.Splits:
        return trilemma.Splits(*self.rows().split([2000, 500, 500]))


@look_alike("splits not exchangeable (sorted by class)")
class SortedWithin(Table):
    """It sorts each split, whose order means nothing."""

    def load(self) -> trilemma.Splits:
        splits = super().load()
        parts = (part[part[:, 0].argsort()] for part in (splits.train, splits.valid, splits.test))
        return trilemma.Splits(*parts)


@planted("dataset", "an error called missing data", "load", "ValueError: rows")
class Broken(Table):
    """It raises a ValueError."""

    def load(self) -> trilemma.Splits:
        raise ValueError("rows do not match")


@planted("dataset", "nothing checked", "checked", "nothing is known of this plugin")
class Missing(Table):
    """Its data is not on this machine."""

    def load(self) -> trilemma.Splits:
        raise trilemma.DataError("there is no file points.csv; fetch it")


@planted("dataset", "points that differ from load to load", "deterministic", "a generator with a fixed seed")
class Restless(Table):
    """It draws new points each time."""

    def rows(self) -> Tensor:
        return super().rows() + torch.from_numpy(np.random.default_rng().random((3000, 3))).float()


@planted("dataset", "points that differ from process to process", "fresh-process", "depend on no hash()")
class Hashed(Table):
    """Its seed is the hash of a text, which differs in each process."""

    def rows(self) -> Tensor:
        return super().rows() + 0.01 * (hash("seed") % 1000)


@look_alike("points that differ from process to process")
class Summed(Table):
    """Its seed is a sum of the bytes of a text."""

    def rows(self) -> Tensor:
        return super().rows() + 0.01 * (sum(b"seed") % 1000)


@planted("dataset", "test points among the training points", "disjoint", "also in the training split")
class Leaky(Table):
    """A tenth of its test points are training points."""

    def load(self) -> trilemma.Splits:
        splits = super().load()
        return trilemma.Splits(splits.train, splits.valid, torch.cat([splits.test[50:], splits.train[:50]]))


@planted("dataset", "float64 points", "splits", "convert it in load")
class Doubles(Table):
    """Its points are float64."""

    def rows(self) -> Tensor:
        return super().rows().double()


@planted("dataset", "density not normalized", "density", "check its normalization")
class TwiceTheMass(ThreeGaussians):
    """Its density integrates to 1.3, and no entropy contradicts it."""

    def log_prob(self, x: Tensor) -> Tensor:
        return super().log_prob(x) + math.log(1.3)

    def modes(self) -> None:  # type: ignore[override]
        return None

    entropy = None  # type: ignore[assignment]


@planted("dataset", "sampler of another distribution than the density", "density", "of different distributions")
class Narrow(ThreeGaussians):
    """Its draws are narrower than its density."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        x = super().sample(n, generator)
        centers = self.centers.float()
        nearest = centers[torch.cdist(x, centers).argmin(1)]
        return nearest + 0.8 * (x - nearest)

    def modes(self) -> None:  # type: ignore[override]
        return None

    entropy = None  # type: ignore[assignment]


@look_alike("density not normalized")
class Uniform(trilemma.Distribution):
    """Uniform on two squares: a density that jumps to 0."""

    name = "squares"
    title = "Two squares"

    class Config(trilemma.DistributionConfig):
        """Sizes."""

        n_train: int = 2000
        n_valid: int = 1000
        n_test: int = 1000

    expected_failures = {"documented": "its sizes are those of the tests"}

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.rand(n, 2, generator=generator) + 2 * torch.randint(2, (n, 1), generator=generator)

    def log_prob(self, x: Tensor) -> Tensor:
        x = x.double()
        one, two = (((x >= low) & (x < low + 1)).all(1) for low in (0.0, 2.0))
        inside = torch.full((len(x),), math.log(0.5), dtype=torch.float64)
        return inside.masked_fill(~(one | two), -torch.inf)

    @property
    def entropy(self) -> float:
        return math.log(2)


@planted("dataset", "wrong entropy", "entropy", "off the entropy")
class WrongEntropy(ThreeGaussians):
    """An entropy that is a quarter of a nat off."""

    @property
    def entropy(self) -> float:
        return super().entropy + 0.25


@planted("dataset", "wrong modes", "modes", "from the mixture of the modes")
class WrongModes(ThreeGaussians):
    """Modes whose weights are those of another distribution."""

    def modes(self) -> trilemma.Modes:
        modes = super().modes()
        return trilemma.Modes(modes.centers, torch.ones(3) / 3, modes.covariances)


@planted("dataset", "global state left changed by `load`", "global-state", "set it back")
class LeavesTraces(Table):
    """It sets an environment variable."""

    def load(self) -> trilemma.Splits:
        os.environ["SOME_DATA"] = "here"
        return super().load()


@planted("dataset", "no license", "card", "the card has no license")
class NoLicense(Table):
    """A card without a license."""

    license = ""


@planted("dataset", "draws that are training points", "distribution", "draw new points")
class Replays(ThreeGaussians):
    """It draws rows of a table, which its training points are from too."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        table = super().sample(4000, torch.Generator().manual_seed(0))
        return table[torch.randint(len(table), (n,), generator=generator)]

    def load(self) -> trilemma.Splits:
        sizes = (self.config.n_train, self.config.n_valid, self.config.n_test)
        table = super().sample(4000, torch.Generator().manual_seed(0))
        return trilemma.Splits(*table[: sum(sizes)].split(sizes))


@planted("dataset", "test points a little apart in every column", "exchangeable", "shuffle the rows")
class LittleApart(Table):
    """Its test points are moved by a ninth of a deviation in ten columns, too little to see in any one of them."""

    moved = 0.11

    def load(self) -> trilemma.Splits:
        rows = torch.randn(6000, 10, generator=torch.Generator().manual_seed(0))
        train, valid, test = rows.split([4000, 1000, 1000])
        return trilemma.Splits(train, valid, test + self.moved)


@look_alike("test points a little apart in every column")
class TenColumns(LittleApart):
    """The same without the shift."""

    moved = 0.0
