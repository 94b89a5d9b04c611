"""Inverse heat dissipation (Rissanen et al. 2023), which generates images by reversing the heat equation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..controls.kernel import kernel_log_prob, sample_kernel
from ..diffusion.bounds import Bound
from ..diffusion.schedules import geometric_grid
from ..networks.points import ROWS, standard_normal, stratified
from ..networks.unet import UNET_RECIPE, UNetConfig
from .end_state import EndState, EndStateConfig, PriorAlone
from .heat import HeatBlur


class ReverseOptions(trilemma.Config):
    """Options of the generative process."""

    delta: float = Field(
        1.25, gt=0, description="standard deviation of the noise of a step, over that of the training noise"
    )
    start: Literal["training", "mixture"] = Field(
        "training",
        description="'training' starts from blurred training images with the noise of a step, as in the paper; "
        "'mixture' starts from a Gaussian mixture fitted to noisy blurred training images",
    )


class ReverseHeat(ReverseOptions, trilemma.Sampler):
    """Reverses the heat equation with noise at every step but the last (Rissanen et al. 2023, algorithm 2).

    It takes all K steps. By default it starts from blurred *training* images, as the code of the paper does.
    """

    name = "reverse-heat"


class InverseHeat(trilemma.NeuralModel):
    """Inverse heat dissipation (Rissanen et al. 2023) with a small U-Net, on images.

    The latent images are u_k = blur(u_0, sigma_k) + noise at K increasing widths of the blur. The likelihood is the
    variational bound. Samples start from blurred *training* images with noise, as in the paper, so they are not
    independent of the training split.

    The bound is far below the density, and no training changes that. The noise of each latent image is drawn anew, so a
    step has to predict an image without noise from one with noise. A coordinate that the noise does not hide costs at
    least .5 bits in each step (with `delta` = 1.41), and .52 with 1.25. For normal data with the covariance of digits
    and the best means, the bound is 11.9 bits/dim with 40 steps and 48.1 with 200, while the density of the model is
    2.95 and 2.93 bits/dim. Uniform intensities take 4.09.

    Deviations from the paper: K = 40 instead of 200 steps, and a smaller U-Net. The widths go from .5 to 4 pixels, half
    the side of images of 8 pixels, as in the paper for images of 64 pixels; for smaller ones it has .7 to .75. The
    standard deviation of the training noise is the paper's, .01 on images with intensities in [0, 1], and that of the
    sampling noise is 1.25 times as large. The start from a Gaussian mixture is not in the paper.
    """

    name = "inverse-heat"
    family = "restoration"
    likelihood = "bound"
    accepts = ("image",)
    samplers = (ReverseHeat, PriorAlone)
    always_samplers = (PriorAlone(), PriorAlone(restore="linear"))
    recipe = UNET_RECIPE
    starts: Tensor
    deviation: Tensor
    """Standard deviation of the noise in model space, `()`."""

    class Config(UNetConfig, EndStateConfig):
        """The network and the process."""

        steps: int = Field(40, ge=2, description="steps K of the process")
        sigma_min: float = Field(0.5, gt=0, description="width of the blur at the first step, in pixels")
        sigma_max: float = Field(4.0, gt=0, description="width of the blur at the last step, in pixels")
        noise: float = Field(
            0.01, gt=0, description="standard deviation of the noise on blurred images with intensities in [0, 1]"
        )
        kept: int = Field(10_000, ge=1, description="largest number of blurred training images kept to start from")

    class Likelihood(ReverseOptions):
        """Options of the variational bound."""

        draws: int = Field(1, ge=1, description="draws of the noise at every step; the bound is averaged over them")

    def build(self, info: trilemma.DataInfo) -> None:
        config = self.config
        self.network = config.network(info)
        self.blur = HeatBlur(*info.shape[1:])
        self.end_state = EndState(info.shape, config)
        self.support = info.support
        self.register_buffer("deviation", torch.zeros((), dtype=torch.float64))
        self.register_buffer("starts", torch.zeros((min(config.kept, info.n_train), *info.shape)))

    def networks(self) -> Iterable[nn.Module]:
        return (self.network,)

    def widths(self) -> Tensor:
        """The widths sigma_0 = 0, sigma_1, ..., sigma_K of the blur, float64 (Rissanen et al. 2023, section 3.1)."""
        config = self.config
        rising = geometric_grid(config.steps, config.sigma_min, config.sigma_max).flip(0)
        return torch.cat([torch.zeros(1, dtype=torch.float64), rising])

    def mean(self, u: Tensor, k: Tensor) -> Tensor:
        """mu(u_k, k), the mean of u_{k-1}, where the network predicts the difference to u_k. `k` is `()` or `(n,)`."""
        label = 4 * k.to(u).expand(len(u)) / self.config.steps - 2
        difference: Tensor = self.network(u, label)
        return u + difference

    def initialize(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        """Scale the noise, blur the training split, store blurred images to start from, and fit the mixture."""
        points = train.x
        low, high = self.support or (float(points.min()), float(points.max()))
        self.deviation.fill_(self.config.noise * (high - low))
        kept = torch.randperm(len(points), generator=ctx.generator, device=points.device)[: len(self.starts)]
        blurred = self.blur(points, self.widths()[-1])
        self.starts.copy_(blurred[kept])
        self.end_state.fit(self.noisy(blurred, ctx.generator), points, ctx.generator)

    def noisy(self, u: Tensor, generator: torch.Generator) -> Tensor:
        """Blurred images `u` with the noise of the process added."""
        return u + self.deviation.to(u) * standard_normal(u, generator)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """E|mu(u_k, k) - blur(u_0, sigma_{k-1})|^2 over all steps k, per coordinate (Rissanen et al., section 3.2)."""
        widths = self.widths().to(x)
        k = 1 + (stratified(len(x), ctx.generator) * self.config.steps).long().clamp(max=self.config.steps - 1)
        mean = self.mean(self.noisy(self.blur(x, widths[k]), ctx.generator), k)
        loss: Tensor = (mean - self.blur(x, widths[k - 1])).square().mean()
        return loss

    # Sampling

    def start(self, n: int, options: ReverseOptions, generator: torch.Generator) -> Tensor:
        """Draw `n` start states u_K of the model, shape `(n, *shape)`."""
        if options.start == "mixture":
            return self.end_state.sample(n, generator)
        width = self.delta(options)
        return sample_kernel(n, self.starts.flatten(1), width, generator).reshape(n, *self.starts.shape[1:])

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        sampler = ctx.sampler
        options = sampler if isinstance(sampler, ReverseHeat) else ReverseOptions()
        ctx.details["start"] = options.start
        return self.restore(self.start(n, options, ctx.generator), ctx)

    @torch.no_grad()
    def degrade(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """u_K, drawn given the images."""
        return self.noisy(self.blur(x, self.widths()[-1]), ctx.generator)

    @torch.no_grad()
    def restore(self, degraded: Tensor, ctx: trilemma.Context) -> Tensor:
        """The images that the reverse process draws from states u_K, or what the control makes of them."""
        sampler = ctx.sampler
        if isinstance(sampler, PriorAlone):
            return self.end_state.alone(degraded, sampler)
        assert isinstance(sampler, ReverseHeat)
        return torch.cat([self.reverse(u, self.delta(sampler), ctx.generator) for u in torch.split(degraded, ROWS)])

    def delta(self, options: ReverseOptions) -> float:
        """Standard deviation of the noise of a generative step, in model space."""
        return options.delta * float(self.deviation)

    def reverse(self, u: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
        """From u_K to a sample: u_{k-1} = mu(u_k, k) + deviation z, without noise at the last step."""
        for k in range(self.config.steps, 0, -1):
            u = self.mean(u, torch.tensor(k))
            if k > 1:
                u = u + deviation * standard_normal(u, generator)
        return u

    # Likelihood

    @torch.no_grad()
    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The variational bound (Rissanen et al. 2023, section 3.2). The details hold the means of its terms."""
        options = ctx.likelihood
        assert isinstance(options, self.Likelihood)
        parts = []
        for part in torch.split(x, ROWS):
            bounds = [self.bound(part, options, ctx.generator) for _ in range(options.draws)]
            parts.append(torch.stack([torch.stack([b.prior, b.diffusion, b.reconstruction]) for b in bounds]).mean(0))
        bound = Bound(*torch.cat(parts, dim=1))
        ctx.details.update({"steps": self.config.steps, "start": options.start, "terms": bound.means()})
        return bound.total

    def bound(self, x: Tensor, options: ReverseOptions, generator: torch.Generator) -> Bound:
        """The terms of the bound at one draw of the noise at every step, float64, each of shape `(n,)`.

        q(u_k | u_0) = N(blur(u_0, sigma_k), noise^2 I), p(u_{k-1} | u_k) = N(mu(u_k, k), delta^2 I).
        """
        d, noise = x[0].numel(), float(self.deviation)
        delta, widths = self.delta(options), self.widths()
        diffusion = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        reconstruction = diffusion
        for k in range(1, self.config.steps + 1):
            u = self.noisy(self.blur(x, widths[k]), generator)
            residual = (self.mean(u, torch.tensor(k)) - self.blur(x, widths[k - 1])).double().square().flatten(1).sum(1)
            if k == 1:
                reconstruction = residual / (2 * delta**2) + d * math.log(delta * math.sqrt(2 * math.pi))
            else:
                spread = math.log(delta / noise) + (noise**2 / delta**2 - 1) / 2
                diffusion = diffusion + residual / (2 * delta**2) + d * spread
        end = self.noisy(self.blur(x, widths[-1]), generator)
        entropy = d / 2 * math.log(2 * math.pi * math.e * noise**2)
        return Bound(-self.start_log_prob(end, options) - entropy, diffusion, reconstruction)

    def start_log_prob(self, u: Tensor, options: ReverseOptions) -> Tensor:
        """Log-density of start states u_K under the model, float64, shape `(n,)`."""
        if options.start == "mixture":
            return self.end_state.log_prob(u)
        return kernel_log_prob(u.flatten(1), self.starts.flatten(1), self.delta(options))
