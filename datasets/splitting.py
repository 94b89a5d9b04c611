"""How data with one fixed set of points is split."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

import trilemma


class SplitConfig(trilemma.Config):
    """The seed of the permutation that splits the points.

    Where it also chooses the test points, options that were chosen with one seed can be judged on test points of
    another that no choice has seen. Where the test part is fixed, it chooses the validation points.
    """

    split_seed: int = Field(0, ge=0, description="seed of the split of what is not split by the source of the data")

    def generator(self) -> np.random.RandomState:
        """The generator that draws the permutation first."""
        return np.random.RandomState(self.split_seed)

    def permutation(self, n: int) -> NDArray[np.int64]:
        """The order `(n,)` in which points are split."""
        return self.generator().permutation(n)


def parts(points: torch.Tensor, n_valid: int, n_test: int) -> trilemma.Splits:
    """The splits of points in order: training, validation, test."""
    return trilemma.Splits(*torch.split(points, [len(points) - n_valid - n_test, n_valid, n_test]))
