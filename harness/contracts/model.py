"""The contract of a model: what a plugin author writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from ..errors import UnsupportedError
from . import config as records
from .budget import Clock
from .recipe import Recipe

LikelihoodKind = Literal["exact", "ode", "bound", "estimate", "none"]
"""The kinds of likelihood. They are never ranked against each other.

`exact`: the density itself. `ode`: by integrating a probability-flow ODE. `bound`: a variational bound.
`estimate`: by a method that is only consistent. `none`: the model has no likelihood.
"""


LIKELIHOOD_KINDS: dict[str, str] = {"exact": "exact", "ode": "ODE", "bound": "bound", "estimate": "estimate"}
"""The kinds of likelihood that give a number, in the order of tables, and how they are written."""


class Sampler(records.Config):
    """A way to draw from one trained model. Subclass it, set `name`, and add the sampler's options as fields."""

    name: ClassVar[str]
    title: ClassVar[str] = ""
    """How people call it; default: its name."""


class Direct(Sampler):
    """The only way to draw from models without a choice of sampler."""

    name = "direct"


@dataclass(frozen=True)
class DataInfo:
    """What a model may know of its data before it sees any.

    `shape` is the shape of one point in model space: `(d,)`, or `(channels, height, width)` for images that the model
    accepts as images. `levels` is the number of intensity levels of an image dataset (None for continuous data), which
    in model space are as many parts of the interval `support`, equal ones where the space is affine.
    """

    name: str
    kind: Literal["vector", "image"]
    shape: tuple[int, ...]
    n_train: int
    levels: int | None = None
    support: tuple[float, float] | None = None

    @property
    def dim(self) -> int:
        """Number of coordinates of one point."""
        return int(torch.Size(self.shape).numel())


@dataclass(frozen=True)
class Split:
    """Points in model space: `x` has shape `(n, *info.shape)`, float32.

    `redraw` is there for training points of quantized data: given indices `(k,)` and a CPU generator, those points
    dequantized anew. The training loop draws its batches by it, since the noise that fills a level is no property of
    the data to be learnt (Theis et al. 2016).
    """

    x: Tensor
    redraw: Callable[[Tensor, torch.Generator], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.x)


def no_progress(fraction: float, message: str) -> None:
    """Report to nobody."""


class Truth(Protocol):
    """The distribution behind a dataset, in model space. Handed only to models that declare `needs_truth`."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw `n` fresh points; from real data, held-out (validation) points in random order."""
        ...

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density in nats, shape `(n,)`. Raises UnsupportedError where the distribution has no known density."""
        ...


@dataclass
class Context:
    """What the harness hands to every call of a model.

    `generator` is the only source of randomness a model may use. `sampler` holds the options of the sampler setting
    that is being drawn from, `likelihood` those of the likelihood. `valid` (the validation split) and `clock` (iterate
    over it to spend the budget) are there during `fit` only. What a model writes to `details` (JSON values) is stored
    with the result, and what it writes to `curves` (lists of numbers) with the trained cell.
    """

    info: DataInfo
    device: torch.device
    generator: torch.Generator
    sampler: Sampler = field(default_factory=Direct)
    likelihood: records.Config = field(default_factory=records.Config)
    recipe: Recipe = field(default_factory=Recipe)
    valid: Split | None = None
    clock: Clock | None = None
    truth: Truth | None = None
    details: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    progress: Callable[[float, str], None] = no_progress


class Model(ABC):
    """A generative model. A whole plugin is a subclass with `name`, `fit` and `sample`.

    All points are in model space: vectors are standardized, images dequantized and scaled; the harness carries
    samples and log-densities back to data space.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    """How people call it; default: its name."""
    family: ClassVar[str] = ""
    """What it is one of, such as `diffusion` or `flow`; reports group and color models by it."""
    likelihood: ClassVar[LikelihoodKind] = "none"
    """The kind of number that `log_prob` returns."""
    accepts: ClassVar[tuple[str, ...]] = ("vector",)
    """`("vector",)`: images arrive flattened. `("vector", "image")`: images keep their shape."""
    image_space: ClassVar[Literal["affine", "logit"]] = "affine"
    """How image intensities in (0, 1) are spread over the reals before the model sees them."""
    control: ClassVar[bool] = False
    """True for models that mark the scale and are not contenders."""
    pictured: ClassVar[bool] = True
    """Whether reports show its samples."""
    needs_truth: bool = False
    """True for controls that need the distribution behind the data (`ctx.truth`); an instance may set it where one of
    its options asks for the distribution, such as an objective that trains against a known density.
    """
    samplers: ClassVar[tuple[type[Sampler], ...]] = (Direct,)
    """The ways to draw from the trained model; `ctx.sampler` is an instance of one of them."""
    always_samplers: ClassVar[tuple[Sampler, ...]] = ()
    """Sampler settings that every suite evaluates beside those it lists: what the others must be read against."""

    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Checks of `trilemma check` that it fails by design: name of the check -> why."""

    class Config(records.Config):
        """Options that change the trained model."""

    class Likelihood(records.Config):
        """Options of the likelihood that need no retraining (solver, steps, ...)."""

    def __init__(self, config: records.Config | None = None) -> None:
        self.config: Any = self.Config() if config is None else config

    def prepare(self, info: DataInfo) -> None:
        """Make whatever `load_state` needs to be there (called before `load_state`, and by neural models in `fit`)."""
        return None

    @abstractmethod
    def fit(self, train: Split, ctx: Context) -> None:
        """Learn from the training split. Test data is never handed to a model."""

    @abstractmethod
    def sample(self, n: int, ctx: Context) -> Tensor:
        """Draw `n` points, shape `(n, *ctx.info.shape)`, by the sampler setting `ctx.sampler`."""

    def log_prob(self, x: Tensor, ctx: Context) -> Tensor:
        """Log-density of each row of `x` in nats, shape `(n,)`, of the kind that `likelihood` says."""
        raise UnsupportedError(f"model '{self.name}' has no likelihood")

    def score(self, x: Tensor, sigma: Tensor, ctx: Context) -> Tensor:
        """The learned score at a noise level: grad_x log p_sigma(x), of the shape of `x`, `(n, *ctx.info.shape)`.

        p_sigma is the distribution of x_0 + sigma z, z ~ N(0, I), with x_0 a point of model space (variance-exploding
        coordinates, whatever the model's own diffusion); `sigma` has shape `()`.
        """
        raise UnsupportedError(f"model '{self.name}' has no score")

    def networks(self) -> Iterable[nn.Module]:
        """The networks whose evaluations the harness counts as NFE (the most that any of them makes per sample)."""
        return ()

    def state(self) -> dict[str, Tensor] | None:
        """The trained state as tensors, for the checkpoint; None: a new evaluation fits the model again, same seed."""
        return None

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        raise NotImplementedError(f"model '{self.name}' returns a state but cannot load it")
