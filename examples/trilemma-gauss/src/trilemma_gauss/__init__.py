"""A single Gaussian, as a plugin of trilemma."""

import torch
from torch import Tensor

import trilemma


class Gauss(trilemma.Model):
    """A single full-covariance Gaussian fitted by maximum likelihood."""

    name = "gauss"
    likelihood = "exact"

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        x = train.x.to(ctx.device)
        covariance = x.T.cov(correction=0)
        self.normal = torch.distributions.MultivariateNormal(x.mean(0), covariance)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        z = torch.randn((n, *ctx.info.shape), generator=ctx.generator, device=ctx.device)
        return self.normal.loc + z @ self.normal.scale_tril.T

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return self.normal.log_prob(x)


@trilemma.hookimpl
def trilemma_models() -> list[type[trilemma.Model]]:
    """The models of this plugin."""
    return [Gauss]
