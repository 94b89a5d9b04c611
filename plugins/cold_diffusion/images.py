"""Cold diffusion on images: blur, a growing mask, and downsampling."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..networks.points import per_point
from ..networks.unet import UNET_RECIPE
from .cold_diffusion import ColdDiffusion, ImageConfig
from .heat import HeatBlur
from .restoration import Degradation


class Blur(Degradation):
    """Blur by the heat equation, of width sigma_min (sigma_max / sigma_min)^t pixels for t > 0 and none at t = 0."""

    def __init__(self, height: int, width: int, sigma_min: float, sigma_max: float) -> None:
        super().__init__()
        self.blur = HeatBlur(height, width)
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    def forward(self, x: Tensor, t: Tensor, z: Tensor | None = None) -> Tensor:
        sigma = self.sigma_min * (self.sigma_max / self.sigma_min) ** t
        value: Tensor = self.blur(x, torch.where(t > 0, sigma, torch.zeros_like(sigma)))
        return value


class Mask(Degradation):
    """A square mask that grows from the center until only the border pixels are left. Its edge is one pixel wide.

    Masked pixels become 0, which is the mean intensity in model space. Their information is lost.
    """

    distance: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        down, across = (((torch.arange(n) + 0.5) / n - 0.5).abs() * min(height, width) for n in (height, width))
        self.register_buffer("distance", torch.maximum(down.unsqueeze(1), across), persistent=False)

    def forward(self, x: Tensor, t: Tensor, z: Tensor | None = None) -> Tensor:
        distance = self.distance.to(x)
        least, most = distance.min() - 1, distance.max() - 1
        reach = least + (most - least) * per_point(t, x)
        return x * (distance - reach).clamp(0, 1)


class Downsample(Degradation):
    """Means over squares of 2, 4, 8, ... pixels per side, enlarged to the original size.

    There are only as many severities as the sides can be halved.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.halvings = int(math.log2(math.gcd(height, width)))
        if self.halvings < 1:
            raise trilemma.UnsupportedError(
                f"cold-downsample needs even sides, but images have {height} x {width} pixels"
            )

    def forward(self, x: Tensor, t: Tensor, z: Tensor | None = None) -> Tensor:
        level = (t.to(x) * self.halvings - 1e-4).ceil().expand(len(x))
        out = x
        for k in range(1, self.halvings + 1):
            coarse = nn.functional.avg_pool2d(x, 2**k).repeat_interleave(2**k, 2).repeat_interleave(2**k, 3)
            out = torch.where(per_point(level, x) == k, coarse, out)
        return out

    def times(self, steps: int, power: float) -> Tensor:
        return super().times(min(steps, self.halvings), 1.0)


class ColdBlur(ColdDiffusion):
    """Cold diffusion (Bansal et al. 2023) of images by blur, with the heat equation as degradation.

    The degradation is invertible, so compare the results with those of the sampler `prior-alone`.
    """

    name = "cold-blur"
    accepts = ("image",)
    recipe = UNET_RECIPE

    class Config(ImageConfig):
        """The network, the degradation and the fully degraded state."""

        sigma_min: float = Field(0.3, gt=0, description="smallest width of the blur, in pixels")
        sigma_max: float = Field(4.0, gt=0, description="largest width of the blur, in pixels")

    def make_degradation(self, info: trilemma.DataInfo) -> Degradation:
        _, height, width = info.shape
        return Blur(height, width, self.config.sigma_min, self.config.sigma_max)


class ColdMask(ColdDiffusion):
    """Cold diffusion (Bansal et al. 2023) of images by a mask that grows from the center up to the border pixels."""

    name = "cold-mask"
    accepts = ("image",)
    recipe = UNET_RECIPE

    class Config(ImageConfig):
        """The network and the fully degraded state."""

    def make_degradation(self, info: trilemma.DataInfo) -> Degradation:
        return Mask(*info.shape[1:])


class ColdDownsample(ColdDiffusion):
    """Cold diffusion (Bansal et al. 2023) of images by downsampling, which halves the sides as often as possible."""

    name = "cold-downsample"
    accepts = ("image",)
    recipe = UNET_RECIPE

    class Config(ImageConfig):
        """The network and the fully degraded state."""

    def make_degradation(self, info: trilemma.DataInfo) -> Degradation:
        return Downsample(*info.shape[1:])
