"""Networks that give the parameters of couplings on images.

They map images `(c_in, h, w, n)` to parameters `(width, c_out, h, w, n)`, which are 0 at the start. The points are the
last dimension, so that operations on parameters or channels are vectorized over points. Then the rows of all images
form one row, in which neighboring pixels lie n apart, and a convolution over that row has this dilation.
"""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise

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

    def forward(self, x: Tensor) -> Tensor:
        _, h, w, n = x.shape
        return self.outputs(x).reshape(self.width, -1, h, w, n)

    @abstractmethod
    def outputs(self, x: Tensor) -> Tensor:
        """The outputs of the last layer, `width * c_out` channels in any shape that ends with `(h, w, n)`'s order."""

    def dropped(self, x: Tensor, like: Tensor) -> Tensor:
        """`x` times a mask of inverted dropout of the shape of `like` in training, else `x`.

        The mask is made from uniform numbers, because torch draws Bernoulli numbers one by one.
        """
        if not (self.training and self.dropout):
            return x
        return x * ((torch.rand_like(like) >= self.dropout).to(like) / (1 - self.dropout))


def convolve(x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 3x3 convolution with zero padding of images `(c_in, h, w, n)`, with a kernel `(c_out, c_in, 3, 3)`."""
    c, h, w, n = x.shape
    row = F.conv2d(x.reshape(1, c, h, w * n), kernel, bias, padding=(1, n), dilation=(1, n))
    return row.view(-1, h, w, n)


def kernel3(n_in: int, n_out: int, gain: float) -> nn.Parameter:
    """The kernel of a 3x3 convolution, drawn from N(0, gain^2 / fan_in)."""
    return nn.Parameter(torch.randn(n_out, n_in, 3, 3) * gain / (9 * n_in) ** 0.5)


class Convolutional(ImageNetwork):
    """A 3x3, a 1x1 and a 3x3 convolution with ReLU between them (Kingma & Dhariwal 2018, appendix B).

    Deviations: there is no actnorm in the network, and dropout acts on whole hidden channels.
    """

    def __init__(self, n_in: int, n_out: int, width: int, hidden: int, dropout: float) -> None:
        super().__init__(width, dropout)
        self.first = kernel3(n_in, hidden, RELU_GAIN)
        self.middle = nn.Linear(hidden, hidden)
        self.last = nn.Parameter(torch.zeros(width * n_out, hidden, 3, 3))
        self.biases = nn.ParameterList(torch.zeros(size) for size in (hidden, width * n_out))
        nn.init.normal_(self.middle.weight, std=RELU_GAIN / hidden**0.5)
        nn.init.zeros_(self.middle.bias)

    def outputs(self, x: Tensor) -> Tensor:
        h = torch.relu(convolve(x, self.first, self.biases[0]))
        mixed = torch.addmm(self.middle.bias.unsqueeze(1), self.middle.weight, h.flatten(1))
        h = torch.relu(mixed).view(h.shape)
        return convolve(self.dropped(h, h[:, :1, :1]), self.last, self.biases[1])


class Residual(ImageNetwork):
    """A residual network (He et al. 2016) with ReLU, as in Dinh et al. 2017, section 4.1.

    A 3x3 convolution, `blocks` residual blocks of two 3x3 convolutions, and a 1x1 convolution. Deviations: there is no
    batch normalization and no weight normalization in the network, and dropout acts on whole hidden channels.
    """

    def __init__(self, n_in: int, n_out: int, width: int, hidden: int, blocks: int, dropout: float) -> None:
        super().__init__(width, dropout)
        gains = [1.0] + [RELU_GAIN, RELU_GAIN / (2 * blocks) ** 0.5] * blocks
        self.kernels = nn.ParameterList(
            kernel3(a, b, gain)
            for (a, b), gain in zip(pairwise([n_in] + [hidden] * (1 + 2 * blocks)), gains, strict=True)
        )
        self.biases = nn.ParameterList(torch.zeros(hidden) for _ in self.kernels)
        self.last = nn.Linear(hidden, width * n_out)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def outputs(self, x: Tensor) -> Tensor:
        (kernel, bias), *layers = zip(self.kernels, self.biases, strict=True)
        h = convolve(x, kernel, bias)
        for (kernel1, bias1), (kernel2, bias2) in zip(layers[::2], layers[1::2], strict=True):
            inner = torch.relu(convolve(torch.relu(h), kernel1, bias1))
            h = h + convolve(self.dropped(inner, inner[:, :1, :1]), kernel2, bias2)
        return torch.addmm(self.last.bias.unsqueeze(1), self.last.weight, torch.relu(h).flatten(1))


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
        self.kernel = kernel3(n_in, hidden, SILU_GAIN / 2**0.5)
        self.place = nn.Parameter(torch.zeros(hidden, *size))
        self.squeeze = nn.Linear(n_in * places, dense)
        self.spread = nn.Linear(dense, hidden * places, bias=False)
        self.last = nn.Linear(hidden, width * n_out)
        nn.init.normal_(self.squeeze.weight, std=SILU_GAIN / (n_in * places) ** 0.5)
        nn.init.normal_(self.spread.weight, std=SILU_GAIN / (2 * dense) ** 0.5)
        for parameter in (self.squeeze.bias, self.last.weight, self.last.bias):
            nn.init.zeros_(parameter)

    def outputs(self, x: Tensor) -> Tensor:
        n = x.shape[-1]
        local = convolve(x, self.kernel).view(-1, n) + self.place.view(-1, 1)
        units = F.silu(torch.addmm(self.squeeze.bias.unsqueeze(1), self.squeeze.weight, x.reshape(-1, n)))
        units = self.dropped(units, units)
        channels = F.silu(torch.addmm(local, self.spread.weight, units)).view(len(self.kernel), -1, n)
        channels = self.dropped(channels, channels[:, :1])
        return torch.addmm(self.last.bias.unsqueeze(1), self.last.weight, channels.flatten(1))
