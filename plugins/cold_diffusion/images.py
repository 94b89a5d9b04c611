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

LEAST = -50.0
"""Logarithm of the factor of a pixel whose information is lost."""


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
    """A Gaussian mask that grows from the center: D(x, t) is the product of x and 1 - G_i for all i <= t T.

    Source: Bansal et al. 2023, section 4.2. G_i is a Gaussian with the value 1 at the center. Its standard deviation
    grows linearly over the T steps, from `first` to `last` sides of the image. Severities between two steps take a
    power of the next factor. Masked pixels become 0, which is the mean intensity in model space.
    """

    log_factors: Tensor

    def __init__(self, height: int, width: int, steps: int, first: float, last: float) -> None:
        super().__init__()
        # The center is a pixel, so that its factor is 0 and its information is lost at the first step.
        down, across = ((torch.arange(n, dtype=torch.float64) - (n - 1) // 2) ** 2 for n in (height, width))
        squared = down.unsqueeze(1) + across
        widths = min(height, width) * torch.linspace(first, last, steps, dtype=torch.float64).reshape(-1, 1, 1)
        factors = -(-squared / (2 * widths**2)).expm1()
        self.register_buffer("log_factors", factors.log().clamp(min=LEAST), persistent=False)

    def forward(self, x: Tensor, t: Tensor, z: Tensor | None = None) -> Tensor:
        steps = torch.arange(len(self.log_factors), device=x.device)
        passed = (t.to(x).reshape(-1, 1) * len(steps) - steps).clamp(0, 1)
        mask: Tensor = (passed @ self.log_factors.to(x).flatten(1)).exp()
        return x * mask.reshape(-1, 1, *x.shape[2:])


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

    Deviations from the paper: the blur is the solution of the heat equation instead of repeated convolution with a
    Gaussian kernel, and severities are continuous. By default it ends at a width of 4 pixels, which leaves more than
    the mean; with `sigma_max` of 20 images of 8 pixels end constant, as in the paper. The end state is a Gaussian
    mixture of all pixels, in the paper of the means of the channels. The U-Net is small, its output is added to the
    degraded image, and the sum is clamped to the range of intensities.
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
    """Cold diffusion (Bansal et al. 2023) of images by a Gaussian mask that grows from the center.

    Deviations from the paper: the center of the mask is fixed, as on CelebA, and not drawn for each image, as on MNIST
    and CIFAR-10. Severities are continuous. The widths are those of the code of the paper, 1.1 to 6 pixels, as shares
    of a side of 28 pixels. The U-Net is small, its output is added to the degraded image, and the sum is clamped to the
    range of intensities. The paper restores test points, which the metric `restoration` does; the start of
    unconditional samples, a Gaussian mixture of masked images, is ours.
    """

    name = "cold-mask"
    accepts = ("image",)
    recipe = UNET_RECIPE

    class Config(ImageConfig):
        """The network, the degradation and the fully degraded state."""

        mask_steps: int = Field(50, ge=1, description="steps T in which the mask grows")
        mask_first: float = Field(0.04, gt=0, description="width of the mask's first factor, in sides of the image")
        mask_last: float = Field(0.21, gt=0, description="width of the mask's last factor, in sides of the image")

    def make_degradation(self, info: trilemma.DataInfo) -> Degradation:
        c, (_, height, width) = self.config, info.shape
        return Mask(height, width, c.mask_steps, c.mask_first, c.mask_last)


class ColdDownsample(ColdDiffusion):
    """Cold diffusion (Bansal et al. 2023) of images by downsampling, which halves the sides as often as possible.

    Deviations from the paper: sides are halved until they are odd, for digits down to a single pixel, and by means of
    squares, where the paper halves them three or four times. The U-Net is small, its output is added to the degraded
    image, and the sum is clamped to the range of intensities. The paper restores test points, which the metric
    `restoration` does; the start of unconditional samples, a Gaussian mixture, is ours.
    """

    name = "cold-downsample"
    accepts = ("image",)
    recipe = UNET_RECIPE

    class Config(ImageConfig):
        """The network and the fully degraded state."""

    def make_degradation(self, info: trilemma.DataInfo) -> Degradation:
        return Downsample(*info.shape[1:])
