"""Finds what a model changes in training besides its parameters and buffers, which a checkpoint would lose."""

from __future__ import annotations

import hashlib
import random
import types
from collections import deque
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LARGE = 2**26
"""Bytes of a tensor whose content is not compared."""
_OF_MODULES = frozenset(vars(nn.Module()))
_CONSTANT = (type, types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.ModuleType, partial)
_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)


class Footprint:
    """The values of all attributes of a model and of its modules that are not parameters, buffers or modules.

    Attributes are followed into containers and objects. Iterators always count as changed; functions, classes, and
    objects without a `__dict__` never. Of large tensors only the count of their changes in place is compared.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._alive: list[Any] = []  # so that no new object gets the identity of one that was seen
        self._known = {id(thing) for thing in (*model.modules(), *model.parameters(), *model.buffers())}
        self._values = dict(self._attributes())

    def changed(self) -> list[str]:
        """The names of the attributes that have changed, sorted."""
        now = dict(self._attributes())
        return sorted(name for name in {*now, *self._values} if now.get(name) != self._values.get(name))

    def _attributes(self) -> Iterator[tuple[str, Any]]:
        for path, module in self._model.named_modules():
            for name, value in vars(module).items():
                if name not in _OF_MODULES and not _is_cache(module, name):
                    yield f"{path}.{name}".lstrip("."), self._print(value, frozenset())

    def _print(self, value: Any, above: frozenset[int]) -> Any:
        """What identifies a value, for a comparison by `==`."""
        if isinstance(value, _PLAIN):
            return type(value), repr(value)
        self._alive.append(value)
        if id(value) in self._known or id(value) in above or isinstance(value, _CONSTANT):
            return id(value)
        if isinstance(value, Tensor):
            return _print_of_tensor(value)
        if isinstance(value, torch.Generator):
            return value.get_state().numpy().tobytes()
        if isinstance(value, np.ndarray):
            return value.dtype.str, value.shape, value.tobytes()
        if isinstance(value, random.Random):
            return value.getstate()
        if isinstance(value, np.random.Generator):
            return repr(value.bit_generator.state)
        if isinstance(value, Iterator):
            return object()
        above = above | {id(value)}
        if isinstance(value, Mapping):
            return [(self._print(key, above), self._print(element, above)) for key, element in value.items()]
        if isinstance(value, list | tuple | deque):
            return [self._print(element, above) for element in value]
        if isinstance(value, set | frozenset):
            return sorted(repr(self._print(element, above)) for element in value)
        return id(value), [
            (name, self._print(part, above)) for name, part in getattr(value, "__dict__", {}).items()
            if not _is_cache(value, name)
        ]  # fmt: skip


def _print_of_tensor(value: Tensor) -> Any:
    if value.is_sparse or value.numel() * value.element_size() > LARGE:
        return id(value), value._version
    content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return value.dtype, value.shape, hashlib.sha256(content.data).digest()


def _is_cache(owner: Any, name: str) -> bool:
    return isinstance(getattr(type(owner), name, None), cached_property)
