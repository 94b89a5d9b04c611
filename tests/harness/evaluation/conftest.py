"""What tests of evaluations share: a small dataset, and models whose number of network evaluations is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn

import trilemma
from trilemma.harness.evaluation.evaluation import TrainingRecord
from trilemma.harness.evaluation.spaces import Space

Draw = Callable[["Sketch", int, torch.Generator], Tensor]


class Normal(trilemma.Dataset):
    """Points of N(0, I) in two dimensions."""

    name = "normal"

    def load(self) -> trilemma.Splits:
        return trilemma.Splits(*(torch.randn(n, 2, generator=torch.Generator().manual_seed(n)) for n in (60, 50, 40)))


class Sketch(trilemma.Model):
    """A model that samples with a given function of itself, the number of samples and a generator."""

    name = "sketch"

    def __init__(self, draw: Draw, marked: Iterable[nn.Module], **others: object) -> None:
        super().__init__()
        self.marked, self.draw = marked, draw
        vars(self).update(others)

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None: ...

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.draw(self, n, ctx.generator)

    def networks(self) -> Iterable[nn.Module]:
        return self.marked


@pytest.fixture(scope="session")
def sketch() -> Callable[..., trilemma.Evaluation]:
    """`sketch(draw, *networks, **attributes)`: the evaluation of a model that samples with a given function."""

    def evaluate(
        draw: Draw, *networks: nn.Module, marked: Iterable[nn.Module] | None = None, **others: object
    ) -> trilemma.Evaluation:
        dataset = Normal()
        info = trilemma.DataInfo("normal", "vector", (2,), 60, None)
        record = TrainingRecord(seconds=1, wall_seconds=1, steps=None, peak_memory=1, parameters=None)
        model = Sketch(draw, networks if marked is None else marked, **others)
        return trilemma.Evaluation(
            model, dataset, Space.fit(dataset, flatten=True), info, seed=0, device=torch.device("cpu"), training=record
        )

    return evaluate
