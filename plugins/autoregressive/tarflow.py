"""TarFlow (Zhai et al. 2024): an autoregressive flow on patches, with transformers."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

import trilemma

from ..flows.base import StandardNormal
from ..flows.flow import Bijection, Flow
from ..flows.glow import CouplingOptions
from ..flows.marginals import Marginals
from ..flows.model import FlowConfig, FlowModel
from ..flows.transforms import Elementwise
from ..networks.mlp import dropout_for
from ..networks.points import ROWS, standard_normal
from .transformer import CausalTransformer


class Patches(Bijection):
    """Cuts images `(n, c, h, w)` into square patches `(n, tokens, c side^2)`, and vectors `(n, d)` into `(n, d, 1)`."""

    def __init__(self, shape: tuple[int, ...], side: int) -> None:
        super().__init__()
        self.side, self.image = side, len(shape) == 3
        if self.image:
            self.grid = shape[1] // side, shape[2] // side
        self.tokens = self.grid[0] * self.grid[1] if self.image else shape[0]
        self.width = shape[0] * side**2 if self.image else 1

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(patches, 0)`."""
        zero = x.new_zeros(len(x))
        if not self.image:
            return x.unsqueeze(2), zero
        return F.pixel_unshuffle(x, self.side).flatten(2).transpose(1, 2), zero

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(points, 0)`."""
        zero = y.new_zeros(len(y))
        if not self.image:
            return y.squeeze(2), zero
        return F.pixel_shuffle(y.transpose(1, 2).reshape(len(y), -1, *self.grid), self.side), zero


class PatchFlow(Bijection):
    """One autoregressive block on tokens `(n, tokens, width)`: each moves by a map that the tokens before it choose.

    For affine maps this is z_i = (x_i - mu(x_<i)) exp(-alpha(x_<i)) (Zhai et al. 2024), here written as
    x_i exp(s) + t. With `backward` the tokens come in reverse order.
    """

    def __init__(self, elementwise: Elementwise, transformer: CausalTransformer, *, backward: bool) -> None:
        super().__init__()
        self.elementwise, self.transformer, self.backward = elementwise, transformer, backward

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`, in one pass of the transformer."""
        x = self.ordered(x)
        y, log_slopes = self.elementwise.forward(self.parameters_of(x), x)
        return self.ordered(y), log_slopes.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`, in one pass for each token, over those that are known."""
        y = self.ordered(y)
        known, log_slopes = y[:, :0], []
        for token in torch.split(y, 1, dim=1):
            params = self.parameters_of(torch.cat([known, token], dim=1))[:, :, -1:].contiguous()
            moved, log_slope = self.elementwise.inverse(params, token.contiguous())
            known = torch.cat([known, moved], dim=1)
            log_slopes.append(log_slope)
        return self.ordered(known), torch.cat(log_slopes, dim=1).flatten(1).sum(1)

    def ordered(self, x: Tensor) -> Tensor:
        """The tokens in the order of this block, or from it back."""
        return x.flip(1) if self.backward else x

    def parameters_of(self, x: Tensor) -> Tensor:
        """The parameters of the maps of tokens in order, `(width of the map, n, tokens, width)`."""
        value: Tensor = self.transformer(x).unflatten(2, (self.elementwise.width, -1)).movedim(2, 0).contiguous()
        return value


class TarFlowSampler(trilemma.Sampler):
    """Samples of the flow, with the noise of training removed by one step along the score (Zhai et al. 2024)."""

    name = "tarflow"
    denoise: float = Field(
        0.0,
        ge=0,
        description="noise level s that a last step x + s^2 grad log p(x) removes, in the units of `noise`; that of "
        "the paper is `noise`, and with 0 samples have the density of the model",
    )


class TarFlow(FlowModel):
    """TarFlow (Zhai et al. 2024): causal transformers over patches, whose order alternates; likelihood in one pass.

    Vectors have one token for each coordinate. A sample takes one pass of each transformer for each token. With
    `noise`, training points are noised, and the sampler can remove this noise (`denoise`); the likelihood is that of
    the flow in both cases.

    Deviations from the paper: log-scales are clipped softly (`bound`); the maps of the first patch are learned too;
    images are mapped by a logit, so that noise is added and removed in standardized logits and not in pixels; the
    default has no noise, as in the likelihoods of the paper; with noise too, the weights that are kept are those with
    the best likelihood of validation points without it (public code: the last); there is no guidance.
    Rational-quadratic splines in place of affine maps (`coupling`) and a first layer that makes the marginals of the
    pixels normal (`marginal_start`) are ours.
    """

    name = "tarflow"
    accepts = ("vector", "image")
    samplers = (TarFlowSampler,)
    recipe = trilemma.Recipe(lr=4e-3, batch_size=64, weight_decay=0.01, warmup=100, schedule="cosine", ema=0.998)

    class Config(CouplingOptions, FlowConfig):
        """Options of the architecture, of the noise in training, and of the training objective."""

        patch: int = Field(2, ge=1, description="side of the square patches of images, in pixels")
        transforms: int = Field(4, ge=1, description="number of blocks, each with the reverse order of the one before")
        layers: int = Field(1, ge=1, description="layers of the transformer of a block")
        channels: int = Field(64, ge=1, description="channels of the transformers")
        heads: int = Field(4, ge=1, description="heads of their attention; they divide `channels`")
        noise: float = Field(
            0.0,
            ge=0,
            description="standard deviation of Gaussian noise on training points, in units of the standard deviation "
            "of a coordinate or, for images, of the logits of intensities",
        )
        marginal_start: bool = Field(
            False, description="whether the first layer is one spline for each coordinate, which makes marginals normal"
        )
        marginal_bins: int = Field(32, ge=2, description="number of bins of the splines of `marginal_start`")
        dropout: float | None = Field(
            None,
            ge=0,
            lt=1,
            description="dropout rate in the transformers; default: 0.3 with fewer than 100 training points per "
            "coordinate, else 0",
        )

    def make(self, info: trilemma.DataInfo) -> Flow:
        config = self.config
        if len(info.shape) == 3 and any(side % config.patch for side in info.shape[1:]):
            raise trilemma.UnsupportedError(f"images of shape {info.shape} have no patches of side {config.patch}")
        if config.base_components > 1:
            raise trilemma.UnsupportedError("the base of TarFlow is N(0, I): set base_components to 1")
        patches, elementwise = Patches(info.shape, config.patch), config.elementwise()
        layers: list[Bijection] = [patches]
        if config.marginal_start:
            layers.insert(0, Marginals(info.shape, config.marginal_bins, config.interval))
        for number in range(config.transforms):
            transformer = CausalTransformer(
                patches.tokens,
                patches.width,
                elementwise.width * patches.width,
                channels=config.channels,
                layers=config.layers,
                heads=config.heads,
                dropout=dropout_for(info, config.dropout, 0.3),
            )
            layers.append(PatchFlow(elementwise, transformer, backward=number % 2 == 1))
        return Flow(layers, StandardNormal((patches.tokens, patches.width)))

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        noise: float = self.config.noise
        return super().loss(x + noise * standard_normal(x, ctx.generator) if noise else x, ctx)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        sampler = ctx.sampler
        assert isinstance(sampler, TarFlowSampler)
        x = super().sample(n, ctx)
        if not sampler.denoise:
            return x
        return torch.cat([part + sampler.denoise**2 * self.slope(part) for part in torch.split(x, ROWS)])

    def slope(self, x: Tensor) -> Tensor:
        """grad log p(x), of the shape of `x`."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            found: Tensor = torch.autograd.grad(self.flow.log_prob(x).sum(), x)[0]
        return found
