"""The networks of flow maps: functions v(x, s, t) of a point and two times, with their derivatives in directions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..networks.dual import Dual, joined, through
from ..networks.mlp import FourierFeatures, initialize, mlp
from ..networks.points import per_point
from ..networks.unet import UNet
from .times import QUARTER, label_rate, time_label

Direction = tuple[Tensor | None, Tensor | None, Tensor | None]
"""A direction (dx, ds, dt) in which a network is differentiated, of the shapes `(n, *shape)`, `(n,)` and `(n,)`."""


class MapNetwork(nn.Module, ABC):
    """A function v(x, s, t) of points `(n, *shape)` at the times `s` and of the times `t`, both `(n,)`.

    In a flow map it is the average velocity between the two times, and the instantaneous velocity where they are equal.
    """

    @abstractmethod
    def forward(self, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
        """v(x, s, t), `(n, *outputs)`."""

    @abstractmethod
    def along(self, x: Tensor, s: Tensor, t: Tensor, direction: Direction) -> tuple[Tensor, Tensor]:
        """v(x, s, t) and its derivative in a direction, both `(n, *outputs)` and differentiable in the weights."""

    def instant(self, x: Tensor, t: Tensor) -> Tensor:
        """The instantaneous velocity v(x, t, t), `(n, *outputs)`."""
        value: Tensor = self(x, t, t)
        return value


@contextmanager
def as_evaluated(*networks: nn.Module) -> Iterator[None]:
    """Within it the networks are as in evaluation, without dropout: for targets, to which it would add noise."""
    training = [network.training for network in networks]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for network, mode in zip(networks, training, strict=True):
            network.train(mode)


def gate(s: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """tanh(ln sigma(s) - ln sigma(t)), 0 for equal times, and its derivatives in `s` and in `t`, all `(n,)`."""
    value = (4 * (time_label(s) - time_label(t))).tanh()
    slope = 4 * (1 - value**2)
    return value, slope * label_rate(s), -slope * label_rate(t)


class GatedMap(MapNetwork):
    """v(x, s, t) = b(x, s) + g(s, t) c(x, s, t) with a velocity b, a correction c, and the `gate` g.

    Where the times are equal it is the velocity. In a step the weights of the velocity are constants, so that they are
    trained as a velocity alone.
    """

    def __init__(self, velocity: MapNetwork, correction: MapNetwork) -> None:
        super().__init__()
        self.velocity = velocity
        self.correction = correction

    def instant(self, x: Tensor, t: Tensor) -> Tensor:
        value: Tensor = self.velocity(x, t, t)
        return value

    def forward(self, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
        return self.average(x, s, t, self._start(x, s))

    def average(self, x: Tensor, s: Tensor, t: Tensor, start: Tensor) -> Tensor:
        """v(x, s, t) where the velocity b(x, s) is known to be `start`, `(n, *outputs)`."""
        value: Tensor = start + per_point(gate(s, t)[0], x) * self.correction(x, s, t)
        return value

    def _start(self, x: Tensor, s: Tensor) -> Tensor:
        """The velocity at the start of a step, with constant weights and without dropout."""
        weights = {name: parameter.detach() for name, parameter in self.velocity.named_parameters()}
        with as_evaluated(self.velocity):
            value: Tensor = torch.func.functional_call(self.velocity, weights, (x, s, s))
        return value

    def along(self, x: Tensor, s: Tensor, t: Tensor, direction: Direction) -> tuple[Tensor, Tensor]:
        dx, ds, dt = direction
        if dx is None and ds is None:
            start, rate = self._start(x, s), torch.zeros_like(x)
        else:
            start, rate = self.velocity.along(x, s, s, (dx, ds, ds))
        opening, in_s, in_t = gate(s, t)
        correction, change = self.correction.along(x, s, t, direction)
        moved = (0 if ds is None else in_s * ds) + (0 if dt is None else in_t * dt)
        opened, moved = per_point(opening, x), per_point(torch.as_tensor(moved).expand_as(s), x)
        return start + opened * correction, rate + opened * change + moved * correction


def labels(s: Tensor, t: Tensor, times: int) -> Tensor:
    """What a network sees of the first `times` of the times `s` and `t`, both `(n,)`: their labels `(n, times)`."""
    return torch.stack([time_label(time) for time in (s, t)[:times]], dim=1)


def labels_along(s: Tensor, t: Tensor, direction: Direction, times: int) -> Dual:
    """The `labels` with their derivatives in a direction."""
    rates = [
        torch.zeros_like(time) if change is None else label_rate(time) * change
        for time, change in list(zip((s, t), direction[1:], strict=True))[:times]
    ]
    return Dual(labels(s, t, times), torch.stack(rates, dim=1))


def point_along(x: Tensor, direction: Direction) -> Dual:
    """The points with their derivatives in a direction."""
    return Dual(x, torch.zeros_like(x) if direction[0] is None else direction[0])


class MapMLP(MapNetwork):
    """v(x, s, t) on vectors: an MLP over Fourier features of the point and of the labels of the first `times` times.

    Its outputs are multiplied by pi / 2, so that they have about unit size.
    """

    LABEL_OCTAVES = 3

    def __init__(
        self, d: int, hidden: Sequence[int], *, octaves: int, outputs: int, times: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.times = times
        self.features = FourierFeatures(octaves)
        self.labels = FourierFeatures(self.LABEL_OCTAVES)
        self.body = mlp((self.features.width(d) + self.labels.width(times), *hidden, outputs), dropout)
        initialize(self.body, last_gain=0.3)  # a rough first velocity would carry points far away

    def forward(self, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
        value: Tensor = self.body(torch.cat([self.features(x), self.labels(labels(s, t, self.times))], dim=1))
        return QUARTER * value

    def along(self, x: Tensor, s: Tensor, t: Tensor, direction: Direction) -> tuple[Tensor, Tensor]:
        point = through(self.features, point_along(x, direction))
        label = through(self.labels, labels_along(s, t, direction, self.times))
        found = through(self.body, joined(point, label))
        return QUARTER * found.value, QUARTER * found.rate


class MapUNet(MapNetwork):
    """v(x, s, t) on images: a U-Net that sees the labels of the first `times` times.

    Its outputs are multiplied by pi / 2, so that they have about unit size. With `total` they are summed over pixels
    and channels to one number for each image, as in a divergence.
    """

    def __init__(self, body: UNet, *, times: int = 2, total: bool = False) -> None:
        super().__init__()
        self.body = body
        self.times = times
        self.total = total

    def forward(self, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
        return self._outputs(self.body(x, labels(s, t, self.times)))

    def along(self, x: Tensor, s: Tensor, t: Tensor, direction: Direction) -> tuple[Tensor, Tensor]:
        found = self.body.along(point_along(x, direction), labels_along(s, t, direction, self.times))
        return self._outputs(found.value), self._outputs(found.rate)

    def _outputs(self, raw: Tensor) -> Tensor:
        return QUARTER * (raw.flatten(1).sum(1, keepdim=True) if self.total else raw)
