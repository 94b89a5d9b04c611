"""The Gaussian copula of the library copulas, a generator of tables."""

import numpy as np
import pandas as pd
import torch
from copulas.multivariate import GaussianMultivariate
from copulas.univariate import GaussianKDE
from pydantic import Field
from torch import Tensor

import trilemma


class GaussianCopula(trilemma.Model):
    """A Gaussian copula with kernel density estimates as margins.

    It has no likelihood here: `probability_density` of the library is the density of the copula's normal scores, not
    that of the points.
    """

    name = "gaussian-copula"
    family = "copula"

    class Config(trilemma.Config):
        """Size of the model."""

        points: int = Field(2000, ge=10, description="training points that the margins are estimated from")

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        points = train.x[torch.randperm(len(train), generator=ctx.generator)[: self.config.points]]
        columns = [f"x{index}" for index in range(ctx.info.dim)]
        self.copula = GaussianMultivariate(distribution=GaussianKDE)
        self.copula.fit(pd.DataFrame(points.cpu().numpy(), columns=columns))

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        # The library draws from NumPy. Give it a seed that comes from the generator of the harness.
        seed = int(torch.randint(2**31 - 1, (), generator=ctx.generator, device=ctx.device))
        self.copula.set_random_state(seed)
        points = self.copula.sample(n).to_numpy(dtype=np.float32)
        return torch.tensor(points, device=ctx.device)
