"""What the tests of adversarial models share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.gan.game import AdversarialModel


@pytest.fixture
def built(context: Callable[..., trilemma.Context]) -> Callable[..., AdversarialModel]:
    """A model with its networks, always the same weights: `built(model, shape=(2,))`."""

    def build(model: AdversarialModel, shape: tuple[int, ...] = (2,)) -> AdversarialModel:
        torch.manual_seed(0)
        model.build(context(shape).info)
        return model

    return build


@pytest.fixture
def train(context: Callable[..., trilemma.Context]) -> Callable[..., trilemma.Context]:
    """Train a model on points for some steps: `train(model, x, steps)`."""

    def fit(model: AdversarialModel, x: Tensor, steps: int) -> trilemma.Context:
        clock = trilemma.Clock(trilemma.Budget(steps=steps))
        ctx = context(tuple(x.shape[1:]), clock=clock, recipe=model.recipe, valid=trilemma.Split(x))
        model.fit(trilemma.Split(x), ctx)
        return ctx

    return fit
