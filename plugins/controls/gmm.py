"""The Gaussian mixture."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

import trilemma
from trilemma.plugins.controls.mixture import mixture_log_prob, sample_mixture
from trilemma.plugins.controls.selection import validation_split


class GaussianMixture(trilemma.Model):
    """A mixture of full-covariance Gaussians fitted by EM, its size chosen by validation log-likelihood."""

    name = "gmm"
    likelihood = "exact"
    image_space = "logit"
    control = True

    class Config(trilemma.Config):
        """Options of the Gaussian mixture."""

        components: tuple[int, ...] = Field((4, 8, 16, 30), min_length=1, description="numbers of components to try")
        points: int = Field(20_000, ge=2, description="training points used; more are subsampled")
        regularisation: float = Field(1e-3, ge=0, description="added to the covariances' diagonals, in model space")
        iterations: int = Field(100, ge=1, description="most EM iterations")

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        from sklearn.mixture import GaussianMixture as Estimator

        x = train.x.flatten(1)
        kept = torch.randperm(len(x), generator=ctx.generator, device=x.device)[: self.config.points]
        points = x[kept].double().cpu().numpy()
        valid = validation_split(ctx).x.flatten(1).double().cpu().numpy()
        seed = int(torch.randint(2**31, (), generator=ctx.generator, device=ctx.generator.device))
        candidates = [
            Estimator(
                min(k, len(points)),
                reg_covar=self.config.regularisation,
                max_iter=self.config.iterations,
                random_state=seed,
            ).fit(points)
            for k in self.config.components
        ]
        best = max(candidates, key=lambda candidate: candidate.score(valid))
        self.weights = torch.from_numpy(best.weights_)
        self.means = torch.from_numpy(best.means_)
        self.factors = torch.linalg.cholesky(torch.from_numpy(best.covariances_))

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return sample_mixture(n, self.weights, self.means, self.factors, ctx.generator)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        ctx.details["components"] = len(self.weights)
        return mixture_log_prob(x, self.weights, self.means, self.factors)

    def state(self) -> dict[str, Tensor]:
        return {"weights": self.weights, "means": self.means, "factors": self.factors}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.weights, self.means, self.factors = state["weights"], state["means"], state["factors"]
