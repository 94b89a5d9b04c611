"""The memorizer: the training points again."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor

import trilemma

from .kernel import kernel_log_prob, sample_kernel


class Memorizer(trilemma.Model):
    """Replays training points: perfect sample quality without generalization, which only a likelihood exposes.

    It is the equal mixture of very narrow Gaussians at the training points; samples and density are both of that
    distribution.
    """

    name = "memorizer"
    family = "control"
    likelihood = "exact"
    control = True
    expected_failures = {"mass": "its Gaussians are narrower than any grid"}

    class Config(trilemma.Config):
        """Options of the memorizer."""

        bandwidth: float = Field(
            1e-3, gt=0, description="standard deviation of the Gaussian at each training point, in model space"
        )

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self.points = train.x

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return sample_kernel(n, self.points, self.config.bandwidth, ctx.generator)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return kernel_log_prob(x, self.points.to(x), self.config.bandwidth)

    def state(self) -> dict[str, Tensor]:
        return {"points": self.points}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.points = state["points"]
