"""What tests of metrics share."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

Array = NDArray[np.float64]


@contextmanager
def loaded(file: str) -> Iterator[ModuleType]:
    """A module of this folder."""
    spec = importlib.util.spec_from_file_location(f"{file}_of_tests_of_metrics", Path(__file__).with_name(f"{file}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="session")
def known() -> Iterator[ModuleType]:
    """The module `known.py`: distributions, datasets and models with closed forms."""
    with loaded("known") as module:
        yield module


@pytest.fixture(scope="session")
def planted() -> Iterator[ModuleType]:
    """The module `planted.py`: samplers of the true distribution with a planted defect."""
    with loaded("planted") as module:
        yield module


@pytest.fixture(scope="session")
def clouds() -> Callable[..., tuple[Array, Array]]:
    """Two sets of points, one of them wider and off the center: `clouds(n, d, seed=0)`."""

    def draw(n: int, d: int, seed: int = 0) -> tuple[Array, Array]:
        rng = np.random.default_rng(seed)
        return rng.standard_normal((n, d)), 0.5 + 1.5 * rng.standard_normal((n, d))

    return draw
