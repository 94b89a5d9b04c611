"""Glow and neural spline flows on images that keep their shape."""

from __future__ import annotations

from pydantic import Field

import trilemma

from ..flow import Bijection, Flow
from ..glow import COUPLING, PERMUTATION, Coupling, Permutation, permutation
from ..linear import ActNorm
from ..model import FlowModel
from .couplings import ChannelCoupling
from .layers import Squeeze
from .options import FACTOR_OUT, MARGINAL_START, NETWORKS, ImageConfig, Net, Shape, multiscale

RECIPE = trilemma.Recipe(lr=6e-3, batch_size=128, weight_decay=0.5, schedule="cosine", ema=0.998, validations=40)


class GlowSteps(trilemma.Config):
    """Options of the steps of Glow."""

    steps: int = Field(4, ge=1, description="number of steps of actnorm, permutation and coupling at each scale")
    permutation: Permutation = Field("1x1-convolution", description=PERMUTATION)


class MultiscaleGlow(FlowModel):
    """Glow on images (Kingma & Dhariwal 2018): at each scale a squeeze and steps of actnorm, permutation and coupling.

    The permutation and the coupling are options, so that a grid over them is the comparison of section 5.1. Deviations
    from the paper: log-scales of affine couplings are clipped softly (`bound`); what is factored out has the density
    N(0, I), as in RealNVP, whatever the rest is; the networks have no actnorm and far fewer channels (`hidden`, 512 in
    the paper); depth, recipe and dropout are for small images. Spline couplings, `marginal_start` and the bottleneck
    network are ours, and off by default.
    """

    name = "glow-multiscale"
    accepts = ("image",)
    recipe = RECIPE

    class Config(GlowSteps, ImageConfig):
        """Options of the architecture and of the training objective."""

    def make(self, info: trilemma.DataInfo) -> Flow:
        return glow(info, self.config)


class MultiscaleSpline(FlowModel):
    """Neural spline flow on images, RQ-NSF (C) (Durkan et al. 2019, section 5.2): Glow with spline couplings.

    Deviations from the paper, which are options: nothing is factored out (`factor_out`), a first layer makes the
    marginals of the pixels normal (`marginal_start`), and the networks have a dense bottleneck in place of residual
    blocks (`network`). The slopes of splines are bounded (`spline`), and sizes, recipe and dropout are for small
    images.
    """

    name = "nsf-multiscale"
    accepts = ("image",)
    recipe = RECIPE

    class Config(GlowSteps, ImageConfig):
        """Options of the architecture and of the training objective."""

        coupling: Coupling = Field("spline", description=COUPLING)
        factor_out: bool = Field(False, description=FACTOR_OUT)
        network: Net = Field("bottleneck", description=NETWORKS)
        marginal_start: bool = Field(True, description=MARGINAL_START)

    def make(self, info: trilemma.DataInfo) -> Flow:
        return glow(info, self.config)


def glow(info: trilemma.DataInfo, config: MultiscaleGlow.Config | MultiscaleSpline.Config) -> Flow:
    """The flow of several scales that the options name."""
    elementwise = config.elementwise()

    def scale(shape: Shape, last: bool) -> tuple[list[Bijection], Shape]:
        channels, height, width = shape[0] * 4, shape[1] // 2, shape[2] // 2
        network = config.networks(info, (height, width))
        layers: list[Bijection] = [Squeeze()]
        for _ in range(config.steps):
            layers += [
                ActNorm(channels),
                permutation(config.permutation, channels),
                ChannelCoupling(channels, elementwise, network),
            ]
        return layers, (channels, height, width)

    return multiscale(info, config, scale)
