"""The true distribution of a dataset in model space, and seeded random generators."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..contracts.dataset import Dataset, Modes
from ..errors import UnsupportedError
from .spaces import Space


def seeded(device: torch.device, *parts: int) -> torch.Generator:
    """A generator whose random numbers depend on `parts`, and differ for any other combination of parts."""
    seed = int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0]) >> 1
    return torch.Generator(device=device).manual_seed(seed)


class DatasetTruth:
    """The true distribution of a dataset in model space, for models that need it."""

    def __init__(self, dataset: Dataset, space: Space) -> None:
        self._dataset, self._space = dataset, space

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw `n` points of the true distribution, or validation points in random order, repeated if `n` is larger."""
        # Datasets draw on the CPU for every device, so that a distribution gives the same points everywhere.
        seed = torch.randint(2**31, (), generator=generator, device=generator.device)
        generator = torch.Generator().manual_seed(int(seed))
        if self._dataset.has_density:
            x = self._dataset.sample(n, generator)
        else:
            valid = self._dataset.splits.valid
            passes = -(-n // len(valid))
            order = torch.cat([torch.randperm(len(valid), generator=generator) for _ in range(passes)])
            x = valid[order[:n]]
        return self._space.to_model(self._space.dequantize(x, generator)[0])[0].float()

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density in model space in nats, `(n,)`. Raises UnsupportedError if the density is not known."""
        if not self._dataset.has_density:
            raise UnsupportedError(f"the true distribution of '{self._dataset.name}' is not known")
        data = x.double().reshape(len(x), *self._space.shape)
        for transform in reversed(self._space.transforms):
            data = transform.inverse(data)
        return self._dataset.log_prob(data) - self._space.to_model(data)[1]

    def modes(self) -> Modes | None:
        """The components of the distribution in model space, float64; None if it is no mixture of Gaussians."""
        modes = self._dataset.modes()
        return None if modes is None else self._space.modes_to_model(modes)
