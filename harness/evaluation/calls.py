"""The calls of networks while samples are drawn, observed without a change to the networks."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""The place and the shape of each tensor that a call took (`in.`) or returned (`out.`)."""


@dataclass
class Draw:
    """The calls of networks while a model drew `n` samples: how often each network was called with tensors of which
    shapes. Networks are numbered as in `CallCounter.networks`.
    """

    n: int
    calls: Counter[tuple[int, Shapes]] = field(default_factory=Counter)


class CallCounter:
    """Observes the `forward` functions of networks through the profiling hook of the interpreter (`sys.setprofile`).

    Networks and their classes stay as they are, so they can be copied, pickled, traced and compiled while they are
    observed, and it does not matter how `forward` is reached. A call of a copy counts as a call of the network: a
    module of the same class with equal parameters. A call inside a call of the same network is a part of it. Calls in
    other threads and processes, and calls of compiled networks, are not seen.
    """

    def __init__(self, networks: Iterable[object]) -> None:
        self.networks = list({id(item): item for item in networks if isinstance(item, nn.Module)}.values())
        self.running: list[int] = []
        """The networks whose `forward` runs now, outermost first."""
        self._codes = {code for network in self.networks if (code := _forward_code(network)) is not None}
        self._numbers: WeakKeyDictionary[nn.Module, int | None] = WeakKeyDictionary(
            {network: number for number, network in enumerate(self.networks)}
        )
        self._open: list[tuple[FrameType, int | None, Shapes]] = []

    @contextlib.contextmanager
    def observed(self, n: int, ended: Callable[[int, Shapes], None] | None = None) -> Iterator[Draw]:
        """Record the calls inside the block, in which `n` samples are drawn. `ended` is told of the end of each."""
        draw = Draw(n)
        if not self._codes:
            yield draw
            return

        def observe(frame: FrameType, event: str, value: object) -> None:
            if frame.f_code not in self._codes:
                return
            with _unrecorded():
                if event == "call":
                    self._start(frame)
                elif event == "return" and self._open and self._open[-1][0] is frame:
                    ending = self._end(value)
                    if ending is not None:
                        draw.calls[ending] += 1
                        if ended is not None:
                            ended(*ending)

        before = sys.getprofile()
        sys.setprofile(observe)
        try:
            yield draw
        finally:
            _restore(before)
            self._open.clear()
            self.running.clear()

    def _start(self, frame: FrameType) -> None:
        module, inputs = _arguments(frame)
        number = self._number(module) if isinstance(module, nn.Module) else None
        shapes: Shapes = ()
        if number is not None:
            if number not in self.running:
                shapes = shapes_of({"in": inputs})
            self.running.append(number)
        self._open.append((frame, number, shapes))

    def _end(self, value: object) -> tuple[int, Shapes] | None:
        """The network and the shapes of the call that ends; None if it is not a call of a network of its own."""
        _, number, shapes = self._open.pop()
        if number is None:
            return None
        self.running.pop()
        return None if number in self.running else (number, shapes + shapes_of({"out": value}))

    def _number(self, module: nn.Module) -> int | None:
        """The number of a network or of its copy; None for other modules."""
        if module not in self._numbers:
            same = (i for i, network in enumerate(self.networks) if _is_copy(module, network))
            self._numbers[module] = next(same, None)
        return self._numbers[module]


def shapes_of(values: object, place: str = "", depth: int = 4) -> Shapes:
    """The shapes of the tensors in nested lists, tuples and mappings, with their places."""
    if isinstance(values, Tensor):
        return ((place, tuple(values.shape)),)
    if depth == 0 or isinstance(values, str):
        return ()
    if isinstance(values, Mapping):
        items: Iterable[tuple[object, object]] = values.items()
    elif isinstance(values, list | tuple):
        items = enumerate(values)
    else:
        return ()
    return tuple(
        shape for key, item in items for shape in shapes_of(item, f"{place}.{key}" if place else str(key), depth - 1)
    )


def _forward_code(network: nn.Module) -> CodeType | None:
    """The code of the `forward` of a network; None if it is not a function of its class, as in a TorchScript module."""
    function = inspect.getattr_static(type(network), "forward", None)
    if "forward" in vars(network) or not inspect.isfunction(function):
        return None
    return getattr(inspect.unwrap(function), "__code__", None)


def _arguments(frame: FrameType) -> tuple[object, dict[str, Any]]:
    """The module of a call of `forward`, and its other arguments by name."""
    code, values = frame.f_code, frame.f_locals
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    named = {name: values[name] for name in code.co_varnames[:count] if name in values}
    if code.co_argcount:
        return named.pop(code.co_varnames[0], None), named
    if code.co_flags & inspect.CO_VARARGS:
        name = code.co_varnames[code.co_kwonlyargcount]
        module, *rest = named.pop(name) or (None,)
        return module, {name: tuple(rest), **named}
    return None, named


def _is_copy(module: nn.Module, network: nn.Module) -> bool:
    """Whether a module of the same class has the same parameters, up to the rounding of a change of precision."""
    if type(module) is not type(network):
        return False
    ours, theirs = dict(network.named_parameters()), dict(module.named_parameters())
    if not ours or [(k, v.shape) for k, v in ours.items()] != [(k, v.shape) for k, v in theirs.items()]:
        return False
    with torch.no_grad():
        return all(same_values(theirs[name], value) for name, value in ours.items())


def same_values(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one shape are equal up to the rounding of the less precise of them."""
    if not (a.is_floating_point() and b.is_floating_point()):
        return bool(torch.equal(a, b))
    precision = max(torch.finfo(a.dtype).eps, torch.finfo(b.dtype).eps)
    return bool(torch.allclose(a.double(), b.to(a.device).double(), rtol=precision, atol=1e-12))


@contextlib.contextmanager
def _unrecorded() -> Iterator[None]:
    """Keep what is done inside the block out of a TorchScript trace that is being recorded, and out of other modes."""
    state = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)  # type: ignore[attr-defined]
    try:
        with _disable_current_modes():
            yield
    finally:
        torch._C._set_tracing_state(state)  # type: ignore[attr-defined]


def _restore(before: Any) -> None:
    """Set the profiling hook that was there before. A profiler that is written in C has to be started again."""
    sys.setprofile(None)
    if hasattr(before, "enable"):
        before.enable()
    elif before is not None:
        sys.setprofile(before)
