"""A model in one file: `trilemma run --plugin my_model.py --models my-model,gaussian`."""

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma


class Euler(trilemma.Sampler):
    """Euler steps of the learned ODE, from noise at time 0 to data at time 1."""

    name = "euler"
    steps: int = Field(20, ge=1, description="steps, each of which evaluates the network once")


class MyModel(trilemma.NeuralModel):
    """Flow matching along straight lines (Lipman et al. 2023) with a small MLP."""

    name = "my-model"
    samplers = (Euler,)
    recipe = trilemma.Recipe(lr=2e-3, batch_size=512)

    class Config(trilemma.Config):
        """Size of the network."""

        hidden: int = Field(128, ge=1, description="width of the two hidden layers")

    def build(self, info: trilemma.DataInfo) -> None:
        hidden = self.config.hidden
        first = [nn.Linear(info.dim + 1, hidden), nn.SiLU()]
        second = [nn.Linear(hidden, hidden), nn.SiLU()]
        self.velocity = nn.Sequential(*first, *second, nn.Linear(hidden, info.dim))

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """E |v(x_t, t) - (x - z)|^2 at x_t = t x + (1 - t) z (eq. 23 with sigma_min = 0)."""
        t = torch.rand((len(x), 1), generator=ctx.generator, device=x.device)
        z = torch.randn(x.shape, generator=ctx.generator, device=x.device)
        x_t = t * x + (1 - t) * z
        return (self.velocity(torch.cat([x_t, t], 1)) - (x - z)).square().mean()

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        x = torch.randn((n, *ctx.info.shape), generator=ctx.generator, device=ctx.device)
        for step in range(ctx.sampler.steps):
            t = torch.full((n, 1), step / ctx.sampler.steps, device=ctx.device)
            x = x + self.velocity(torch.cat([x, t], 1)) / ctx.sampler.steps
        return x


@trilemma.hookimpl
def trilemma_models() -> list[type[trilemma.Model]]:
    """The models of this plugin."""
    return [MyModel]
