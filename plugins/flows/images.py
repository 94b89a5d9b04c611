"""Layers of flows on images `(n, channels, height, width)`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..networks.mlp import SILU_GAIN
from .conditioners import Conditioner
from .flow import Bijection
from .fused_maps import fused_rational_quadratic
from .gaussianize import gaussianizing_spline
from .transforms import Elementwise, Pure


class Squeeze(Bijection):
    """Turns each 2x2 block of pixels into four channels (Dinh et al. 2017, section 3.6)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(n, c, h, w)` to `(n, 4c, h/2, w/2)`."""
        return F.pixel_unshuffle(x, 2), x.new_zeros(len(x))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(n, 4c, h/2, w/2)` to `(n, c, h, w)`."""
        return F.pixel_shuffle(y, 2), y.new_zeros(len(y))


class Flatten(Bijection):
    """Turns images of one shape into vectors."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(n, c, h, w)` to `(n, c h w)`."""
        return x.flatten(1), x.new_zeros(len(x))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(n, c h w)` to `(n, c, h, w)`."""
        return y.reshape(-1, *self.shape), y.new_zeros(len(y))


class FactorOut(Bijection):
    """A step of the multiscale architecture (Dinh et al. 2017, section 3.6): it factors out half of the channels.

    The second half of the channels becomes latent, and the first half goes through `rest`. The output is flat,
    `(n, c h w)`, as the output of `rest` must be.
    """

    def __init__(self, rest: Bijection, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.rest = rest
        self.shape = shape

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""
        going, done = x.chunk(2, dim=1)
        z, logdet = self.rest(going)
        return torch.cat([z, done.flatten(1)], dim=1), logdet

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        z, done = y.chunk(2, dim=1)
        channels, height, width = self.shape
        going, logdet = self.rest.inverse(z)
        return torch.cat([going, done.reshape(-1, channels // 2, height, width)], dim=1), logdet

    def initialize(self, x: Tensor) -> None:
        """Initialize `rest` from the first half of the channels."""
        self.rest.initialize(x.chunk(2, dim=1)[0])


def points_last(x: Tensor) -> Tensor:
    """`(n, c, h, w)` to `(c, h, w, n)`, so that operations on parameters or channels are vectorized over points."""
    return x.movedim(0, -1).contiguous()


class PixelwiseSpline(Bijection):
    """One spline for each place and channel, the same for all images. It starts by making marginals normal."""

    def __init__(self, shape: tuple[int, ...], bins: int, bound: float) -> None:
        super().__init__()
        self.bins, self.bound = bins, bound
        self.elementwise = fused_rational_quadratic(bins, bound)
        self.params = nn.Parameter(torch.zeros(self.elementwise.width, *shape, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""
        return self._move(self.elementwise.forward, x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        return self._move(self.elementwise.inverse, y)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Start from the marginals of this batch."""
        self.params.copy_(gaussianizing_spline(x.flatten(1), self.bins, self.bound).reshape(self.params.shape))

    def _move(self, function: Pure, x: Tensor) -> tuple[Tensor, Tensor]:
        moved, log_slopes = function(self.params, points_last(x))
        return moved.movedim(-1, 0), log_slopes.flatten(0, -2).sum(0)


class Convolutional(Conditioner):
    """A 3x3 convolution plus a dense bottleneck that mixes all places, then a 1x1 convolution.

    Maps `(c_in, h, w, n)` to `(width, c_out, h, w, n)`. The output is 0 at the start. Each place has a bias, so that
    the network can distinguish places. Dropout acts on the units of the bottleneck and on whole channels.
    """

    def __init__(
        self, n_in: int, n_out: int, size: tuple[int, int], width: int, hidden: int, dense: int, dropout: float
    ) -> None:
        super().__init__()
        self.width, self.dropout = width, dropout
        places = size[0] * size[1]
        self.kernel = nn.Parameter(torch.randn(hidden, n_in, 3, 3) * SILU_GAIN / (2 * 9 * n_in) ** 0.5)
        self.place = nn.Parameter(torch.zeros(hidden, *size))
        self.squeeze = nn.Linear(n_in * places, dense)
        self.spread = nn.Linear(dense, hidden * places, bias=False)
        self.last = nn.Linear(hidden, width * n_out)
        nn.init.normal_(self.squeeze.weight, std=SILU_GAIN / (n_in * places) ** 0.5)
        nn.init.normal_(self.spread.weight, std=SILU_GAIN / (2 * dense) ** 0.5)
        for parameter in (self.squeeze.bias, self.last.weight, self.last.bias):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        c, h, w, n = x.shape
        # Points are last, so that the rows of all images form one row, in which neighboring pixels lie n apart.
        row = x.reshape(1, c, h, w * n)
        local = F.conv2d(row, self.kernel, padding=(1, n), dilation=(1, n)).view(-1, n) + self.place.view(-1, 1)
        units = F.silu(torch.addmm(self.squeeze.bias.unsqueeze(1), self.squeeze.weight, x.reshape(-1, n)))
        if self.training and self.dropout:
            units = units * self._kept(units)
        channels = F.silu(torch.addmm(local, self.spread.weight, units)).view(len(self.kernel), -1, n)
        if self.training and self.dropout:
            channels = channels * self._kept(channels[:, :1])
        value = torch.addmm(self.last.bias.unsqueeze(1), self.last.weight, channels.flatten(1))
        return value.view(self.width, -1, h, w, n)

    def _kept(self, like: Tensor) -> Tensor:
        """A mask of inverted dropout, made from uniform numbers because torch draws Bernoulli numbers one by one."""
        return (torch.rand_like(like) >= self.dropout).to(like) / (1 - self.dropout)


class ChannelCoupling(Bijection):
    """A coupling layer in which the second half of the channels moves (Kingma & Dhariwal 2018, table 1)."""

    def __init__(self, elementwise: Elementwise, conditioner: Conditioner) -> None:
        super().__init__()
        self.elementwise = elementwise
        self.conditioner = conditioner

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""
        return self._move(self.elementwise.forward, x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        return self._move(self.elementwise.inverse, y)

    def _move(self, function: Pure, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, moving = points_last(x).chunk(2)
        moved, log_slopes = function(self.conditioner(kept), moving)
        return torch.cat([kept, moved]).movedim(-1, 0), log_slopes.flatten(0, -2).sum(0)
