"""A `fit` that draws from the global generators repeats, and leaves them as they were."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

import trilemma
from trilemma.harness.conformance.distributions import ThreeGaussians
from trilemma.harness.execution.stages import prepare, train


class Library(trilemma.Model):
    """Its fit draws from every global generator, as libraries do."""

    name = "library"

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self.drawn = torch.tensor([torch.rand(()).item(), np.random.rand(), random.random()])

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return torch.zeros(n, *ctx.info.shape)

    def state(self) -> dict[str, Tensor]:
        return {"drawn": self.drawn}


def drawn(seed: int) -> list[float]:
    model = Library()
    prepared = prepare(model, ThreeGaussians(ThreeGaussians.Config(n_train=10, n_valid=10, n_test=10)))
    budget = trilemma.Budget(steps=1)
    trained = train(model, prepared, recipe=trilemma.Recipe(), budget=budget, seed=seed, device=torch.device("cpu"))
    assert trained.state is not None
    return trained.state["drawn"].tolist()


def states() -> tuple[Any, ...]:
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]


def test_a_fit_that_draws_from_the_global_generators_repeats_and_leaves_them_as_they_were() -> None:
    before = states()
    first, other = drawn(0), drawn(1)
    assert states() == before
    np.random.rand(), random.random(), torch.rand(1)
    assert drawn(0) == first
    assert not set(first) & set(other)
