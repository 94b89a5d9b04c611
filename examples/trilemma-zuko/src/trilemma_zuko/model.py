"""A flow of zuko: the library has the transforms, and the harness trains them."""

from collections.abc import Iterable

import torch
import zuko
from pydantic import Field
from torch import Tensor, nn

import trilemma


class ZukoSpline(trilemma.NeuralModel):
    """The autoregressive neural spline flow of zuko (Durkan et al. 2019)."""

    name = "zuko-nsf"
    family = "flow"
    likelihood = "exact"

    class Config(trilemma.Config):
        """Size of the flow."""

        transforms: int = Field(3, ge=1, description="number of autoregressive transforms")
        hidden: int = Field(64, ge=1, description="width of the two hidden layers of each network")

    def build(self, info: trilemma.DataInfo) -> None:
        hidden = (self.config.hidden, self.config.hidden)
        self.flow = zuko.flows.NSF(info.dim, transforms=self.config.transforms, hidden_features=hidden)

    def networks(self) -> Iterable[nn.Module]:
        """The networks inside the transforms: `self.flow` itself is called without points, so it counts nothing."""
        return [module for module in self.flow.modules() if isinstance(module, zuko.nn.MaskedMLP)]

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return -self.flow().log_prob(x).mean()

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return self.flow().log_prob(x)

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        # `self.flow().sample` draws from the global generator. Draw the noise here, and invert the transform.
        z = torch.randn((n, *ctx.info.shape), generator=ctx.generator, device=ctx.device)
        return self.flow().transform.inv(z)
