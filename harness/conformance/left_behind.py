"""The global state of a process that code of a plugin must leave as it was."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

_OF_TORCH = ("TORCHINDUCTOR_", "TRITON_")
"""The beginnings of the names of variables that torch sets when its compiler is loaded."""


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_OF_TORCH)}


def _environment(before: dict[str, str]) -> None:
    for name in set(_variables()) - set(before):
        del os.environ[name]
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
    "the environment variables": (_variables, _environment),
    "the working directory": (os.getcwd, os.chdir),
}
"""What is looked at: how to read it, and how to restore it."""


@contextlib.contextmanager
def kept(report: Callable[[str], object]) -> Iterator[None]:
    """Restore the global state after the block, and report each part of it that the block has changed."""
    before = {name: read() for name, (read, _) in _STATES.items()}
    try:
        yield
    finally:
        for name, (read, restore) in _STATES.items():
            if (now := read()) != before[name]:
                report(f"{name}{_difference(before[name], now)}")
                restore(before[name])


def _difference(before: Any, now: Any) -> str:
    if isinstance(before, dict):
        return f" ({', '.join(sorted(key for key in {**before, **now} if before.get(key) != now.get(key)))})"
    return f" ({before} -> {now})"
