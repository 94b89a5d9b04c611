"""What the tests of models share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

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
