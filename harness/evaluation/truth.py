"""The true distribution behind a dataset, and random streams that are fixed by what they are for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..contracts.dataset import Dataset
from ..errors import UnsupportedError
from .spaces import Space


def seeded(device: torch.device, *parts: int) -> torch.Generator:
    """A generator whose stream is fixed by `parts`, apart from every other combination."""
    seed = int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0]) >> 1
    return torch.Generator(device=device).manual_seed(seed)


class DatasetTruth:
    """The distribution behind a dataset carried to model space, for the controls that need it."""

    def __init__(self, dataset: Dataset, space: Space) -> None:
        self._dataset, self._space = dataset, space

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Fresh draws of the true distribution, or validation points in random order, repeated where `n` is larger."""
        # Datasets draw on the CPU whatever the device, so that a distribution gives the same points everywhere.
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
        """Log-density in model space. Raises UnsupportedError where the distribution has no known density."""
        if not self._dataset.has_density:
            raise UnsupportedError(f"the distribution behind '{self._dataset.name}' is not known")
        data = x.double().reshape(len(x), *self._space.shape)
        for transform in reversed(self._space.transforms):
            data = transform.inverse(data)
        return self._dataset.log_prob(data) - self._space.to_model(data)[1]
