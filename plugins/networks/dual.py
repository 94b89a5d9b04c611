"""Derivatives of a network in a direction, carried forward with its values (forward-mode differentiation).

A layer is applied to a value and its rate together. This costs about two evaluations of the network, and the weights
get gradients through both. torch.func.jvp gives the same at several times the cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .mlp import FourierFeatures


@dataclass(frozen=True)
class Dual:
    """A value and its derivative in a direction, of the same shape."""

    value: Tensor
    rate: Tensor

    def __add__(self, other: Dual) -> Dual:
        return Dual(self.value + other.value, self.rate + other.rate)

    def __mul__(self, other: Dual) -> Dual:
        return Dual(self.value * other.value, self.value * other.rate + self.rate * other.value)

    def each(self, function: Callable[[Tensor], Tensor]) -> Dual:
        """A linear function, such as a change of the shape, of the value and of the rate."""
        return Dual(function(self.value), function(self.rate))


def joined(one: Dual, other: Dual) -> Dual:
    """The two in one, side by side in features or channels."""
    value, rate = torch.cat([one.value, other.value], dim=1), torch.cat([one.rate, other.rate], dim=1)
    return Dual(value, rate)


def through(layer: nn.Module, x: Dual) -> Dual:
    """What a layer, or layers in a row, give at `x`. Raises TypeError for a layer whose derivative is not known."""
    match layer:
        case nn.Sequential():
            for part in layer:
                x = through(part, x)
            return x
        case nn.Identity():
            return x
        case nn.Linear():
            return Dual(layer(x.value), nn.functional.linear(x.rate, layer.weight))
        case nn.Conv2d():
            rate = nn.functional.conv2d(x.rate, layer.weight, None, layer.stride, layer.padding)
            return Dual(layer(x.value), rate)
        case nn.ConvTranspose2d():
            rate = nn.functional.conv_transpose2d(x.rate, layer.weight, None, layer.stride)
            return Dual(layer(x.value), rate)
        case nn.SiLU():
            return silu(x)
        case nn.Dropout():
            kept = layer(torch.ones_like(x.value))
            return Dual(kept * x.value, kept * x.rate)
        case nn.GroupNorm(num_groups=1):
            return layer_norm(layer, x)
        case FourierFeatures():
            return fourier(layer, x)
    raise TypeError(f"the derivative of a layer of the type {type(layer).__name__} is not known")


def silu(x: Dual) -> Dual:
    """x sigmoid(x)."""
    share = torch.sigmoid(x.value)
    value = x.value * share
    return Dual(value, x.rate * (share + value * (1 - share)))


def layer_norm(layer: nn.GroupNorm, x: Dual) -> Dual:
    """The normalization of all channels and pixels `(n, channels, height, width)` of a point together."""
    centered, moved = (part - part.mean((1, 2, 3), keepdim=True) for part in (x.value, x.rate))
    scale = (centered.square().mean((1, 2, 3), keepdim=True) + layer.eps).rsqrt()
    unit = scale * centered
    rate = scale * (moved - unit * (unit * moved).mean((1, 2, 3), keepdim=True))
    weight, bias = (parameter.reshape(-1, 1, 1) for parameter in (layer.weight, layer.bias))
    return Dual(unit * weight + bias, rate * weight)


def fourier(layer: FourierFeatures, x: Dual) -> Dual:
    """The coordinates `(n, d)` with their sines and cosines."""
    frequencies = layer.frequencies.to(x.value)
    phases, rates = ((part.unsqueeze(-1) * frequencies).flatten(1) for part in (x.value, x.rate))
    sine, cosine = phases.sin(), phases.cos()
    value = torch.cat([x.value, sine, cosine], dim=1)
    return Dual(value, torch.cat([x.rate, cosine * rates, -sine * rates], dim=1))
