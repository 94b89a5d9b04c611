"""A single Gaussian."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from .mixture import mixture_log_prob, sample_mixture


class Gaussian(trilemma.Model):
    """A full-covariance Gaussian fitted by maximum likelihood."""

    name = "gaussian"
    family = "control"
    likelihood = "exact"
    image_space = "logit"
    control = True
    pictured = False

    class Config(trilemma.Config):
        """Options of the Gaussian."""

        jitter: float = Field(1e-6, ge=0, description="added to the covariance's diagonal, so that it can be inverted")

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        x = train.x.double()
        covariance = x.T.cov(correction=0) + self.config.jitter * torch.eye(x.shape[1]).to(x)
        self.mean, self.factor = x.mean(0), torch.linalg.cholesky(covariance)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return sample_mixture(n, *self._as_mixture(), ctx.generator)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return mixture_log_prob(x, *self._as_mixture())

    def _as_mixture(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.mean.new_ones(1), self.mean.unsqueeze(0), self.factor.unsqueeze(0)

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "factor": self.factor}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.mean, self.factor = state["mean"], state["factor"]
