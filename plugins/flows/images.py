"""Layers of flows on images `(n, channels, height, width)`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trilemma.plugins.flows.conditioners import Conditioner
from trilemma.plugins.flows.flow import Bijection
from trilemma.plugins.flows.gaussianise import gaussianising_spline
from trilemma.plugins.flows.spline import rational_quadratic
from trilemma.plugins.flows.transforms import Elementwise, Pure
from trilemma.plugins.networks import SILU_GAIN


class Squeeze(Bijection):
    """Each 2x2 block of pixels becomes four channels (Dinh et al. 2017, section 3.6)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(n, c, h, w)` to `(n, 4c, h/2, w/2)`."""
        return F.pixel_unshuffle(x, 2), x.new_zeros(len(x))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(n, 4c, h/2, w/2)` to `(n, c, h, w)`."""
        return F.pixel_shuffle(y, 2), y.new_zeros(len(y))


class Flatten(Bijection):
    """Images of one shape as vectors."""

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
    """The multiscale architecture: half of the channels are latent already, the others go on through `rest`
    (Dinh et al. 2017, section 3.6). `rest` gives flat points, and so does this, `(n, c h w)`.
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
        """Initialise what follows."""
        self.rest.initialize(x.chunk(2, dim=1)[0])


class PixelwiseSpline(Bijection):
    """One spline for each place and channel, the same for all images: it takes marginals to normal ones."""

    def __init__(self, shape: tuple[int, ...], bins: int, bound: float) -> None:
        super().__init__()
        self.bins, self.bound = bins, bound
        self.elementwise = rational_quadratic(bins, bound)
        self.params = nn.Parameter(torch.zeros(self.elementwise.width, 1, *shape))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""
        y, log_slopes = self.elementwise.forward(self._spread(x), x)
        return y, log_slopes.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        x, log_slopes = self.elementwise.inverse(self._spread(y), y)
        return x, log_slopes.flatten(1).sum(1)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Start from the marginals of this batch."""
        self.params.copy_(gaussianising_spline(x.flatten(1), self.bins, self.bound).reshape(self.params.shape))

    def _spread(self, x: Tensor) -> Tensor:
        return self.params.expand(-1, len(x), *x.shape[1:])


class Convolutional(Conditioner):
    """A small convolutional network with a dense bottleneck that mixes all places.

    From `(n, c_in, h, w)` to `(width, n, c_out, h, w)`; it starts at 0. A bias for each place tells places apart.
    """

    def __init__(
        self, n_in: int, n_out: int, size: tuple[int, int], width: int, hidden: int, dense: int, dropout: float
    ) -> None:
        super().__init__()
        self.width, self.dropout = width, dropout
        units = hidden * size[0] * size[1]
        self.place = nn.Parameter(torch.zeros(hidden, *size))
        self.first = nn.Conv2d(n_in, hidden, 3, padding=1)
        self.squeeze = nn.Linear(units, dense)
        self.spread = nn.Linear(dense, units)
        self.last = nn.Conv2d(hidden, width * n_out, 3, padding=1)
        for layer in (self.first, self.squeeze, self.spread):
            nn.init.normal_(layer.weight, std=SILU_GAIN / layer.weight[0].numel() ** 0.5)
        for parameter in (self.first.bias, self.squeeze.bias, self.spread.bias, self.last.weight, self.last.bias):
            assert parameter is not None
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        h = F.silu(self.first(x) + self.place)
        mixed = self.spread(F.dropout(F.silu(self.squeeze(h.flatten(1))), self.dropout, self.training))
        h = F.dropout(F.silu(h + mixed.reshape(h.shape)), self.dropout, self.training)
        value: Tensor = self.last(h)
        return value.reshape(len(x), self.width, -1, *value.shape[2:]).movedim(1, 0)


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
        kept, moving = x.chunk(2, dim=1)
        moved, log_slopes = function(self.conditioner(kept), moving)
        return torch.cat([kept, moved], dim=1), log_slopes.flatten(1).sum(1)
