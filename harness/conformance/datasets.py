"""The checks of a dataset."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from ..contracts.dataset import Dataset
from ..errors import DataError, UnsupportedError
from .kit import Kit, no_global_randomness, require

_DRAWS = 4000


class DatasetKit(Kit):
    """The checks of `trilemma check DATASET`."""

    def make(self) -> Dataset:
        """A new instance. Raises UnsupportedError if the data is not on this machine."""
        try:
            dataset: Dataset = self.cls(self.config)
            _ = dataset.splits
        except (DataError, ValueError) as error:  # a missing path or download
            if "finite" in str(error) or "differ" in str(error) or "at least 2" in str(error):
                raise
            raise UnsupportedError(f"the data is not available: {error}") from error
        return dataset

    @cached_property
    def dataset(self) -> Dataset:
        """The instance that most checks share."""
        return self.make()

    def check_card(self) -> str:
        """The card is complete: title, source, license, sizes, checksum."""
        card = self.dataset.card()
        for key in ("title", "source", "license", "notes"):
            require(bool(str(getattr(card, key)).strip()), f"the card has no {key}")
        require(card.kind in ("vector", "image"), f"kind '{card.kind}' is neither vector nor image")
        require(len(card.sha256) == 64, "the checksum is not a sha256")
        require(card.kind == "vector" or len(card.shape) == 3, f"images of shape {card.shape}, not (channels, h, w)")
        return f"{card.n_train} / {card.n_valid} / {card.n_test} points of shape {card.shape}"

    def check_splits(self) -> str:
        """The splits are finite float32 points, or uint8 intensity levels below `levels`."""
        for name in ("train", "valid", "test"):
            part: Tensor = getattr(self.dataset.splits, name)
            wanted = torch.float32 if self.dataset.levels is None else torch.uint8
            require(part.dtype == wanted, f"split '{name}' is {part.dtype}, expected {wanted}")
            if self.dataset.levels is not None:
                require(
                    int(part.max()) < self.dataset.levels,
                    f"split '{name}' has levels that are not below {self.dataset.levels}",
                )
        return "finite, with equal shapes"

    def check_deterministic(self) -> str:
        """Loading again gives the same points, and loading does not use the global random generators."""
        first = self.dataset.checksum
        with no_global_randomness("loading"):
            again = self.make()
        require(again.checksum == first, "two instances with the same config loaded different points")
        return f"sha256 {first[:12]}"

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

    def check_distribution(self) -> str:
        """Samples have the shape of the data, and depend on the given generator alone."""
        dataset = self._with_density()
        with no_global_randomness("sample"):
            x, again, other = (dataset.sample(50, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
        require(x.shape == (50, *dataset.shape), f"sample has shape {tuple(x.shape)}, expected {(50, *dataset.shape)}")
        require(x.dtype == torch.float32, f"sample is {x.dtype}, expected torch.float32")
        require(torch.equal(x, again), "sample differs between two generators of the same seed")
        require(not torch.equal(x, other), "sample is the same under generators of different seeds")
        with no_global_randomness("log_prob"):
            values = dataset.log_prob(x.double())
        require(values.shape == (50,), f"log_prob has shape {tuple(values.shape)}, expected (50,)")
        require(values.dtype == torch.float64, f"log_prob is {values.dtype}, expected torch.float64")
        require(bool(torch.isfinite(values).all()), "log_prob is not finite at draws of the distribution")
        return "draws and log-densities"

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

    def _with_density(self) -> Dataset:
        if not self.dataset.has_density:
            raise UnsupportedError("the true distribution is not known")
        return self.dataset


def _rows(points: Tensor) -> list[bytes]:
    flat = points.flatten(1).contiguous().numpy()
    return [row.tobytes() for row in flat]
