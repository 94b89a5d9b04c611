"""The densities of a trained model and of the true distribution, as metrics see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..contracts.config import Config
from ..contracts.dataset import Dataset, Modes
from ..contracts.model import Context, Model, known_levels
from ..errors import DivergedError, UnsupportedError
from .spaces import Space
from .truth import seeded

Array = NDArray[np.float64]
SplitName = Literal["train", "valid", "test"]


class Densities:
    """The part of an evaluation that needs no samples: log-densities and scores."""

    model: Model
    dataset: Dataset
    seed: int
    device: torch.device
    likelihood_details: dict[str, Any]
    _space: Space
    _likelihood: Config
    _log_probs: dict[str, Array]
    _progress: Callable[[float, str], None]

    def _context(self, generator: torch.Generator) -> Context:
        raise NotImplementedError

    def size(self, split: SplitName) -> int:
        """Number of points of a split."""
        return len(getattr(self.dataset.splits, split))

    @property
    def likelihood(self) -> str:
        """The likelihood kind of the model, with the options of its likelihood."""
        return self.model.likelihood_kind(self._likelihood)

    @property
    def likelihood_options(self) -> dict[str, Any]:
        """The options of the likelihood."""
        return self._likelihood.model_dump(mode="json")

    def log_prob(self, split: SplitName = "test", n: int | None = None) -> Array:
        """Log-density of the model in data space at the first `n` points of a split, in nats, shape `(n,)`.

        For images it is a bound on the log-probability of the intensity levels. Raises UnsupportedError for models
        without a likelihood, DivergedError if a value is NaN or +inf, or if the model says that its ODE overflowed
        (`details["overflowed"]`).
        """
        n = min(n or self.size(split), self.size(split))
        cached = self._log_probs.get(split)
        if cached is not None and len(cached) >= n:
            return read_only(cached[:n].copy())
        points = getattr(self.dataset.splits, split)[:n]
        values = self.log_prob_of(points, f"{split} points", noise=_SPLITS.index(split))
        if lost := self.likelihood_details.get("overflowed"):
            raise DivergedError(f"the ODE of model '{self.model.name}' overflows at {lost} of {n} {split} points")
        self._log_probs[split] = values
        return read_only(self._log_probs[split].copy())

    def log_prob_of(self, x: Tensor, what: str = "given points", *, noise: int = 2) -> Array:
        """Log-density of the model at data-space points `(n, *shape)` as a dataset has them, in nats, shape `(n,)`.

        Intensity levels of images are dequantized first, with random numbers that `noise` chooses (by default those of
        the test split), and the values are bounds on the log-probability of the levels. Raises as `log_prob_at` does.
        """
        points, log_q = self._space.dequantize(x, seeded(torch.device("cpu"), 23, noise))
        values: Array = self.log_prob_at(points, what) - log_q.numpy()
        return values

    def log_prob_at(
        self, points: Tensor, what: str = "given points", *, draw: int = 0, model_space: bool = False
    ) -> Array:
        """Log-density of the model at continuous data-space points `(n, *shape)`, in nats, shape `(n,)`.

        Each `draw` gives the model other random numbers. With `model_space` the density is that of model space, as the
        model gave it. Raises UnsupportedError for models without a likelihood, DivergedError if a value is NaN or +inf.
        """
        if self.likelihood == "none":
            raise UnsupportedError(f"model '{self.model.name}' has no likelihood")
        y, logdet = self._space.to_model(points.double())
        parts = []
        context = self._context(seeded(self.device, self.seed, 11, *([draw] if draw else [])))
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
        self.likelihood_details = {**self.likelihood_options, **context.details}
        return read_only((values if model_space else values + logdet).numpy())

    def true_log_prob(self, split: SplitName = "test", n: int | None = None) -> Array | None:
        """Log-density of the true distribution at the first `n` points of a split, in nats; None if it is not known."""
        if not self.dataset.has_density:
            return None
        n = min(n or self.size(split), self.size(split))
        return read_only(self.dataset.log_prob(getattr(self.dataset.splits, split)[:n].double()).numpy())

    def model_space_modes(self) -> Modes | None:
        """The components of the true distribution in model space, float64; None if it is not a mixture."""
        modes = self.dataset.modes()
        return None if modes is None else self._space.modes_to_model(modes)

    def score_levels(self) -> tuple[float, float]:
        """The lowest and the largest noise level at which the model knows its score.

        Raises UnsupportedError for models without a score, ValueError if the model gives no range.
        """
        return known_levels(self.model)

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


def read_only(array: Array) -> Array:
    """The same array, which can no longer be written to."""
    array.flags.writeable = False
    return array


_SPLITS = ("train", "valid", "test")
_BATCH = 5_000  # rows per call of log_prob and score: bounds memory, and is large enough to be efficient
