"""The contract of a model, with samplers and the context of its calls."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from ..errors import UnsupportedError
from . import config as records
from .budget import Clock
from .checkpoints import Checkpoints
from .recipe import Recipe
from .result import LikelihoodKind

if TYPE_CHECKING:
    from .dataset import Modes


class Sampler(records.Config):
    """Base class of samplers. A subclass sets `name` and has the options of the sampler as fields."""

    name: ClassVar[str]
    title: ClassVar[str] = ""
    """The title in tables and figures; by default the name."""
    shows_chain: ClassVar[bool] = False
    """True for samplers that move points step by step and show them with `ctx.show`."""


class Direct(Sampler):
    """The sampler of models that have only one way to draw samples. It has no options."""

    name = "direct"


def unchanged(x: Tensor) -> Tensor:
    """The same points: data space is model space."""
    return x


@dataclass(frozen=True)
class DataInfo:
    """The description of the data that a model gets before it sees any points.

    `shape` is the shape of one point in model space: `(d,)`, or `(channels, height, width)` for images that the model
    accepts as images. `levels` is the number of intensity levels of an image dataset, and None for continuous data. In
    model space each intensity level is a part of the interval `support`; the parts are equal if `image_space` is
    affine. `to_model` maps continuous points in data units to model space, for options that are given in data units.
    """

    name: str
    kind: Literal["vector", "image"]
    shape: tuple[int, ...]
    n_train: int
    levels: int | None = None
    support: tuple[float, float] | None = None
    to_model: Callable[[Tensor], Tensor] = field(default=unchanged, compare=False, repr=False)

    @property
    def dim(self) -> int:
        """Number of coordinates of one point."""
        return int(torch.Size(self.shape).numel())


@dataclass(frozen=True)
class Split:
    """A split in model space: points `x` of shape `(n, *info.shape)`, float32.

    For training points of image data, `redraw` returns the points of indices `(k,)` with fresh dequantization noise
    from a CPU generator. The training loop uses it for each batch, because a model must not learn the noise
    (Theis et al. 2016). For other points it is None.
    """

    x: Tensor
    redraw: Callable[[Tensor, torch.Generator], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.x)


def no_progress(fraction: float, message: str) -> None:
    """Ignore a report of progress."""


Show = Callable[[int, Tensor], None]
"""A function that is shown a number of steps and the points `(n, *shape)` after them."""


def shown_to_nobody(steps: int, x: Tensor) -> None:
    """Ignore the points of a chain."""


class Truth(Protocol):
    """The true distribution of a dataset in model space. Only models with `needs_truth` get it."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw `n` fresh points. For real data they are validation points in random order."""
        ...

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density in nats, shape `(n,)`. Raises UnsupportedError if the density is not known."""
        ...

    def modes(self) -> Modes | None:
        """The components, if the distribution is a mixture of Gaussians, in float64; None if it is not."""
        ...


@dataclass
class Context:
    """The context that the harness gives to every call of a model.

    - `generator` is the only source of randomness that a model may use.
    - `sampler` is the sampler setting to draw with, and `likelihood` holds the options of the likelihood.
    - `valid` (the validation split) and `clock` (iterate over it to spend the budget) are set during `fit` only.
    - `checkpoints` stores the state of a training by the loop of the harness, so that it can go on after an
      interruption.
    - `truth` is the true distribution, for models with `needs_truth`.
    - A sampler that moves points step by step calls `show` with the number of steps so far and the points
      `(n, *info.shape)`, from step 0 on. Metrics see them by `Evaluation.chain`; otherwise it does nothing.
    - A model may write JSON values to `details`, which are stored with the result, and lists of numbers to `curves`,
      which are stored with the trained cell.
    """

    info: DataInfo
    device: torch.device
    generator: torch.Generator
    sampler: Sampler = field(default_factory=Direct)
    likelihood: records.Config = field(default_factory=records.Config)
    recipe: Recipe = field(default_factory=Recipe)
    valid: Split | None = None
    clock: Clock | None = None
    checkpoints: Checkpoints | None = None
    truth: Truth | None = None
    details: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    progress: Callable[[float, str], None] = no_progress
    show: Show = shown_to_nobody


class Model(ABC):
    """Base class of generative models. A subclass with `name`, `fit` and `sample` is a complete plugin.

    All points are in model space: vectors are standardized, and images are dequantized, scaled and standardized. The
    harness carries samples and log-densities back to data space.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    """The title in tables and figures; by default the name."""
    family: ClassVar[str] = ""
    """The family of the model, such as `diffusion` or `flow`. Reports group and color models by family."""
    likelihood: ClassVar[LikelihoodKind] = "none"
    """The kind of number that `log_prob` returns with the default options of the likelihood."""
    accepts: ClassVar[tuple[str, ...]] = ("vector",)
    """`("vector",)`: images arrive flattened. `("vector", "image")`: images keep their shape."""
    image_space: ClassVar[Literal["affine", "logit"]] = "affine"
    """The map from image intensities in (0, 1) to model space."""
    control: ClassVar[bool] = False
    """True for models that mark the scale of the results and are not ranked."""
    pictured: ClassVar[bool] = True
    """Whether reports show its samples."""
    needs_truth: bool = False
    """True for models that need the true distribution (`ctx.truth`). An instance may set it if one of its options needs
    the distribution, such as an objective that trains against a known density.
    """
    samplers: ClassVar[tuple[type[Sampler], ...]] = (Direct,)
    """The samplers of the model. `ctx.sampler` is an instance of one of them."""
    always_samplers: ClassVar[tuple[Sampler, ...]] = ()
    """Sampler settings that every suite evaluates besides those that it lists, to compare the others with."""

    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Checks of `trilemma check` that the model fails by design, as a map from the check to the reason."""

    class Config(records.Config):
        """Options that change the trained model."""

    class Likelihood(records.Config):
        """Options of the likelihood, such as the solver and its steps. They need no retraining."""

    def __init__(self, config: records.Config | None = None) -> None:
        self.config: Any = self.Config() if config is None else config

    def prepare(self, info: DataInfo) -> None:
        """Create what `load_state` needs. It is called before `load_state`, and by neural models in `fit`."""
        return None

    @abstractmethod
    def fit(self, train: Split, ctx: Context) -> None:
        """Learn from the training split. A model never gets test data."""

    @abstractmethod
    def sample(self, n: int, ctx: Context) -> Tensor:
        """Draw `n` points with the sampler setting `ctx.sampler`, shape `(n, *ctx.info.shape)`."""

    def log_prob(self, x: Tensor, ctx: Context) -> Tensor:
        """Log-density of each row of `x` in nats, shape `(n,)`, of the kind `likelihood`."""
        raise UnsupportedError(f"model '{self.name}' has no likelihood")

    def likelihood_kind(self, options: records.Config) -> LikelihoodKind:
        """The kind of number that `log_prob` returns with these options of the likelihood.

        A model whose options choose among methods of different kinds overrides it.
        """
        return self.likelihood

    def score(self, x: Tensor, sigma: Tensor, ctx: Context) -> Tensor:
        """The learned score grad_x log p_sigma(x) at the noise level `sigma`, of the shape of `x`.

        p_sigma is the distribution of x_0 + sigma z, where x_0 is a data point in model space and z ~ N(0, I). It is
        the same for every diffusion. `x` has shape `(n, *ctx.info.shape)`, and `sigma` has shape `()` and is one of the
        `score_levels`, up to the rounding of single precision. A model that knows its score at one level raises
        UnsupportedError for others.
        """
        raise UnsupportedError(f"model '{self.name}' has no score")

    def score_levels(self) -> tuple[float, float]:
        """The lowest and the largest noise level at which `score` is known, in model space; by default all are.

        If it is known at one level, both are that level. Metrics ask for the score between these levels alone. Raises
        UnsupportedError if the model has no score.
        """
        return 0.0, math.inf

    def degrade(self, x: Tensor, ctx: Context) -> Tensor:
        """The points `x` as the model degrades them, with as little of them left as its samples start from."""
        raise UnsupportedError(f"model '{self.name}' degrades no points")

    def restore(self, degraded: Tensor, ctx: Context) -> Tensor:
        """The points that the sampler `ctx.sampler` makes of the points that `degrade` returned, of their shape."""
        raise UnsupportedError(f"model '{self.name}' restores no points")

    def networks(self) -> Iterable[nn.Module]:
        """The networks whose evaluations are counted as NFE, which is the largest count of any of them per sample."""
        return ()

    def state(self) -> dict[str, Tensor] | None:
        """The trained state as tensors, for the checkpoint.

        With None, the harness trains the model again with the same seed for each new evaluation.
        """
        return None

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore the tensors that `state` returned."""
        raise NotImplementedError(f"model '{self.name}' returns a state but cannot load it")


def known_levels(model: Model) -> tuple[float, float]:
    """What `score_levels` of a model says. Raises ValueError if it is no range of noise levels."""
    low, high = map(float, model.score_levels())
    if not 0 <= low <= high:
        raise ValueError(
            f"score_levels of model '{model.name}' returns ({low:g}, {high:g}): return the lowest noise level, at "
            "least 0, and the largest"
        )
    return low, high
