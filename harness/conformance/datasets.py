"""The checks of a dataset."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..contracts.config import Config
from ..contracts.dataset import Dataset
from ..errors import DataError, UnsupportedError
from .fresh import Answer, ask
from .grid import SURE, Grid
from .kit import FailureError, Kit, needs, no_global_randomness, require
from .left_behind import LeftBehind
from .statistics import apart, mixed_up, thinned

_DRAWS = 4000
_CHANCE, _COMPARED = 1e-4, 5_000  # the p-value at which splits differ, and their most points that are compared
_PER_SIDE, _TAIL, _MARGIN = 800, 0.002, 0.25  # of the grid: its cells, and the box around the bulk of the samples
_TOLERANCE = 0.02  # of a mass


class DatasetKit(Kit):
    """The checks of `trilemma check DATASET`."""

    def __init__(self, cls: type[Dataset], config: Config | None) -> None:
        super().__init__(cls, config)
        self.left = LeftBehind()

    @cached_property
    def dataset(self) -> Dataset:
        """The instance that most checks share. Raises UnsupportedError if its data is not on this machine."""
        return self.make()

    def make(self) -> Dataset:
        """A new instance with its splits loaded. Raises UnsupportedError for a DataError, other errors as they are."""
        dataset: Dataset = self.cls(self.config)
        with self.left.watching("load"):
            try:
                splits = dataset.load()
            except DataError as error:
                raise UnsupportedError(f"the data is not available: {error}") from error
        dataset.load = lambda: splits  # type: ignore[method-assign]
        _ = dataset.splits  # raises DataError if they are not fit
        return dataset

    def check_load(self) -> str:
        """The dataset loads. Only trilemma.DataError says that data is missing; any other error is a failure."""
        try:
            splits = self.dataset.splits
        except DataError as error:
            raise FailureError(f"the splits are not fit for use: {error}") from error
        return f"{len(splits.train)} / {len(splits.valid)} / {len(splits.test)} points"

    @needs("load")
    def check_card(self) -> str:
        """The card is complete: title, source, license, sizes, checksum."""
        card = self.dataset.card()
        for key in ("title", "source", "license", "notes"):
            require(bool(str(getattr(card, key)).strip()), f"the card has no {key}")
        require(card.kind in ("vector", "image"), f"kind '{card.kind}' is neither vector nor image")
        require(len(card.sha256) == 64, "the checksum is not a sha256")
        require(card.kind == "vector" or len(card.shape) == 3, f"images of shape {card.shape}, not (channels, h, w)")
        return f"{card.n_train} / {card.n_valid} / {card.n_test} points of shape {card.shape}"

    @needs("load")
    def check_splits(self) -> str:
        """The splits are finite float32 points, or uint8 intensity levels below `levels`."""
        for name in ("train", "valid", "test"):
            part: Tensor = getattr(self.dataset.splits, name)
            wanted = torch.float32 if self.dataset.levels is None else torch.uint8
            require(part.dtype == wanted, f"split '{name}' is {part.dtype}, not {wanted}; convert it in load")
            if self.dataset.levels is not None:
                require(
                    int(part.max()) < self.dataset.levels,
                    f"split '{name}' has levels that are not below {self.dataset.levels}",
                )
        return "finite, with equal shapes"

    @needs("load")
    def check_deterministic(self) -> str:
        """Loading again gives the same points, and loading does not use the global random generators."""
        first = self.dataset.checksum
        with no_global_randomness("loading"):
            again = self.make()
        require(
            again.checksum == first,
            "two instances with the same config loaded different points; draw from a generator with a fixed seed",
        )
        return f"sha256 {first[:12]}"

    @needs("import-time", "load", "deterministic")
    def check_fresh_process(self) -> str:
        """A new process loads the same points."""
        here = self.dataset.checksum
        config = None if self.config is None else self.config.model_dump(mode="json")
        there = ask(f"{__name__}:checksum_there", self.cls, config=config).value
        require(
            there == here,
            "a new process loads other points; depend on no hash(), set order or time, and seed every generator",
        )
        return "the same points"

    @needs("load")
    def check_exchangeable(self) -> str:
        """The splits are draws of one distribution: two tests, which chance fails once in 2500 datasets at most."""
        splits, found = self.dataset.splits, []
        fix = (
            "shuffle the rows with a fixed seed before splitting them; if the split is a published one, say so in "
            "expected_failures"
        )
        train = thinned(splits.train, _COMPARED).double()
        for name in ("valid", "test"):
            part = thinned(getattr(splits, name), _COMPARED).double()
            difference = apart(part, train)
            require(
                difference.p >= _CHANCE,
                f"split '{name}' is distributed differently from the training split ({difference.where}: "
                f"Kolmogorov-Smirnov distance {difference.distance:.2f}); {fix}",
            )
            p = mixed_up(part, train)
            require(
                p > _CHANCE,
                f"split '{name}' is distributed differently from the training split, in all coordinates together "
                f"(energy distance, p = {p:.2g}); {fix}",
            )
            found.append(f"{name} {difference.distance:.3f}, p = {p:.2g}")
        return "largest distances: " + "; ".join(found)

    @needs("load")
    def check_disjoint(self) -> str:
        """Test and validation points are not training points, beyond the share that repeats in the training split."""
        splits = self.dataset.splits
        train = _rows(splits.train)
        repeated = 1 - len(set(train)) / len(train)
        known, found = set(train), []
        for name in ("valid", "test"):
            rows = _rows(getattr(splits, name))
            share = sum(row in known for row in rows) / len(rows)
            found.append(f"{name} {share:.2%}")
            require(
                share <= 2 * repeated + 2 / len(rows) if repeated else share == 0,
                f"{share:.1%} of the rows of split '{name}' are also in the training split, in which {repeated:.1%} "
                "repeat",
            )
        return ", ".join(found)

    @needs("load")
    def check_distribution(self) -> str:
        """Samples have the shape of the data, and depend on the given generator alone."""
        dataset = self._with_density()
        with no_global_randomness("sample"):
            x, again, other = (dataset.sample(50, torch.Generator().manual_seed(seed)) for seed in (1001, 1001, 1002))
        require(x.shape == (50, *dataset.shape), f"sample has shape {tuple(x.shape)}, expected {(50, *dataset.shape)}")
        require(x.dtype == torch.float32, f"sample is {x.dtype}, expected torch.float32")
        require(torch.equal(x, again), "sample differs between two generators of the same seed")
        require(not torch.equal(x, other), "sample is the same under generators of different seeds")
        known = set(_rows(dataset.splits.train))
        copies = sum(row in known for row in {*_rows(x), *_rows(other)})
        require(not copies, f"{copies} of 100 draws are training points; draw new points of the distribution")
        with no_global_randomness("log_prob"):
            values = dataset.log_prob(x.double())
        require(values.shape == (50,), f"log_prob has shape {tuple(values.shape)}, expected (50,)")
        require(values.dtype == torch.float64, f"log_prob is {values.dtype}, expected torch.float64")
        require(bool(torch.isfinite(values).all()), "log_prob is not finite at draws of the distribution")
        return "draws and log-densities"

    @needs("load", "distribution")
    def check_entropy(self) -> str:
        """The mean of -log_prob over fresh draws and over the test split is the entropy, within 4 standard errors."""
        dataset = self._with_density()
        entropy = dataset.entropy
        if entropy is None:
            raise UnsupportedError("the entropy is not known")
        found = []
        fresh = dataset.sample(_DRAWS, torch.Generator().manual_seed(2))
        for name, x in (("fresh draws", fresh), ("test split", dataset.splits.test)):
            values = -dataset.log_prob(x.double())
            error = float(values.std() / math.sqrt(len(values)))
            off = float(values.mean()) - entropy
            require(
                abs(off) <= 4 * error + (dataset.entropy_error or 0) + 1e-9,
                f"mean of -log_prob over the {name} is {off:+.4f} off the entropy {entropy:.4f}; one standard error is "
                f"{error:.4f}",
            )
            found.append(f"{name} {off:+.4f} ± {error:.4f}")
        return f"{entropy:.4f} nats; " + ", ".join(found)

    @needs("load", "distribution")
    def check_density(self) -> str:
        """In two dimensions, the density integrates to 1 and is that of `sample`."""
        dataset = self._with_density()
        if dataset.shape != (2,):
            raise UnsupportedError("the data is not in two dimensions; the entropy is checked in all")
        x = dataset.sample(_DRAWS, torch.Generator().manual_seed(5)).double()
        low, high = x.quantile(_TAIL, 0), x.quantile(1 - _TAIL, 0)
        margin = _MARGIN * (high - low)
        grid = Grid.of(lambda points: _in_parts(dataset, points), low - margin, high + margin, _PER_SIDE)
        outside = float(((x < low - margin) | (x > high + margin)).any(1).double().mean())
        corners = [", ".join(f"{float(axis[end]):.3g}" for axis in grid.axes) for end in (0, -1)]
        require(not len(grid.wild), f"{grid.where_wild}; give -inf where the density is 0")
        require(
            abs(grid.mass + outside - 1) <= _TOLERANCE + SURE * math.sqrt(outside / _DRAWS),
            f"the density integrates to {grid.mass:.4f} over the box from ({corners[0]}) to ({corners[1]}), where "
            f"{1 - outside:.2%} of the samples are; check its normalization",
        )
        wrong = grid.disagreement(x, dataset.log_prob(x))
        require(not wrong, f"{wrong}. sample and log_prob are of different distributions")
        return f"mass {grid.mass:.4f}; {_DRAWS} samples agree with log_prob"

    @needs("load", "distribution")
    def check_modes(self) -> str:
        """The Gaussian mixture of the modes has the same density as the distribution."""
        dataset = self._with_density()
        modes = dataset.modes()
        if modes is None:
            raise UnsupportedError("the distribution has no modes")
        require(abs(float(modes.weights.sum()) - 1) < 1e-6, f"the weights sum to {float(modes.weights.sum())}")
        x = dataset.sample(200, torch.Generator().manual_seed(3)).double().flatten(1)
        factors = torch.linalg.cholesky(modes.covariances.double())
        logs = []
        for weight, center, factor in zip(modes.weights.double(), modes.centers.double(), factors, strict=True):
            z = torch.linalg.solve_triangular(factor, (x - center).T, upper=False)
            log_scale = factor.diagonal().log().sum() + x.shape[1] / 2 * math.log(2 * math.pi)
            logs.append(weight.log() - log_scale - 0.5 * z.square().sum(0))
        mixture = torch.stack(logs).logsumexp(0)
        off = float((mixture - dataset.log_prob(x.reshape(-1, *dataset.shape))).abs().max())
        require(off < 1e-4, f"log_prob differs by {off:.2g} nats from the mixture of the modes")
        return f"{len(modes.weights)} modes"

    @needs("load")
    def check_global_state(self) -> str:
        """Loading leaves the global state of the process as it was."""
        self.make()
        require(not self.left.changes, f"{'; '.join(self.left.changes)}; set it back before it returns")
        return "unchanged"

    def _with_density(self) -> Dataset:
        if not self.dataset.has_density:
            raise UnsupportedError("the true distribution is not known")
        return self.dataset


def checksum_there(cls: type[Dataset], given: dict[str, Tensor], config: dict[str, Any] | None) -> Answer:
    """Asked in a new process: the checksum of the dataset there."""
    return Answer(cls(None if config is None else cls.Config.model_validate(config)).checksum, {})


def _in_parts(dataset: Dataset, points: Tensor) -> Tensor:
    return torch.cat([dataset.log_prob(part) for part in torch.split(points, 20_000)])


def _rows(points: Tensor) -> list[bytes]:
    flat = points.flatten(1).contiguous().numpy()
    return [row.tobytes() for row in flat]
