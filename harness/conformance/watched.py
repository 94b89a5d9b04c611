"""What is noted of a training: the splits that it gets, the steps of its optimizers, and the datasets that it makes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from ..contracts.dataset import Dataset
from ..contracts.model import Model, Split
from ..execution.stages import Prepared


@dataclass(frozen=True)
class Watched(Prepared):
    """A prepared dataset that keeps the splits that a model gets, to see whether the model writes into them."""

    given: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def split(self, name: str) -> Split:
        made = super().split(name)
        self.given[name] = made.x, made.x.clone()
        return made

    def changed(self) -> list[str]:
        """The names of the splits that were changed."""
        return [name for name, (x, before) in self.given.items() if not torch.equal(x, before)]


@dataclass(frozen=True)
class Short:
    """A model that was trained for few steps: the steps that optimizers took, and the datasets that it made."""

    model: Model
    taken: int
    made: frozenset[str] = frozenset()


@contextmanager
def optimizer_steps() -> Iterator[list[None]]:
    """The steps that all optimizers of torch take inside the block, an entry each."""
    taken: list[None] = []
    handle = register_optimizer_step_post_hook(lambda *arguments: taken.append(None))
    try:
        yield taken
    finally:
        handle.remove()


@contextmanager
def datasets_made() -> Iterator[list[str]]:
    """The names of the datasets that are made or loaded inside the block."""
    made: list[str] = []
    init = Dataset.__init__

    def noted(self: Dataset, config: Any = None) -> None:
        made.append(type(self).__name__)
        init(self, config)

    Dataset.__init__ = noted  # type: ignore[method-assign]
    try:
        yield made
    finally:
        Dataset.__init__ = init  # type: ignore[method-assign]
