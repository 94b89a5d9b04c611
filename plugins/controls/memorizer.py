"""The memorizer control, which reproduces the training points."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor

import trilemma

from .kernel import kernel_log_prob, sample_kernel


class Memorizer(trilemma.Model):
    """A model that reproduces training points: an equal mixture of very narrow Gaussians at the training points.

    It is a control with perfect sample quality and no generalization. Most metrics of samples cannot tell it from a
    good model, but its likelihood on test points is very low. Samples and density both come from the mixture.
    """

    name = "memorizer"
    family = "control"
    likelihood = "exact"
    control = True
    expected_failures = {
        "mass": "its Gaussians are narrower than the cells of any grid",
        "memorization": "it is the control that does so",
    }

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
