"""The base class of the checks of models, datasets and metrics, and helpers for checks."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from ..contracts.config import Config


def require(condition: bool, message: str) -> None:
    """Fail the check with `message` unless `condition` holds (also under `python -O`)."""
    if not condition:
        raise AssertionError(message)


class Kit:
    """Base class of the checks of one plugin class: its methods named `check_*`, in the order of definition.

    A check returns what it found. It raises AssertionError if the plugin fails it, and UnsupportedError if it does not
    apply to the plugin.
    """

    def __init__(self, cls: type[Any], config: Config | None) -> None:
        self.cls = cls
        self.config = config

    def checks(self) -> dict[str, Callable[[], str]]:
        """The checks by name."""
        names = [name for base in reversed(type(self).__mro__) for name in vars(base) if name.startswith("check_")]
        return {name.removeprefix("check_").replace("_", "-"): getattr(self, name) for name in dict.fromkeys(names)}

    def check_documented(self) -> str:
        """The class has a docstring, and every option has a description."""
        require(bool((self.cls.__dict__.get("__doc__") or "").strip()), f"class {self.cls.__name__} has no docstring")
        count = 0
        for label, config in self.options():
            for key, field in config.model_fields.items():
                require(bool(field.description), f"option '{key}' of {label} has no Field(description=...)")
                count += 1
        return f"{count} options"

    def options(self) -> Iterator[tuple[str, type[Config]]]:
        """Yield a label and the class of each set of options."""
        yield "Config", self.cls.Config


@contextlib.contextmanager
def no_global_randomness(what: str) -> Iterator[None]:
    """Fail the check if the block changes the global random state of torch, NumPy or Python."""
    before = _random_states()
    yield
    moved = [name for name, state in _random_states().items() if state != before[name]]
    require(not moved, f"{what} draws from the global generator of {', '.join(moved)}; use the given generator instead")


def _random_states() -> dict[str, Any]:
    numpy_state = np.random.get_state(legacy=False)
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (numpy_state["state"]["key"].tobytes(), numpy_state["state"]["pos"]),
        "random": random.getstate(),
    }
