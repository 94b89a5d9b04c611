"""An evaluation that sees what a metric asks for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..evaluation.evaluation import Evaluation


class Recording(Evaluation):
    """An evaluation that records the numbers of points asked for, and returns only a share of the model's points."""

    share = 1.0

    def record(self) -> tuple[set[int], set[int]]:
        """Start recording. Returns the sets of sizes asked of real data and of the model."""
        self.real_sizes: set[int] = set()
        self.model_sizes: set[int] = set()
        return self.real_sizes, self.model_sizes

    def real(self, n: int, draw: int = 0) -> NDArray[np.float64]:
        self.real_sizes.add(n)
        return super().real(n, draw)

    def generate(self, n: int, draw: int = 0) -> NDArray[np.float64]:
        self.model_sizes.add(n)
        return super().generate(n, draw)[: int(n * self.share)]
