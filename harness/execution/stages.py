"""The two stages of a cell, training and evaluation: data preparation, seeds, training, and restoring a trained model.

The identities of cells and evaluations cover the code that these functions reach (see `planning.cell`).
"""

from __future__ import annotations

import math
import random
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..contracts.budget import Budget, Clock
from ..contracts.checkpoints import Checkpoints
from ..contracts.dataset import Dataset
from ..contracts.model import Context, DataInfo, Model, Split, no_progress
from ..contracts.recipe import Recipe
from ..errors import UnsupportedError
from ..evaluation.cost import peak_memory, reset_peak_memory
from ..evaluation.evaluation import TrainingRecord
from ..evaluation.spaces import Space
from ..evaluation.truth import DatasetTruth, seeded

_SPLIT_SEEDS = {"train": 1, "valid": 2}


@dataclass(frozen=True)
class Prepared:
    """A dataset prepared for one model: its model space and its description."""

    dataset: Dataset
    space: Space
    info: DataInfo

    def split(self, name: str) -> Split:
        """The training or validation split in model space. Training points of images can be dequantized again."""
        points = self.dataset.splits.train if name == "train" else self.dataset.splits.valid
        generator = torch.Generator().manual_seed(_SPLIT_SEEDS[name])

        def redraw(index: Tensor, generator: torch.Generator) -> Tensor:
            return self.space.to_model(self.space.dequantize(points[index], generator)[0])[0].float()

        quantized = name == "train" and self.dataset.levels is not None
        return Split(redraw(torch.arange(len(points)), generator), redraw if quantized else None)

    def truth(self, model: Model) -> DatasetTruth | None:
        """The true distribution, for models with `needs_truth`, else None."""
        return DatasetTruth(self.dataset, self.space) if model.needs_truth else None


def hold_out(dataset: Dataset, choice: Mapping[str, Any]) -> None:
    """Put the validation split in the place of the test split if the record of the dataset's choice says so."""
    if choice.get("held_out") == "valid":
        dataset.__dict__["splits"] = replace(dataset.splits, test=dataset.splits.valid)


def prepare(model: Model, dataset: Dataset) -> Prepared:
    """Prepare a dataset for one model.

    Raises UnsupportedError if the model does not accept data of this kind.
    """
    flatten = len(dataset.shape) > 1 and dataset.kind not in model.accepts
    if dataset.kind not in model.accepts and "vector" not in model.accepts:
        raise UnsupportedError(f"model '{model.name}' accepts {', '.join(model.accepts)} data only")
    space = Space.fit(dataset, flatten=flatten, image_space=model.image_space)
    info = DataInfo(
        name=dataset.name,
        kind="vector" if flatten else dataset.kind,
        shape=(math.prod(dataset.shape),) if flatten else dataset.shape,
        n_train=len(dataset.splits.train),
        levels=dataset.levels,
        support=space.support,
        to_model=lambda x: space.to_model(x)[0],
    )
    return Prepared(dataset, space, info)


@dataclass(frozen=True)
class Trained:
    """The records of a training: its cost, the trace for a rerun, the state of the model, details and curves."""

    training: TrainingRecord
    trace: dict[str, Any] | None
    state: dict[str, Tensor] | None
    details: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)


def train(
    model: Model,
    prepared: Prepared,
    *,
    recipe: Recipe,
    budget: Budget,
    seed: int,
    device: torch.device,
    replay: dict[str, Any] | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Callable[[float, str], None] = no_progress,
) -> Trained:
    """Train a model within a budget. `replay` is the trace of an earlier training with a budget in seconds.

    With `checkpoints`, a neural model goes on from its stored state. Seconds and memory are those of all its processes.
    """
    clock = Clock(budget, now=clock_of(device), replay=replay)
    context = Context(
        info=prepared.info,
        device=device,
        generator=seeded(device, seed, 3),
        recipe=recipe,
        valid=prepared.split("valid"),
        clock=clock,
        checkpoints=checkpoints,
        truth=prepared.truth(model),
        progress=progress,
    )
    points = prepared.split("train")
    reset_peak_memory()
    wall = time.perf_counter()
    clock.start()  # the budget covers all of `fit`, so what a model sets up before its first step too
    with global_seed(device, seed):
        model.fit(points, context)
    seconds, wall = clock.seconds, time.perf_counter() - wall
    memory = peak_memory()
    # A repeat takes the same steps at another speed, so the seconds of the first training count against the budget.
    charged = (replay or {}).get("seconds", seconds)
    training = TrainingRecord(
        seconds=seconds,
        wall_seconds=wall + (checkpoints.wall_seconds if checkpoints is not None else 0.0),
        steps=clock.taken or None,
        peak_memory=max(memory, checkpoints.peak_memory if checkpoints is not None else 0),
        parameters=sum(p.numel() for p in model.parameters()) if isinstance(model, nn.Module) else None,
        batch_size=min(recipe.batch_size, prepared.info.n_train) if clock.taken else None,
        charged=charged,
    )
    trace = {**clock.trace, "seconds": charged} if clock.taken else None
    return Trained(training, trace, model.state(), context.details, context.curves)


@contextmanager
def global_seed(device: torch.device, seed: int) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python inside the block, and restore their states after it.

    Libraries that a `fit` calls may draw from them, so that training is the same for the same seed.
    """
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        number = seeded(torch.device("cpu"), seed, 5).initial_seed()
        torch.manual_seed(number)
        random.seed(number)
        np.random.seed(number % 2**32)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def restore(model: Model, prepared: Prepared, state: dict[str, Tensor], device: torch.device) -> None:
    """Load the state of a training into a new model."""
    with torch.random.fork_rng(devices=[]):
        model.prepare(prepared.info)
    model.load_state({name: value.to(device) for name, value in state.items()})
    if isinstance(model, nn.Module):
        model.to(device)
        model.eval()


def clock_of(device: torch.device) -> Callable[[], float]:
    """The clock of budgets: CPU seconds of this process and its ended children; synchronized wall seconds on a GPU."""

    def gpu_seconds() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    def cpu_seconds() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    return gpu_seconds if device.type == "cuda" else cpu_seconds
