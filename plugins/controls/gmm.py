"""The Gaussian mixture."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import product

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from .mixture import mixture_log_prob, sample_mixture
from .selection import validation_split


class GaussianMixture(trilemma.Model):
    """A mixture of full-covariance Gaussians fitted by EM (scikit-learn's), chosen by validation log-likelihood.

    What is chosen is the number of components and how much the covariances are regularized.
    """

    name = "gmm"
    family = "control"
    likelihood = "exact"
    image_space = "logit"
    control = True
    pictured = False

    class Config(trilemma.Config):
        """Options of the Gaussian mixture."""

        components: tuple[int, ...] = Field((4, 8, 16, 30), min_length=1, description="numbers of components to try")
        points: int = Field(20_000, ge=2, description="training points used; more are subsampled")
        regularizations: tuple[float, ...] = Field(
            (1e-6, 0.1), min_length=1, description="amounts to try that are added to the covariances' diagonals"
        )
        iterations: int = Field(100, ge=1, description="most EM iterations")

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture as Estimator

        x = train.x
        kept = torch.randperm(len(x), generator=ctx.generator, device=x.device)[: self.config.points]
        points = x[kept].double().cpu().numpy()
        valid = validation_split(ctx).x.double().cpu().numpy()
        seed = int(torch.randint(2**31, (), generator=ctx.generator, device=ctx.generator.device))
        candidates = [
            Estimator(min(k, len(points)), reg_covar=amount, max_iter=self.config.iterations, random_state=seed)
            for k, amount in product(self.config.components, self.config.regularizations)
        ]
        with warnings.catch_warnings():
            # A fit that stops before it converges is still a candidate: the validation data judges it.
            warnings.simplefilter("ignore", ConvergenceWarning)
            for candidate in candidates:
                candidate.fit(points)
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
