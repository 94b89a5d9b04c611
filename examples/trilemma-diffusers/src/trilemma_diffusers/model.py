"""A diffusion model with the schedulers of diffusers: they noise the data, and they step back."""

import torch
from diffusers import DDIMScheduler
from pydantic import Field
from torch import Tensor, nn

import trilemma

STEPS = 1000


def scheduler() -> DDIMScheduler:
    """The schedule of noise. Points are standardized and may lie anywhere, so nothing is clipped."""
    return DDIMScheduler(num_train_timesteps=STEPS, beta_schedule="squaredcos_cap_v2", clip_sample=False)


class Ddim(trilemma.Sampler):
    """DDIM (Song et al. 2021): deterministic steps from noise to data."""

    name = "ddim"
    steps: int = Field(20, ge=1, le=STEPS, description="steps, each of which evaluates the network once")


class ScheduledDiffusion(trilemma.NeuralModel):
    """Noise prediction (Ho et al. 2020) with the DDIM scheduler of diffusers and a small MLP."""

    name = "ddim-diffusers"
    family = "diffusion"
    samplers = (Ddim,)
    recipe = trilemma.Recipe(lr=2e-3, batch_size=512)

    class Config(trilemma.Config):
        """Size of the network."""

        hidden: int = Field(128, ge=1, description="width of the two hidden layers")

    def build(self, info: trilemma.DataInfo) -> None:
        hidden = self.config.hidden
        first = [nn.Linear(info.dim + 1, hidden), nn.SiLU()]
        self.network = nn.Sequential(*first, nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, info.dim))

    def noise(self, x: Tensor, t: Tensor) -> Tensor:
        """The noise in the points `x` at the time steps `t` (n,), as the network predicts it."""
        return self.network(torch.cat([x, t[:, None] / STEPS], 1))

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        t = torch.randint(STEPS, (len(x),), generator=ctx.generator, device=x.device)
        z = torch.randn(x.shape, generator=ctx.generator, device=x.device)
        return (self.noise(scheduler().add_noise(x, z, t), t) - z).square().mean()

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        steps = scheduler()  # a new one for each call, because it keeps state
        steps.set_timesteps(ctx.sampler.steps)
        x = torch.randn((n, *ctx.info.shape), generator=ctx.generator, device=ctx.device)
        for t in steps.timesteps:
            x = steps.step(self.noise(x, t.to(x.device).expand(n)), t, x).prev_sample
        return x
