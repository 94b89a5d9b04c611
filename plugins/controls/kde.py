"""The Gaussian kernel density estimate."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from .kernel import kernel_log_prob, log_kernel, pair_exponents, sample_kernel
from .selection import validation_split


class KernelDensity(trilemma.Model):
    """A Gaussian kernel density estimate (Parzen 1962), its bandwidth chosen by validation log-likelihood."""

    name = "kde"
    family = "control"
    likelihood = "exact"
    image_space = "logit"
    control = True
    pictured = False

    class Config(trilemma.Config):
        """Options of the kernel density estimate."""

        points: int = Field(10_000, ge=1, description="training points kept as centers; more are subsampled")
        bandwidths: tuple[float, ...] = Field(
            (0.01, 0.014, 0.02, 0.03, 0.04, 0.06, 0.08, 0.11, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8),
            min_length=1,
            description="standard deviations of the kernel to choose from, in model space",
        )
        validation_points: int = Field(2_000, ge=1, description="validation points that choose the bandwidth")

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        x = train.x
        kept = torch.randperm(len(x), generator=ctx.generator, device=x.device)[: self.config.points]
        self.points = x[kept]
        valid = validation_split(ctx).x[: self.config.validation_points]
        scores = torch.zeros(len(self.config.bandwidths), dtype=torch.float64)
        for exponents in pair_exponents(valid, self.points):
            for i, bandwidth in enumerate(self.config.bandwidths):
                scores[i] += log_kernel(exponents, bandwidth, valid.shape[1]).sum().cpu()
        self.bandwidth = self.config.bandwidths[int(scores.argmax())]

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return sample_kernel(n, self.points, self.bandwidth, ctx.generator)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        ctx.details["bandwidth"] = self.bandwidth
        return kernel_log_prob(x, self.points.to(x), self.bandwidth)

    def state(self) -> dict[str, Tensor]:
        return {"points": self.points, "bandwidth": torch.tensor(self.bandwidth, dtype=torch.float64)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.points = state["points"]
        self.bandwidth = float(state["bandwidth"])
