"""Networks that give the parameters of couplings on images.

They map images `(c_in, h, w, n)` to parameters `(width, c_out, h, w, n)`, which are 0 at the start. The points are the
last dimension, so that operations on parameters or channels are vectorized over points.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...networks.mlp import SILU_GAIN
from ..conditioners import RELU_GAIN, Conditioner


class ImageNetwork(Conditioner):
    """A network that maps images `(c_in, h, w, n)` to parameters `(width, c_out, h, w, n)`."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.width, self.dropout = width, dropout

    def dropped(self, x: Tensor, like: Tensor) -> Tensor:
        """`x` times a mask of inverted dropout of the shape of `like` in training, else `x`.

        The mask is made from uniform numbers, because torch draws Bernoulli numbers one by one.
        """
        if not (self.training and self.dropout):
            return x
        return x * ((torch.rand_like(like) >= self.dropout).to(like) / (1 - self.dropout))


class PointsFirst(ImageNetwork):
    """A network of several convolutions. Torch computes them faster on images `(n, c, h, w)`."""

    def forward(self, x: Tensor) -> Tensor:
        _, h, w, n = x.shape
        return self.outputs(x.movedim(-1, 0)).view(n, self.width, -1, h, w).movedim(0, -1).contiguous()

    @abstractmethod
    def outputs(self, x: Tensor) -> Tensor:
        """The outputs, `(n, width * c_out, h, w)`, for images `(n, c_in, h, w)`."""


def convolution(n_in: int, n_out: int, size: int, gain: float) -> nn.Conv2d:
    """A convolution that keeps the size of images, with weights drawn from N(0, gain^2 / fan_in) and biases 0."""
    layer = nn.Conv2d(n_in, n_out, size, padding=size // 2)
    nn.init.normal_(layer.weight, std=gain / (size**2 * n_in) ** 0.5)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class Convolutional(PointsFirst):
    """A 3x3, a 1x1 and a 3x3 convolution with ReLU between them (Kingma & Dhariwal 2018, appendix B).

    Deviations: there is no actnorm in the network, and dropout acts on whole hidden channels.
    """

    def __init__(self, n_in: int, n_out: int, width: int, hidden: int, dropout: float) -> None:
        super().__init__(width, dropout)
        self.first = convolution(n_in, hidden, 3, RELU_GAIN)
        self.middle = convolution(hidden, hidden, 1, RELU_GAIN)
        self.last = convolution(hidden, width * n_out, 3, 0.0)

    def outputs(self, x: Tensor) -> Tensor:
        h = torch.relu(self.middle(torch.relu(self.first(x))))
        value: Tensor = self.last(self.dropped(h, h[:, :, :1, :1]))
        return value


class Residual(PointsFirst):
    """A residual network (He et al. 2016) with ReLU, as in Dinh et al. 2017, section 4.1.

    A 3x3 convolution, `blocks` residual blocks of two 3x3 convolutions, and a 1x1 convolution. Deviations: there is no
    batch normalization and no weight normalization in the network, and dropout acts on whole hidden channels.
    """

    def __init__(self, n_in: int, n_out: int, width: int, hidden: int, blocks: int, dropout: float) -> None:
        super().__init__(width, dropout)
        self.first = convolution(n_in, hidden, 3, 1.0)
        gains = [RELU_GAIN, RELU_GAIN / (2 * blocks) ** 0.5]
        self.inner, self.outer = (
            nn.ModuleList(convolution(hidden, hidden, 3, gain) for _ in range(blocks)) for gain in gains
        )
        self.last = convolution(hidden, width * n_out, 1, 0.0)

    def outputs(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for inner, outer in zip(self.inner, self.outer, strict=True):
            a = torch.relu(inner(torch.relu(h)))
            h = h + outer(self.dropped(a, a[:, :, :1, :1]))
        value: Tensor = self.last(torch.relu(h))
        return value


class Bottleneck(ImageNetwork):
    """A 3x3 convolution plus a dense bottleneck that mixes all places, then a 1x1 convolution, with SiLU.

    Each place has a bias, so that the network can distinguish places. Dropout acts on the units of the bottleneck and
    on whole channels. This network is no paper's: on small images it reaches a given likelihood sooner than the
    convolutions of the papers, because it sees the whole image.
    """

    def __init__(
        self, n_in: int, n_out: int, size: tuple[int, int], width: int, hidden: int, dense: int, dropout: float
    ) -> None:
        super().__init__(width, dropout)
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
        units = self.dropped(units, units)
        channels = F.silu(torch.addmm(local, self.spread.weight, units)).view(len(self.kernel), -1, n)
        channels = self.dropped(channels, channels[:, :1])
        value = torch.addmm(self.last.bias.unsqueeze(1), self.last.weight, channels.flatten(1))
        return value.view(self.width, -1, h, w, n)
