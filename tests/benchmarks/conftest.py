"""What is measured looks for garbage as often as any program."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import torch

gc.set_threshold(700, 10, 10)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread, and the same random numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)
