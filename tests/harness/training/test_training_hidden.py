"""What a model changes in training besides its tensors is found, and what it does not change is not."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trilemma.harness.training.hidden import Footprint


class Parts(nn.Module):
    """A module with attributes of many kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(2, 2)
        self.register_buffer("mean", torch.zeros(2))
        self.count, self.name, self.nothing = 0, "a", None
        self.kept = [torch.zeros(3), {"deep": (torch.ones(1), {1, 2})}]
        self.recent: deque[int] = deque(maxlen=3)
        self.beside = [nn.Linear(2, 2)]
        self.again = [self.net]
        self.array = np.zeros(3)
        self.generators = [torch.Generator().manual_seed(0), random.Random(0), np.random.default_rng(0)]
        self.helper = Helper()
        self.function = self.net.forward
        self.myself = [self]

    @cached_property
    def cached(self) -> float:
        return 1.0


class Helper:
    """An object that is no module."""

    def __init__(self) -> None:
        self.calls = 0


def train(module: Parts) -> None:
    with torch.no_grad():
        module.net.weight.add_(1)
        module.mean.add_(1)
    module.net.weight.grad = torch.ones(2, 2)
    assert module.cached
    module.train()


def test_training_of_tensors_leaves_no_other_trace() -> None:
    module = Parts().eval()
    before = Footprint(module)
    train(module)
    assert before.changed() == []


CHANGES: dict[str, tuple[str, Callable[[Parts], Any]]] = {
    "a number": ("count", lambda m: setattr(m, "count", 1)),
    "a number of a module inside": ("net.in_features", lambda m: setattr(m.net, "in_features", 3)),
    "from nothing": ("nothing", lambda m: setattr(m, "nothing", 1)),
    "a new attribute": ("new", lambda m: setattr(m, "new", None)),
    "a lost attribute": ("name", lambda m: delattr(m, "name")),
    "a tensor in place": ("kept", lambda m: m.kept[0].add_(1)),
    "a tensor replaced": ("kept", lambda m: m.kept.__setitem__(0, torch.zeros(4))),
    "deep inside": ("kept", lambda m: m.kept[1]["deep"][1].add(3)),
    "an element more": ("recent", lambda m: m.recent.append(1)),
    "a network in a list": ("beside", lambda m: m.beside[0].weight.data.add_(1)),
    "an array": ("array", lambda m: m.array.__setitem__(0, 1.0)),
    "a generator of torch": ("generators", lambda m: torch.randn(1, generator=m.generators[0])),
    "a generator of Python": ("generators", lambda m: m.generators[1].random()),
    "a generator of numpy": ("generators", lambda m: m.generators[2].random()),
    "an object": ("helper", lambda m: setattr(m.helper, "calls", 1)),
    "an iterator": ("stream", lambda m: setattr(m, "stream", iter([1, 2]))),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_found_and_named(what: str) -> None:
    module = Parts()
    name, change = CHANGES[what]
    before = Footprint(module)
    with torch.no_grad():
        change(module)
    assert before.changed() == [name]


def test_an_iterator_always_counts_as_changed() -> None:
    module = Parts()
    module.stream = iter([1, 2])  # type: ignore[assignment]
    assert Footprint(module).changed() == ["stream"]
