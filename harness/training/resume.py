"""The whole state of a training, to store it and to go on from it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from ..contracts.checkpoints import State
from ..contracts.model import Context
from .hidden import Footprint

if TYPE_CHECKING:
    from .neural import NeuralModel


class Stateful(Protocol):
    """A part of a training."""

    def state(self) -> State:
        """All that changes in training."""

    def load_state(self, state: State) -> None:
        """Go on from a state."""


class Resumable:
    """A training of `model` that is stored in `ctx.checkpoints` when a checkpoint is due.

    A training that goes on is first set up as at its start. Its state is therefore what changes afterwards: parameters
    and buffers, the random generators, the `parts`, and what the model adds (`training_state`).
    """

    def __init__(self, model: NeuralModel, ctx: Context, **parts: Stateful) -> None:
        self._model, self._ctx, self._parts = model, ctx, parts
        self._start = None if ctx.checkpoints is None else Footprint(model)

    def resume(self) -> None:
        """Go on from the stored state, if there is one that fits."""
        checkpoints, clock = self._ctx.checkpoints, self._ctx.clock
        state = None if checkpoints is None else checkpoints.load()
        if checkpoints is None or clock is None or state is None:
            return
        if _shapes(state["model"]) != _shapes(_tensors(self._model)):
            checkpoints.reject("its parameters and buffers are not those of the model")
            return
        self._load(state)
        self._ctx.progress(clock.progress, f"resumed at step {clock.step}")

    def visit(self) -> None:
        """Store the state after a step, if that is due. The budget does not pay for it."""
        checkpoints, clock = self._ctx.checkpoints, self._ctx.clock
        if checkpoints is None or clock is None or not checkpoints.due():
            return
        with clock.paused():
            try:
                state = self._state()
            except Exception as error:  # of the model's `training_state`
                checkpoints.decline(f"{type(error).__name__}: {error}")
                return
            if state["own"] is None and self._start is not None and (names := self._start.changed()):
                checkpoints.decline(
                    f"the model changes attributes in training that are no tensors of it ({', '.join(names)}); "
                    "give it `training_state` and `load_training_state`"
                )
                return
            checkpoints.save(state)

    def _state(self) -> State:
        return {
            "model": _tensors(self._model),
            "parts": {name: part.state() for name, part in self._parts.items()},
            "details": self._ctx.details,
            "own": self._model.training_state(),
            "random": _random_states(self._ctx),
        }

    def _load(self, state: State) -> None:
        with torch.no_grad():
            for name, tensor in _tensors(self._model).items():
                tensor.copy_(state["model"][name])
        for name, part in self._parts.items():
            part.load_state(state["parts"][name])
        self._ctx.details.clear()
        self._ctx.details.update(state["details"])
        if state["own"] is not None:
            self._model.load_training_state(state["own"])
        _set_random_states(self._ctx, state["random"])


def _tensors(model: NeuralModel) -> dict[str, Tensor]:
    """All parameters and buffers of a model, also those that its `state_dict` leaves out."""
    return {name: tensor.detach() for name, tensor in chain(model.named_parameters(), model.named_buffers())}


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _random_states(ctx: Context) -> State:
    """The states of the generator of the context, and of the global generators of torch, numpy and Python."""
    version, numbers, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "context": ctx.generator.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(ctx.device) if ctx.device.type == "cuda" else None,
        "numpy": [name, np.asarray(keys).tolist(), *rest],
        "python": [version, list(numbers), gauss],
    }


def _set_random_states(ctx: Context, states: State) -> None:
    ctx.generator.set_state(states["context"])
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"], ctx.device)
    np.random.set_state(tuple(states["numpy"]))
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
