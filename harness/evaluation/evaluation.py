"""The view of a trained model and its dataset that metrics get."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..contracts.config import Config
from ..contracts.dataset import Dataset, Modes
from ..contracts.model import Context, DataInfo, Direct, Model, Sampler, Truth, no_progress
from ..errors import DivergedError, UnsupportedError
from ..training.neural import NeuralModel
from .cost import NfeCounter, count_flops, peak_memory, reset_peak_memory, training_step_flops
from .spaces import Space
from .truth import seeded

Array = NDArray[np.float64]
SplitName = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class TrainingRecord:
    """The cost of a training: seconds by the clock of the budget, wall seconds, steps, peak bytes and parameters."""

    seconds: float
    wall_seconds: float
    steps: int | None
    peak_memory: int
    parameters: int | None
    batch_size: int | None = None


class Evaluation:
    """A trained model and its dataset, as a metric sees them.

    Arrays are float64 `(n, d)`: vectors in their own units, image levels scaled to [0, 1]. Samples are cached, so that
    all metrics of one sampler setting use the same samples.
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
        alone: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
        progress: Callable[[float, str], None] = no_progress,
    ) -> None:
        self.model, self.dataset, self.info = model, dataset, info
        self.sampler = sampler or Direct()
        self.training = training
        self.seed = seed
        self.device = device
        self.likelihood_details: dict[str, Any] = {}
        """The details that the model gave with its likelihood, such as solver, tolerances and divergence estimator."""
        self.sampling_details: dict[str, Any] = {}
        """The details that the model gave with its latest samples, such as the NFE of an adaptive solver."""
        self._space = space
        self._likelihood = likelihood or model.Likelihood()
        self._truth = truth
        self._alone = alone
        self._progress = progress
        self._draws: dict[int, Tensor] = {}
        self._log_probs: dict[str, Array] = {}
        self._counter = NfeCounter()
        self._drawn = 0

    # Real data

    @property
    def dim(self) -> int:
        """Number of coordinates of one point."""
        return self.info.dim

    @property
    def likelihood(self) -> str:
        """The likelihood kind of the model."""
        return self.model.likelihood

    def size(self, split: SplitName) -> int:
        """Number of points of a split."""
        return len(getattr(self.dataset.splits, split))

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
        return self._space.comparable(points).numpy()

    def train_points(self) -> Array:
        """All training points, for metrics that look for memorization."""
        return self._space.comparable(self.dataset.splits.train).numpy()

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

    # Densities

    def log_prob(self, split: SplitName = "test", n: int | None = None) -> Array:
        """Log-density of the model in data space at the first `n` points of a split, in nats, shape `(n,)`.

        For images it is a bound on the log-probability of the intensity levels. Raises UnsupportedError for models
        without a likelihood, DivergedError if a value is NaN or +inf.
        """
        n = min(n or self.size(split), self.size(split))
        cached = self._log_probs.get(split)
        if cached is not None and len(cached) >= n:
            return cached[:n]
        levels = getattr(self.dataset.splits, split)[:n]
        points, log_q = self._space.dequantize(levels, seeded(torch.device("cpu"), 23, _SPLITS.index(split)))
        self._log_probs[split] = self.log_prob_at(points, f"{split} points") - log_q.numpy()
        return self._log_probs[split]

    def log_prob_at(self, points: Tensor, what: str = "given points") -> Array:
        """Log-density of the model at continuous data-space points `(n, *shape)`, in nats, shape `(n,)`.

        Raises UnsupportedError for models without a likelihood, DivergedError if a value is NaN or +inf.
        """
        if self.likelihood == "none":
            raise UnsupportedError(f"model '{self.model.name}' has no likelihood")
        y, logdet = self._space.to_model(points.double())
        parts = []
        context = self._context(seeded(self.device, self.seed, 11))
        for start in range(0, len(y), _BATCH):
            part = y[start : start + _BATCH].float().to(self.device)
            parts.append(self.model.log_prob(part, context).detach().double().cpu())
            self._progress(min(1.0, (start + _BATCH) / len(y)), f"log-density of {what}")
        values = torch.cat(parts)
        if values.shape != (len(y),):
            shape = tuple(values.shape)
            raise ValueError(f"log_prob of model '{self.model.name}' has shape {shape}, expected ({len(y)},)")
        if values.isnan().any() or (values == torch.inf).any():
            raise DivergedError(f"log_prob of model '{self.model.name}' is NaN or +inf for some {what}")
        self.likelihood_details = {**self._likelihood.model_dump(mode="json"), **context.details}
        return (values + logdet).numpy()

    def true_log_prob(self, split: SplitName = "test", n: int | None = None) -> Array | None:
        """Log-density of the true distribution at the first `n` points of a split, in nats; None if it is not known."""
        if not self.dataset.has_density:
            return None
        n = min(n or self.size(split), self.size(split))
        return self.dataset.log_prob(getattr(self.dataset.splits, split)[:n].double()).numpy()

    # Scores

    def model_space_modes(self) -> Modes | None:
        """The components of the true distribution in model space, float64; None if it is not a mixture."""
        modes = self.dataset.modes()
        return None if modes is None else self._space.modes_to_model(modes)

    def score(self, x: Tensor, sigma: float) -> Tensor:
        """Score of the model at model-space points `x` (n, *info.shape) and noise level `sigma`, float64 on the CPU.

        Raises UnsupportedError for models without a score, DivergedError if a value is not finite.
        """
        context = self._context(seeded(self.device, self.seed, 19))
        level = torch.tensor(sigma, dtype=torch.float32, device=self.device)
        parts = [
            self.model.score(part.float().to(self.device), level, context).detach().double().cpu()
            for part in torch.split(x, _BATCH)
        ]
        value = torch.cat(parts)
        if value.shape != x.shape:
            raise ValueError(
                f"score of model '{self.model.name}' has shape {tuple(value.shape)}, expected {tuple(x.shape)}"
            )
        if not torch.isfinite(value).all():
            raise DivergedError(f"the score of model '{self.model.name}' is not finite at noise level {sigma:.3g}")
        return value

    # Samples

    def generate(self, n: int, draw: int = 0) -> Array:
        """Draw `n` samples of the model; each `draw` is independent. Raises DivergedError if one is not finite."""
        return self._space.comparable(self.samples(n, draw)).numpy()

    def samples(self, n: int, draw: int = 0) -> Tensor:
        """The samples of `generate` in data space, shape `(n, *shape)`, as they are stored and shown."""
        cached = self._draws.get(draw)
        if cached is None or len(cached) < n:
            with self._counter.attached(self.model.networks()):
                y = self._sample(n, seeded(self.device, self.seed, 13, draw))
            self._drawn += n
            self._draws[draw] = self._space.to_data(y)
        return self._draws[draw][:n]

    def draw(self, n: int) -> None:
        """Draw `n` samples, drop them and wait for the device. It is used for timing."""
        self._sample(n, seeded(self.device, self.seed, 17), check=False)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @property
    def nfe(self) -> float | None:
        """Network evaluations per sample, counted over the samples so far; None for models without counted networks."""
        if not self._drawn:
            self.samples(256, draw=_PROBE)
        return self._counter.per_sample(self._drawn)

    def flops(self, n: int = 16) -> tuple[float, list[str]]:
        """FLOPs per sample, and the operations not counted."""
        total, uncounted = count_flops(lambda: self.draw(n))
        return total / n, uncounted

    def training_flops(self) -> tuple[float, list[str]] | None:
        """FLOPs of all training steps, and the operations not counted.

        They are the FLOPs of one step on training points times the number of steps. None for models that are not
        trained in steps.
        """
        steps, batch = self.training.steps, self.training.batch_size
        if not isinstance(self.model, NeuralModel) or steps is None or batch is None:
            return None
        points, _ = self._space.dequantize(self.dataset.splits.train[:batch], seeded(torch.device("cpu"), 29))
        x = self._space.to_model(points)[0].float().to(self.device)
        one, uncounted = training_step_flops(self.model, x, self._context(seeded(self.device, self.seed, 31)))
        return one * steps, uncounted

    def peak_memory(self, n: int) -> tuple[int, int]:
        """Peak bytes while `n` samples are drawn, and the bytes in use just before."""
        reset_peak_memory()
        before = peak_memory()
        self.draw(n)
        return peak_memory(), before

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock for timing, so that no other cell of this run measures times inside the block."""
        with self._alone():
            yield

    # Inside

    def _context(self, generator: torch.Generator) -> Context:
        return Context(
            info=self.info,
            device=self.device,
            generator=generator,
            sampler=self.sampler,
            likelihood=self._likelihood,
            truth=self._truth if self.model.needs_truth else None,
            progress=self._progress,
        )

    def _sample(self, n: int, generator: torch.Generator, check: bool = True) -> Tensor:
        context = self._context(generator)
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


_PROBE = 10**6  # number of a draw that no metric uses
_SPLITS = ("train", "valid", "test")
_BATCH = 5_000  # rows per call of log_prob and score: bounds memory, and is large enough to be efficient
