"""Fixtures of the tests of flow maps: Gaussian data, whose flow map, velocity and density are known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.flow_maps.networks import Direction, MapNetwork

VARIANCES = torch.tensor([2.0, 0.5, 0.05], dtype=torch.float64)
AXES = torch.linalg.qr(torch.tensor([[1.0, 2.0, 0.5], [0.3, -1.0, 1.0], [-2.0, 0.4, 1.0]], dtype=torch.float64)).Q
COVARIANCE: Tensor = AXES @ VARIANCES.diag() @ AXES.T


def deviations(t: Tensor) -> Tensor:
    """Standard deviations of cos(a) z + sin(a) x along the axes, `(n, 3)`, at the times `t`."""
    angle = torch.pi / 2 * t.unsqueeze(-1)
    return (angle.cos() ** 2 + angle.sin() ** 2 * VARIANCES).sqrt()


class ByAutograd(MapNetwork):
    """A function of x, s and t whose derivatives are those of automatic differentiation."""

    def along(self, x: Tensor, s: Tensor, t: Tensor, direction: Direction) -> tuple[Tensor, Tensor]:
        moved = tuple(torch.zeros_like(a) if d is None else d for a, d in zip((x, s, t), direction, strict=True))
        value, rate = torch.func.jvp(self.forward, (x, s, t), moved)[:2]
        return value, rate


class GaussianMap(ByAutograd):
    """The exact average velocity for N(0, COVARIANCE): a point keeps its place in deviations along each axis.

    `off` multiplies the velocity, for maps that are wrong.
    """

    def __init__(self, off: float | Tensor = 1.0) -> None:
        super().__init__()
        self.off = off

    def forward(self, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
        x, s, t = x.double(), s.double(), t.double()
        same = (t - s).abs() < 1e-9
        safe = torch.where(same, s + 0.1, t)
        average = (deviations(safe) / deviations(s) - 1) / (safe - s).unsqueeze(-1)
        angle = torch.pi / 2 * s.unsqueeze(-1)
        rate = torch.pi / 2 * angle.sin() * angle.cos() * (VARIANCES - 1) / deviations(s) ** 2
        value: Tensor = self.off * (x @ AXES * torch.where(same.unsqueeze(-1), rate, average)) @ AXES.T
        return value


class GaussianHead(ByAutograd):
    """The exact mean divergence between two times for N(0, COVARIANCE): the change of the log-volume over the time."""

    def forward(self, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
        change = (deviations(t).log() - deviations(s).log()).sum(-1)
        value: Tensor = (change / (t - s)).unsqueeze(-1)
        return value


@pytest.fixture(scope="session")
def gaussian_map() -> Callable[..., GaussianMap]:
    """A function that makes the exact map of the Gaussian data, or one whose velocity is `off` times that."""
    return GaussianMap


@pytest.fixture(scope="session")
def gaussian_head() -> GaussianHead:
    """The exact divergence head of the Gaussian data."""
    return GaussianHead()


@pytest.fixture(scope="session")
def covariance() -> Tensor:
    """The covariance of the Gaussian data."""
    return COVARIANCE


@pytest.fixture(scope="session")
def draws() -> Callable[[int], tuple[Tensor, Tensor, Tensor, Tensor]]:
    """A function that draws `n` points of the Gaussian data, noise, and two times between .02 and .98, float64."""

    def draw(n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        g = torch.Generator().manual_seed(0)
        x, z = (torch.randn((n, 3), generator=g, dtype=torch.float64) for _ in range(2))
        s, t = (0.02 + 0.96 * torch.rand(n, generator=g, dtype=torch.float64) for _ in range(2))
        return x * VARIANCES.sqrt() @ AXES.T, z, s, t

    return draw


@pytest.fixture(scope="session")
def context() -> Callable[..., trilemma.Context]:
    """A function that makes a context for points of a shape."""

    def make(shape: tuple[int, ...] = (3,), seed: int = 3, **fields: object) -> trilemma.Context:
        kind, levels = ("image", 4) if len(shape) == 3 else ("vector", None)
        info = trilemma.DataInfo(name="toy", kind=kind, shape=shape, n_train=4_000, levels=levels, support=(-2.0, 2.0))  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(seed)
        return trilemma.Context(info=info, device=torch.device("cpu"), generator=generator, **fields)  # type: ignore[arg-type]

    return make
