"""What tests of metrics share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

Array = NDArray[np.float64]


@pytest.fixture(scope="session")
def known(module_of: Callable[[Path], ModuleType]) -> ModuleType:
    """The module `known.py`: distributions, datasets and models with closed forms."""
    return module_of(Path(__file__).with_name("known.py"))


@pytest.fixture(scope="session")
def planted(module_of: Callable[[Path], ModuleType]) -> ModuleType:
    """The module `planted.py`: samplers of the true distribution with a planted defect."""
    return module_of(Path(__file__).with_name("planted.py"))


@pytest.fixture(scope="session")
def clouds() -> Callable[..., tuple[Array, Array]]:
    """Two sets of points, one of them wider and off the center: `clouds(n, d, seed=0)`."""

    def draw(n: int, d: int, seed: int = 0) -> tuple[Array, Array]:
        rng = np.random.default_rng(seed)
        return rng.standard_normal((n, d)), 0.5 + 1.5 * rng.standard_normal((n, d))

    return draw
