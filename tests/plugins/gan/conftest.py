"""What the tests of adversarial models share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.gan.game import AdversarialModel


def make_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_context(shape: tuple[int, ...] = (2,), **fields: object) -> trilemma.Context:
    kind = "image" if len(shape) == 3 else "vector"
    info = trilemma.DataInfo(name="toy", kind=kind, shape=shape, n_train=2_000)
    return trilemma.Context(info=info, device=torch.device("cpu"), generator=make_generator(3), **fields)


@pytest.fixture
def generator() -> Callable[..., torch.Generator]:
    """A seeded generator: `generator(seed=0)`."""
    return make_generator


@pytest.fixture
def context() -> Callable[..., trilemma.Context]:
    """What a model is handed on data of a shape: `context(shape=(2,), **fields)`."""
    return make_context


@pytest.fixture
def built() -> Callable[..., AdversarialModel]:
    """A model with its networks, always the same weights: `built(model, shape=(2,))`."""

    def build(model: AdversarialModel, shape: tuple[int, ...] = (2,)) -> AdversarialModel:
        torch.manual_seed(0)
        model.build(make_context(shape).info)
        return model

    return build


@pytest.fixture
def train() -> Callable[..., trilemma.Context]:
    """Train a model on points for some steps: `train(model, x, steps)`."""

    def fit(model: AdversarialModel, x: Tensor, steps: int) -> trilemma.Context:
        clock = trilemma.Clock(trilemma.Budget(steps=steps))
        ctx = make_context(tuple(x.shape[1:]), clock=clock, recipe=model.recipe, valid=trilemma.Split(x))
        model.fit(trilemma.Split(x), ctx)
        return ctx

    return fit
