"""The global state of a process that code of a plugin must leave as it was."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch


def _environment(before: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(before)


_STATES: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "the default dtype of torch": (torch.get_default_dtype, torch.set_default_dtype),
    "the default device of torch": (torch.get_default_device, torch.set_default_device),
    "the number of threads of torch": (torch.get_num_threads, torch.set_num_threads),
    "the gradient mode of torch": (torch.is_grad_enabled, torch.set_grad_enabled),
    "the deterministic mode of torch": (
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
    ),
    "the precision of matrix products": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "the error handling of NumPy": (np.geterr, lambda before: np.seterr(**before)),
    "the environment variables": (lambda: dict(os.environ), _environment),
    "the working directory": (os.getcwd, os.chdir),
}
"""What is looked at: how to read it, and how to restore it."""


class LeftBehind:
    """Restores the global state after calls of a plugin, and notes which parts of it they have changed.

    A change counts if it happens again after it was undone: libraries that are loaded in the first call change the
    environment once, and that is none of the plugin's doing.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._texts: dict[tuple[str, str], str] = {}

    @contextlib.contextmanager
    def watching(self, method: str) -> Iterator[None]:
        """Restore the global state after the block, and note what the method has changed in it."""
        before = {name: read() for name, (read, _) in _STATES.items()}
        try:
            yield
        finally:
            for name, (read, restore) in _STATES.items():
                if (now := read()) != before[name]:
                    self._counts[method, name] += 1
                    self._texts[method, name] = f"{method} changes {name}{_difference(before[name], now)}"
                    restore(before[name])

    @property
    def changes(self) -> list[str]:
        """What was changed more than once, in words."""
        return [self._texts[key] for key, count in self._counts.items() if count > 1]


def _difference(before: Any, now: Any) -> str:
    if isinstance(before, dict):
        return f" ({', '.join(sorted(key for key in {**before, **now} if before.get(key) != now.get(key)))})"
    return f" ({before} -> {now})"
