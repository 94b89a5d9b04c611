"""The view of a trained model and its dataset that metrics get."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..contracts.budget import Budget
from ..contracts.config import Config
from ..contracts.dataset import Dataset
from ..contracts.model import Context, DataInfo, Direct, Model, Sampler, Show, Truth, no_progress, shown_to_nobody
from ..errors import DivergedError, UnsupportedError
from .chain import Chain
from .costs import Costs
from .densities import Array, Densities, SplitName, read_only
from .spaces import Space
from .truth import seeded


@dataclass(frozen=True)
class TrainingRecord:
    """The cost of a training: seconds by the clock of the budget, wall seconds, steps, peak bytes and parameters.

    `charged` are the seconds that count against a budget in seconds: those of the first training, if this one repeats
    its steps.
    """

    seconds: float
    wall_seconds: float
    steps: int | None
    peak_memory: int
    parameters: int | None
    batch_size: int | None = None
    charged: float | None = None


class Evaluation(Costs, Densities):
    """A trained model and its dataset, as a metric sees them.

    Arrays are float64 `(n, d)`: vectors in their own units, or in standard deviations for a dataset that asks for it
    (`Dataset.standardized`), and image levels scaled to [0, 1]. They are read-only, and
    tensors are copies, so that no metric changes what others see. Samples are cached, so that all metrics of one
    sampler setting use the same samples.
    """

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        space: Space,
        info: DataInfo,
        *,
        seed: int,
        device: torch.device,
        training: TrainingRecord,
        sampler: Sampler | None = None,
        likelihood: Config | None = None,
        truth: Truth | None = None,
        budget: Budget | None = None,
        progress: Callable[[float, str], None] = no_progress,
    ) -> None:
        self.model, self.dataset, self.info = model, dataset, info
        self.sampler = sampler or Direct()
        self.training = training
        self.budget = budget
        """The training budget; None if it is not known."""
        self.seed = seed
        self.device = device
        self.likelihood_details: dict[str, Any] = {}
        """The details that the model gave with its likelihood, such as solver, tolerances and divergence estimator."""
        self.sampling_details: dict[str, Any] = {}
        """The details that the model gave with its latest samples, such as the NFE of an adaptive solver."""
        self._space = space
        self._likelihood = likelihood or model.Likelihood()
        self._truth = truth
        self._progress = progress
        self._draws: dict[int, Tensor] = {}
        self._log_probs: dict[str, Array] = {}

    # Real data

    @property
    def dim(self) -> int:
        """Number of coordinates of one point."""
        return self.info.dim

    @property
    def log_unit(self) -> float:
        """The log of the volume in data space of a unit of volume as metrics see it: 0 unless points are standardized.

        An NLL of vectors as metrics see them, plus this, is one of data space.
        """
        return self._space.log_unit

    def real(self, n: int, draw: int = 0) -> Array:
        """A set of `n` real points.

        Draw 0, the reference, is the first part of the test split. The other draws are independent of it and of each
        other: fresh draws of any size from the true distribution, or disjoint parts of the validation split. Raises
        UnsupportedError if there is not enough data; `real_draws` gives the number of draws.
        """
        fresh = draw > 0 and self.dataset.has_density
        if not fresh and draw > self.real_draws(n):
            raise UnsupportedError(
                f"'{self.dataset.name}' has too few held-out points for draw {draw} of {n} points: use a smaller n"
            )
        if draw == 0:
            points = self.dataset.splits.test[:n]
        elif fresh:
            points = self.dataset.sample(n, seeded(torch.device("cpu"), 7, draw))
        else:
            points = self.dataset.splits.valid[(draw - 1) * n : draw * n]
        return self._given(points)

    def points(self, split: SplitName) -> Array:
        """All points of a split, for metrics that look for copies."""
        return self._given(getattr(self.dataset.splits, split))

    def train_points(self) -> Array:
        """All training points, for metrics that look for memorization."""
        return self.points("train")

    @property
    def independent_draws(self) -> bool:
        """Whether draws of the model are independent of each other.

        They are not for a control on real data that draws from the validation split, because its points repeat.
        """
        return self.dataset.has_density or not self.model.needs_truth

    def real_draws(self, n: int) -> int:
        """The number of draws of `n` real points besides the reference; -1 if the test split is too small."""
        if n > self.size("test"):
            return -1
        return 10**6 if self.dataset.has_density else self.size("valid") // n

    # Samples

    def generate(self, n: int, draw: int = 0) -> Array:
        """Draw `n` samples of the model; each `draw` is independent. Raises DivergedError if one is not finite."""
        return self._given(self.samples(n, draw))

    def samples(self, n: int, draw: int = 0) -> Tensor:
        """The samples of `generate` in data space, shape `(n, *shape)`, as they are stored and shown."""
        cached = self._draws.get(draw)
        if cached is None or len(cached) < n:
            with self.counted_work.observed(n):
                self._draws[draw] = self.fresh(n, draw)
        return self._draws[draw][:n].clone()

    def fresh(self, n: int, draw: int = 0) -> Tensor:
        """The samples of `samples`, drawn anew and not kept. They depend on `n`, because they are drawn together."""
        return self._space.to_data(self._sample(n, seeded(self.device, self.seed, 13, draw)))

    @property
    def batch(self) -> int:
        """How many samples of draw 0 were drawn together; 0 if there are none yet."""
        return len(self._draws.get(0, ()))

    def drawn(self, n: int) -> Tensor:
        """At most `n` samples to store and show: those that metrics have drawn, if they are enough to look at."""
        return self.samples(n if self.batch < _ENOUGH else min(n, self.batch))

    def restored(self, n: int) -> tuple[Array, Array]:
        """The first `n` test points as the model degrades them, and what the sampler makes of the degraded points.

        Raises UnsupportedError for models that degrade no points, DivergedError if a point is not finite.
        """
        noise, context = seeded(torch.device("cpu"), 29), self._context(seeded(self.device, self.seed, 29))
        x = self._space.to_model(self._space.dequantize(self.dataset.splits.test[:n], noise)[0])[0]
        degraded = self.model.degrade(x.float().to(self.device), context).detach()
        restored = self.model.restore(degraded.clone(), context).detach()
        for what, points in (("degraded", degraded), ("restored", restored)):
            if points.shape != x.shape:
                raise ValueError(
                    f"{what} points of model '{self.model.name}' have shape {tuple(points.shape)}, "
                    f"expected {tuple(x.shape)}"
                )
            if not torch.isfinite(points).all():
                raise DivergedError(f"some {what} points of model '{self.model.name}' are not finite")
        first, last = (self._space.to_data(points.double().cpu()) for points in (degraded, restored))
        return self._given(first), self._given(last)

    def chain(self, n: int) -> list[tuple[int, Array]]:
        """The points of `n` chains of the sampler: pairs of a number of steps and points as `generate` gives them.

        The steps lie ever further apart, from the start to the samples. Raises UnsupportedError for samplers that move
        no points step by step, or do not show it.
        """
        if not self.sampler.shows_chain:
            raise UnsupportedError(f"the sampler '{self.sampler.name}' shows no chain")
        chain = Chain()
        end = self._sample(n, seeded(self.device, self.seed, 29), show=chain.show)
        return [(steps, self._given(self._space.to_data(y))) for steps, y in chain.points(end)]

    def draw(self, n: int) -> None:
        """Draw `n` samples, drop them and wait for the device. It is used for timing."""
        self._sample(n, seeded(self.device, self.seed, 17), check=False)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    # Inside

    def _given(self, points: Tensor) -> Array:
        """Data-space points as metrics get them: a copy, read-only."""
        given = self._space.comparable(points)
        return read_only((given.clone() if given.data_ptr() == points.data_ptr() else given).numpy())

    def _context(self, generator: torch.Generator, show: Show = shown_to_nobody) -> Context:
        return Context(
            info=self.info,
            device=self.device,
            generator=generator,
            sampler=self.sampler,
            likelihood=self._likelihood,
            truth=self._truth if self.model.needs_truth else None,
            progress=self._progress,
            show=show,
        )

    def _sample(self, n: int, generator: torch.Generator, check: bool = True, show: Show = shown_to_nobody) -> Tensor:
        context = self._context(generator, show)
        y = self.model.sample(n, context).detach()
        self.sampling_details = context.details
        if tuple(y.shape) != (n, *self.info.shape):
            raise ValueError(
                f"sample of model '{self.model.name}' has shape {tuple(y.shape)}, expected {(n, *self.info.shape)}"
            )
        if check and not torch.isfinite(y).all():
            bad = int((~torch.isfinite(y.flatten(1)).all(1)).sum())
            raise DivergedError(f"{bad} of {n} samples of model '{self.model.name}' are not finite")
        return y.double().cpu()


_ENOUGH = 200  # samples that are enough to look at, so that slow samplers draw no more for the figures alone
