"""What the tests of models share."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import trilemma


def make_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_context(shape: tuple[int, ...] = (2,), n_train: int = 4_000, **fields: object) -> trilemma.Context:
    kind = "vector" if len(shape) == 1 else "image"
    support = None if kind == "vector" else (0.0, 1.0)
    info = trilemma.DataInfo(name="toy", kind=kind, shape=shape, n_train=n_train, support=support)
    return trilemma.Context(info=info, device=torch.device("cpu"), generator=make_generator(3), **fields)


@pytest.fixture(scope="session")
def generator() -> Callable[..., torch.Generator]:
    """A seeded generator: `generator(seed=0)`."""
    return make_generator


@pytest.fixture(scope="session")
def context() -> Callable[..., trilemma.Context]:
    """What a model is handed on data of a shape: `context(shape=(2,), n_train=4_000, **fields)`."""
    return make_context


class NarrowModes:
    """Two narrow Gaussians at `centers` in two dimensions: the velocity between them is steep, and all is known."""

    centers = torch.tensor([[0.9, 0.45], [-0.9, -0.45]], dtype=torch.float64)
    width = 0.05

    def parts(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The log-density of x with noise, for each of the two, `(n, 2)`."""
        variance = (self.width**2 + sigma.double() ** 2).reshape(-1, 1)
        squares = (x.double().unsqueeze(1) - self.centers).square().sum(2)
        return -squares / (2 * variance) - (2 * math.pi * variance).log() - math.log(2)

    def log_prob(self, x: Tensor, sigma: float = 0.0) -> Tensor:
        """The log-density of points `(n, 2)` with noise of the noise level `sigma`."""
        return self.parts(x, torch.tensor(sigma)).logsumexp(1)

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The exact denoiser."""
        center = self.parts(x, sigma).softmax(1) @ self.centers
        kept = self.width**2 / (self.width**2 + sigma.double().reshape(-1, 1) ** 2)
        return (center + kept * (x.double() - center)).to(x)

    def points(self) -> Tensor:
        """Points between the modes, where paths are rough, and points in a mode, in turns, `(40, 2)`."""
        along = torch.linspace(-0.3, 0.3, 20, dtype=torch.float64).unsqueeze(1)
        between = along * torch.tensor([1.0, -2.0]) + along.flip(0) * self.centers[:1] * 0.2
        within = self.centers[0] + self.width * torch.cat([along, along.flip(0)], 1) * 5
        return torch.stack([within, between], 1).flatten(0, 1)


@pytest.fixture(scope="session")
def narrow() -> NarrowModes:
    """Data whose probability flow is rough between two modes."""
    return NarrowModes()
