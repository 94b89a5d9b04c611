"""The costs of a trained model, as metrics see them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..contracts.dataset import Dataset
from ..contracts.model import Context, Model
from ..training.neural import NeuralModel
from .cost import peak_memory, reset_peak_memory
from .flops import training_step_flops
from .nfe import Nfe
from .sampling_work import SamplingWork
from .spaces import Space
from .truth import seeded

if TYPE_CHECKING:
    from .evaluation import TrainingRecord


class Costs(ABC):
    """The part of an evaluation that measures costs: network evaluations, FLOPs and memory."""

    model: Model
    dataset: Dataset
    training: TrainingRecord
    seed: int
    device: torch.device
    sampling_details: dict[str, Any]
    _space: Space

    @abstractmethod
    def samples(self, n: int, draw: int = 0) -> Tensor:
        """Draw samples that metrics use."""

    @abstractmethod
    def draw(self, n: int) -> None:
        """Draw samples and drop them."""

    @abstractmethod
    def _context(self, generator: torch.Generator) -> Context: ...

    @abstractmethod
    def _sample(self, n: int, generator: torch.Generator, check: bool = True) -> Tensor: ...

    @property
    def nfe(self) -> float | None:
        """Network evaluations per sample; None if no marked network is evaluated or the number is not known."""
        return self.counted_nfe.value

    @property
    def counted_nfe(self) -> Nfe:
        """`nfe` with how it was counted, or why it is not known, and with what contradicts it.

        It is that of the network with the most evaluations, in the draw of `samples` with the most, so that replayed
        samples do not lower it. Draws samples if there are none yet.
        """
        if not self.counted_work.draws:
            self.samples(_PROBE_SIZE, draw=_PROBE)
        return self.counted_work.nfe()

    def flops(self) -> tuple[float, list[str]]:
        """FLOPs per sample, and the operations not counted. Raises UnsupportedError if FLOPs cannot be counted."""
        counted = self.counted_work.counted()
        return counted.flops, counted.uncounted

    @property
    def work(self) -> float:
        """FLOPs per sample plus the number of values that all operations write per sample, from one small draw.

        It is a measure of what a sample costs, to choose how many to draw. It depends on no clock, so it is the same in
        each run. Raises UnsupportedError if the operations of the model cannot be observed.
        """
        return self.counted_work.counted().work

    @cached_property
    def counted_work(self) -> SamplingWork:
        """The counter behind `nfe`, `flops` and `work`. Its results are kept."""

        def draw(n: int, part: int) -> None:
            details = self.sampling_details  # those of the samples that metrics use stay
            self._sample(n, seeded(self.device, self.seed, 17, part), check=False)
            self.sampling_details = details

        return SamplingWork(self.model, draw)

    def training_flops(self) -> tuple[float, list[str]] | None:
        """FLOPs of all training steps, and the operations not counted.

        They are the FLOPs of one step on training points times the number of steps. None for models that are not
        trained in steps.
        """
        steps, batch = self.training.steps, self.training.batch_size
        if not isinstance(self.model, NeuralModel) or steps is None or batch is None:
            return None
        points, _ = self._space.dequantize(self.dataset.splits.train[:batch], seeded(torch.device("cpu"), 29))
        x = self._space.to_model(points)[0].float().to(self.device)
        one, uncounted = training_step_flops(self.model, x, self._context(seeded(self.device, self.seed, 31)))
        return one * steps, uncounted

    def peak_memory(self, n: int) -> tuple[int, int]:
        """Peak bytes while `n` samples are drawn, and the bytes in use just before."""
        reset_peak_memory()
        before = peak_memory()
        self.draw(n)
        return peak_memory(), before


_PROBE = 10**6  # number of a draw that no metric uses
_PROBE_SIZE = 251  # a prime number, because the size of a layer is rarely a multiple of one
