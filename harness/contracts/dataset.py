"""The contract of a dataset, its card, and the base class of distributions with a known density."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ..errors import DataError, UnsupportedError
from . import config as records
from .degeneracy import Degeneracy, degeneracy


class Card(records.Config):
    """The card of a dataset: what identifies it, and what a reader must know about it."""

    name: str
    title: str
    kind: Literal["vector", "image"]
    shape: tuple[int, ...]
    n_train: int
    n_valid: int
    n_test: int
    source: str
    license: str
    citation: str = ""
    parameters: dict[str, Any] = {}
    levels: int | None = None
    logit_alpha: float | None = None
    entropy: float | None = None
    entropy_error: float | None = None
    notes: str = ""
    degeneracy: Degeneracy | None = None
    coordinates: tuple[str, ...] = ()
    standardized: bool = False
    remarks: tuple[str, ...] = ()
    sha256: str


@dataclass(frozen=True)
class Splits:
    """Training, validation and test points in data space, `(n, *shape)`: float32, or uint8 intensity levels."""

    train: Tensor
    valid: Tensor
    test: Tensor


def content_hash(splits: Splits) -> str:
    """sha256 of the content of all splits (raw little-endian bytes, in the order train, valid, test)."""
    digest = hashlib.sha256()
    for part in (splits.train, splits.valid, splits.test):
        digest.update(str((tuple(part.shape), str(part.dtype))).encode())
        digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Modes:
    """The components of a mixture distribution in data space.

    Shapes: `centers` (k, d), `weights` (k,), `covariances` (k, d, d).
    """

    centers: Tensor
    weights: Tensor
    covariances: Tensor


class Dataset(ABC):
    """Base class of datasets: splits in data space, a card, and the true distribution if it is known."""

    name: ClassVar[str]
    kind: ClassVar[Literal["vector", "image"]] = "vector"
    levels: ClassVar[int | None] = None
    """Number of intensity levels of an image dataset, whose points are integers from 0 to levels - 1."""
    logit_alpha: ClassVar[float] = 1e-3
    """The alpha of the logit of image intensities, for models that use a logit (Dinh et al. 2017, section 4.1)."""
    standardized: ClassVar[bool] = False
    """Whether metrics see each coordinate in units of its standard deviation in the training split, for vectors whose
    coordinates have units of their own. It has no effect if the density is known. Samples and likelihoods stay in the
    units of the data."""
    title: ClassVar[str] = ""
    source: ClassVar[str] = ""
    license: ClassVar[str] = ""
    citation: ClassVar[str] = ""

    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Checks of `trilemma check` that the dataset fails by design, as a map from the check to the reason."""

    class Config(records.Config):
        """Options that change the data."""

    def __init__(self, config: records.Config | None = None) -> None:
        self.config: Any = self.Config() if config is None else config

    @abstractmethod
    def load(self) -> Splits:
        """Load the splits in data space. The same config must give the same tensors each time."""

    def stamp(self) -> str:
        """A text that changes when the files of the dataset may have changed, so that a run loads it again.

        It must be cheap and must not raise. Datasets whose content depends only on their config keep the default.
        """
        return ""

    def coordinates(self) -> tuple[str, ...]:
        """The names of the coordinates, such as those of the columns of a table; empty if they have none."""
        return ()

    def remarks(self) -> tuple[str, ...]:
        """What a user must know about how the data was read, such as what was left out. A run prints it."""
        return ()

    @cached_property
    def splits(self) -> Splits:
        """The splits, loaded once. Raises DataError if they are not finite, differ in shape or have too few rows."""
        splits = self.load()
        shapes = {tuple(part.shape[1:]) for part in (splits.train, splits.valid, splits.test)}
        if len(shapes) != 1:
            raise DataError(f"dataset '{self.name}': the points of its splits differ in shape: {sorted(shapes)}")
        for label, part in (("train", splits.train), ("valid", splits.valid), ("test", splits.test)):
            if len(part) < 2:
                raise DataError(f"dataset '{self.name}': split '{label}' has {len(part)} rows; at least 2 are needed")
            if not torch.isfinite(part).all():
                rows = (~torch.isfinite(part.flatten(1)).all(1)).nonzero()[:3, 0].tolist()
                raise DataError(
                    f"dataset '{self.name}': split '{label}' has NaN or infinite values, first in rows {rows}"
                )
        return splits

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return tuple(self.splits.train.shape[1:])

    @cached_property
    def checksum(self) -> str:
        """sha256 of the content of all splits (raw little-endian bytes, in the order train, valid, test)."""
        return content_hash(self.splits)

    @property
    def entropy(self) -> float | None:
        """Differential entropy of the true distribution in nats, which no NLL can be below; None if unknown."""
        return None

    @property
    def entropy_error(self) -> float | None:
        """The largest error of `entropy` (0 for a closed form)."""
        return None

    @property
    def has_density(self) -> bool:
        """Whether the true distribution is known, so that `sample` and `log_prob` work."""
        return False

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw `n` independent points from the true distribution, shape `(n, *shape)`, float32."""
        raise UnsupportedError(f"dataset '{self.name}' has no known distribution to draw from")

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density of the true distribution in nats at points `(n, *shape)`, shape `(n,)`, computed in float64."""
        raise UnsupportedError(f"dataset '{self.name}' has no known density")

    def modes(self) -> Modes | None:
        """The components of the true distribution if it is a mixture, else None."""
        return None

    def card(self) -> Card:
        """The card of the dataset."""
        splits = self.splits
        return Card(
            name=self.name,
            title=self.title,
            kind=self.kind,
            shape=self.shape,
            n_train=len(splits.train),
            n_valid=len(splits.valid),
            n_test=len(splits.test),
            source=self.source,
            license=self.license,
            citation=self.citation,
            parameters=self.config.model_dump(mode="json"),
            levels=self.levels,
            logit_alpha=self.logit_alpha,
            entropy=self.entropy,
            entropy_error=self.entropy_error,
            notes=(type(self).__doc__ or "").strip(),
            degeneracy=degeneracy(splits.train, self.levels),
            coordinates=self.coordinates(),
            standardized=self.standardized and not self.has_density,
            remarks=self.remarks(),
            sha256=self.checksum,
        )


class DistributionConfig(records.Config):
    """Sizes of the splits that are drawn from a distribution."""

    n_train: int = Field(50_000, ge=2, description="training points")
    n_valid: int = Field(5_000, ge=2, description="validation points")
    n_test: int = Field(10_000, ge=2, description="test points")
    data_seed: int = Field(0, ge=0, description="seed of the draw of the splits")


class Distribution(Dataset):
    """Base class of datasets drawn from a distribution with a known density.

    A subclass gives `sample`, `log_prob` and, if it is known, `entropy`.
    """

    source = "drawn from the distribution"
    license = "CC0-1.0"

    class Config(DistributionConfig):
        """Sizes of the splits."""

    @property
    def has_density(self) -> bool:
        return True

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Tensor: ...

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor: ...

    def load(self) -> Splits:
        """Draw the three splits independently, each with its own seed."""
        sizes = (self.config.n_train, self.config.n_valid, self.config.n_test)
        parts = [
            self.sample(n, torch.Generator().manual_seed(1_000_003 * self.config.data_seed + index))
            for index, n in enumerate(sizes)
        ]
        return Splits(*parts)
