"""What the tests of cold diffusion share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.cold_diffusion.cold_diffusion import ColdDiffusion


@pytest.fixture
def normal(generator: Callable[..., torch.Generator]) -> Callable[..., Tensor]:
    """Standard normal points, float64: `normal(shape, seed)`."""

    def draw(shape: tuple[int, ...], seed: int) -> Tensor:
        return torch.randn(shape, generator=generator(seed), dtype=torch.float64)

    return draw


@pytest.fixture
def corners(generator: Callable[..., torch.Generator]) -> Callable[..., Tensor]:
    """Four Gaussians of spread .2 at (+-1, +-1), standardized but for the spread: `corners(n, seed)`."""

    def draw(n: int, seed: int) -> Tensor:
        side = 2.0 * torch.randint(0, 2, (n, 2), generator=generator(seed)) - 1
        return side + 0.2 * torch.randn((n, 2), generator=generator(seed + 50))

    return draw


@pytest.fixture
def trained(context: Callable[..., trilemma.Context]) -> Callable[..., ColdDiffusion]:
    """A model trained for some steps, its validation points far from the data: `trained(kind, x, steps, **options)`."""

    def train(kind: type[ColdDiffusion], x: Tensor, steps: int, **options: object) -> ColdDiffusion:
        model = kind(kind.Config(**options))
        recipe = kind.recipe.model_copy(update={"batch_size": 256, "keep": "last"})
        clock = trilemma.Clock(trilemma.Budget(steps=steps))
        far = trilemma.Split(x[:100] + 50)
        model.fit(trilemma.Split(x), context(tuple(x.shape[1:]), len(x), clock=clock, recipe=recipe, valid=far))
        return model

    return train
