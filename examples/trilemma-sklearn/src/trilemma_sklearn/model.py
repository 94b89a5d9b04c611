"""Factor analysis of scikit-learn: an estimator without gradient steps."""

from collections.abc import Mapping

import torch
from pydantic import Field
from sklearn.decomposition import FactorAnalysis
from torch import Tensor

import trilemma


class LinearFactors(trilemma.Model):
    """Factor analysis: a Gaussian whose covariance is of low rank, plus a diagonal."""

    name = "factor-analysis"
    family = "linear"
    likelihood = "exact"

    class Config(trilemma.Config):
        """Size of the model."""

        factors: int = Field(1, ge=1, description="number of factors, at most the number of coordinates")

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        # What an estimator draws without a seed comes from NumPy's global generator, which the harness seeds for `fit`.
        estimator = FactorAnalysis(min(self.config.factors, ctx.info.dim)).fit(train.x.cpu().double().numpy())
        mean, covariance = torch.tensor(estimator.mean_), torch.tensor(estimator.get_covariance())
        self.load_state({"mean": mean.to(ctx.device), "covariance": covariance.to(ctx.device)})

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.normal.loc, "covariance": self.normal.covariance_matrix}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.normal = torch.distributions.MultivariateNormal(state["mean"], state["covariance"])

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        z = torch.randn((n, ctx.info.dim), generator=ctx.generator, device=ctx.device, dtype=torch.float64)
        return (self.normal.loc + z @ self.normal.scale_tril.T).float()

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return self.normal.log_prob(x.double()).float()
