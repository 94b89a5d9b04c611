"""What the tests of cold diffusion share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.cold_diffusion.cold_diffusion import ColdDiffusion


def make_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_context(shape: tuple[int, ...] = (2,), n_train: int = 4_000, **fields: object) -> trilemma.Context:
    kind = "vector" if len(shape) == 1 else "image"
    support = None if kind == "vector" else (0.0, 1.0)
    info = trilemma.DataInfo(name="toy", kind=kind, shape=shape, n_train=n_train, support=support)
    return trilemma.Context(info=info, device=torch.device("cpu"), generator=make_generator(3), **fields)


@pytest.fixture
def generator() -> Callable[..., torch.Generator]:
    """A seeded generator: `generator(seed=0)`."""
    return make_generator


@pytest.fixture
def context() -> Callable[..., trilemma.Context]:
    """What a model is handed on data of a shape: `context(shape=(2,), n_train=4_000, **fields)`."""
    return make_context


@pytest.fixture
def normal() -> Callable[..., Tensor]:
    """Standard normal points, float64: `normal(shape, seed)`."""

    def draw(shape: tuple[int, ...], seed: int) -> Tensor:
        return torch.randn(shape, generator=make_generator(seed), dtype=torch.float64)

    return draw


@pytest.fixture
def corners() -> Callable[..., Tensor]:
    """Four Gaussians of spread .2 at (+-1, +-1), standardized but for the spread: `corners(n, seed)`."""

    def draw(n: int, seed: int) -> Tensor:
        side = 2.0 * torch.randint(0, 2, (n, 2), generator=make_generator(seed)) - 1
        return side + 0.2 * torch.randn((n, 2), generator=make_generator(seed + 50))

    return draw


@pytest.fixture
def trained() -> Callable[..., ColdDiffusion]:
    """A model trained for some steps, its validation points far from the data: `trained(kind, x, steps, **options)`."""

    def train(kind: type[ColdDiffusion], x: Tensor, steps: int, **options: object) -> ColdDiffusion:
        model = kind(kind.Config(**options))
        recipe = kind.recipe.model_copy(update={"batch_size": 256, "keep": "last"})
        clock = trilemma.Clock(trilemma.Budget(steps=steps))
        far = trilemma.Split(x[:100] + 50)
        model.fit(trilemma.Split(x), make_context(tuple(x.shape[1:]), len(x), clock=clock, recipe=recipe, valid=far))
        return model

    return train
