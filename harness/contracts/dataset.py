"""The contract of a dataset, its card, and the base of distributions with a known density."""

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
    """What identifies a dataset and what a reader must know of it."""

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
    entropy: float | None = None
    entropy_error: float | None = None
    notes: str = ""
    degeneracy: Degeneracy | None = None
    sha256: str


@dataclass(frozen=True)
class Splits:
    """Training, validation and test points in data space, shape `(n, *shape)`: float32, or uint8 levels for images."""

    train: Tensor
    valid: Tensor
    test: Tensor


@dataclass(frozen=True)
class Modes:
    """The components of a mixture distribution, in data space: `centers` (k, d), `weights` (k,), `covariances` (k, d,
    d).
    """

    centers: Tensor
    weights: Tensor
    covariances: Tensor


class Dataset(ABC):
    """A dataset: data-space splits, a card, and where it is known the distribution behind them."""

    name: ClassVar[str]
    kind: ClassVar[Literal["vector", "image"]] = "vector"
    levels: ClassVar[int | None] = None
    """Number of intensity levels of an image dataset whose points are integers 0 .. levels - 1."""
    logit_alpha: ClassVar[float] = 1e-3
    """Squeeze of image intensities before the logit, for models that want one (Dinh et al. 2017, section 4.1)."""
    title: ClassVar[str] = ""
    source: ClassVar[str] = ""
    license: ClassVar[str] = ""
    citation: ClassVar[str] = ""

    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Checks of `trilemma check` that it fails by design: name of the check -> why."""

    class Config(records.Config):
        """Options that change the data."""

    def __init__(self, config: records.Config | None = None) -> None:
        self.config: Any = self.Config() if config is None else config

    @abstractmethod
    def load(self) -> Splits:
        """The splits in data space; the same tensors each time for the same config."""

    def stamp(self) -> str:
        """Text that changes when the files behind the dataset may have changed; a run then loads it anew.

        Must be cheap and must not raise. Datasets whose content is fixed by their config keep the default.
        """
        return ""

    @cached_property
    def splits(self) -> Splits:
        """The splits, loaded once and checked: finite, equally shaped, not empty."""
        splits = self.load()
        shapes = {tuple(part.shape[1:]) for part in (splits.train, splits.valid, splits.test)}
        if len(shapes) != 1:
            raise DataError(f"dataset '{self.name}': its splits differ in shape: {sorted(shapes)}")
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
        digest = hashlib.sha256()
        for part in (self.splits.train, self.splits.valid, self.splits.test):
            digest.update(str((tuple(part.shape), str(part.dtype))).encode())
            digest.update(part.contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def entropy(self) -> float | None:
        """Differential entropy of the true distribution in nats, the least NLL possible; None where unknown."""
        return None

    @property
    def entropy_error(self) -> float | None:
        """How far `entropy` may be off (0 for a closed form)."""
        return None

    @property
    def has_density(self) -> bool:
        """Whether `sample` and `log_prob` of the distribution behind the data are there."""
        return False

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` independent draws of the distribution, shape `(n, *shape)`, float32."""
        raise UnsupportedError(f"dataset '{self.name}' has no known distribution to draw from")

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density of the distribution in nats, shape `(n,)`, computed in float64."""
        raise UnsupportedError(f"dataset '{self.name}' has no known density")

    def modes(self) -> Modes | None:
        """The components where the distribution is a mixture."""
        return None

    def card(self) -> Card:
        """The dataset's card."""
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
            entropy=self.entropy,
            entropy_error=self.entropy_error,
            notes=(type(self).__doc__ or "").strip(),
            degeneracy=degeneracy(splits.train, self.levels),
            sha256=self.checksum,
        )


class DistributionConfig(records.Config):
    """Sizes of the splits that are drawn from a distribution."""

    n_train: int = Field(50_000, ge=2, description="training points")
    n_valid: int = Field(5_000, ge=2, description="validation points")
    n_test: int = Field(10_000, ge=2, description="test points")
    data_seed: int = Field(0, ge=0, description="seed of the draw of the splits")


class Distribution(Dataset):
    """A dataset drawn from a distribution with a known density: give `sample`, `log_prob` and `entropy`."""

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
        """Three independent draws, each under a seed of its own."""
        sizes = (self.config.n_train, self.config.n_valid, self.config.n_test)
        parts = [
            self.sample(n, torch.Generator().manual_seed(1_000_003 * self.config.data_seed + index))
            for index, n in enumerate(sizes)
        ]
        return Splits(*parts)
