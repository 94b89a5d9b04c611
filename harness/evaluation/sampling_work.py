"""The counted work of drawing samples: network evaluations and FLOPs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from torch import nn

from ..contracts.model import Model
from ..errors import UnsupportedError
from .calls import CallCounter, Draw
from .nfe import CountedDraw, Nfe, evaluations

SMALL = 19
"""Samples of the draw in which operations are counted: few, and a number that is rarely the size of something else."""
LARGE = 997
"""The largest number of samples of a second such draw, for networks that are counted by the use of their weights."""
ALLOWED = 2e10
"""FLOPs and written values that the second draw may take, about."""


class SamplingWork:
    """Counts the work of one model with one sampler setting.

    `draw(n, part)` draws `n` samples; each `part` is independent. `draws` are the draws of samples that metrics use.
    """

    def __init__(self, model: Model, draw: Callable[[int, int], object]) -> None:
        self.draws: list[Draw] = []
        self._model, self._draw = model, draw
        self._calls: CallCounter | None = None
        self._counted: CountedDraw | UnsupportedError | None = None
        self._large: CountedDraw | None = None
        self._repeated: Draw | None = None

    @property
    def calls(self) -> CallCounter:
        """The counter of the calls of the networks."""
        if self._calls is None:
            self._calls = CallCounter(self._model.networks())
        return self._calls

    @contextlib.contextmanager
    def observed(self, n: int) -> Iterator[None]:
        """Count the calls of the networks inside the block, in which `n` samples are drawn for metrics."""
        with self.calls.observed(n) as draw:
            yield
        self.draws.append(draw)

    def counted(self) -> CountedDraw:
        """A small draw in which all operations are counted.

        An error of the model is raised as it is. Raises UnsupportedError if only counting fails.
        """
        if self._counted is None:
            try:
                self._counted = self._count(SMALL, 0)
            except Exception as error:
                self._draw(SMALL, 0)
                message = f"the operations of model '{self._model.name}' cannot be counted: {error}"
                self._counted = UnsupportedError(message)
        if isinstance(self._counted, UnsupportedError):
            raise self._counted
        return self._counted

    def nfe(self) -> Nfe:
        """Network evaluations per sample, from the draws so far."""
        if not self.calls.networks:
            return Nfe(None, {"unknown": "the model marks no network"})
        counted: CountedDraw | None = None
        with contextlib.suppress(UnsupportedError):
            counted = self.counted()
        if self._repeated is None:
            with self.calls.observed(SMALL) as self._repeated:
                self._draw(SMALL, 1)
        repeated = [self._repeated] if counted is None else [counted.draw, self._repeated]
        return evaluations(self.draws, [*self.draws, *repeated], counted, self._larger)

    def _larger(self) -> CountedDraw:
        if self._large is None:
            self._large = self._count(int(max(SMALL, min(LARGE, ALLOWED // self.counted().work))), 2)
        return self._large

    def _count(self, n: int, part: int) -> CountedDraw:
        model = self._model
        modules = (
            [model] if isinstance(model, nn.Module) else [v for v in vars(model).values() if isinstance(v, nn.Module)]
        )
        return CountedDraw(self.calls, modules, n, lambda size: self._draw(size, part))
