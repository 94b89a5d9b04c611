"""The base class of the checks of models, datasets and metrics, and helpers for checks."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch

from ..contracts.config import Config
from ..errors import UnsupportedError
from .fresh import import_seconds

Body = TypeVar("Body", bound=Callable[..., str])


class FailureError(AssertionError):
    """A check has failed. The message says what is wrong and how to mend it. The cause is an error of the plugin."""


def require(condition: bool, message: str) -> None:
    """Fail the check with `message` unless `condition` holds (also under `python -O`)."""
    if not condition:
        raise FailureError(message)


def failing(message: str, error: BaseException | None) -> FailureError:
    """The failure of a check because of an error of the plugin, whose traceback is shown."""
    failure = FailureError(message)
    failure.__cause__ = error
    return failure


def needs(*names: str) -> Callable[[Body], Body]:
    """Mark a check that says nothing if one of the named checks has failed. It is then blocked and not run."""

    def mark(body: Body) -> Body:
        body.__dict__["needs"] = names
        return body

    return mark


class Kit:
    """Base class of the checks of one plugin class: its methods named `check_*`, in the order of definition.

    A check returns what it found. It raises FailureError or any error of the plugin if the plugin fails it, and
    UnsupportedError if it does not apply to the plugin. `outcomes` holds how the checks ended that have run.
    """

    def __init__(self, cls: type[Any], config: Config | None) -> None:
        self.cls = cls
        self.config = config
        self.outcomes: dict[str, tuple[str, str]] = {}

    @classmethod
    def names(cls) -> list[str]:
        """The names of the checks."""
        found = [name for base in reversed(cls.__mro__) for name in vars(base) if name.startswith("check_")]
        return [_shown(name) for name in dict.fromkeys(found) if name != _LAST] + [_shown(_LAST)]

    def checks(self) -> dict[str, Callable[[], str]]:
        """The checks by name."""
        return {name: getattr(self, f"check_{name.replace('-', '_')}") for name in self.names()}

    def check_documented(self) -> str:
        """The class has a docstring, and every option has a description."""
        require(
            bool((self.cls.__dict__.get("__doc__") or "").strip()),
            f"class {self.cls.__name__} has no docstring; say in its first line what it is and where it comes from",
        )
        count = 0
        for label, config in self.options():
            for key, field in config.model_fields.items():
                require(bool(field.description), f"option '{key}' of {label} has no Field(description=...)")
                count += 1
        return f"{count} options"

    def check_import_time(self) -> str:
        """The module with the hooks is imported quickly, because every command imports it."""
        seconds = import_seconds(self.cls)
        require(
            seconds <= _IMPORT_SECONDS,
            f"the import of its plugin takes {seconds:.1f} CPU seconds besides torch, in every command; import heavy "
            "libraries inside methods, or register the class by reference: {'name': 'package.module:Class'}",
        )
        return f"{seconds:.2g} CPU s"

    def check_checked(self) -> str:
        """Something besides the documentation was checked: a plugin to which no check applies has not passed."""
        ran = {name: outcome for name, outcome in self.outcomes.items() if name not in _ALWAYS}
        if not ran:
            raise UnsupportedError("no other check has run")
        reasons = [message for status, message in ran.values() if status == "skipped"]
        require(
            len(reasons) < len(ran),
            f"every check was skipped, so nothing is known of this plugin; the first says: {(reasons or ['-'])[0]}",
        )
        return f"{len(ran) - len(reasons)} checks apply"

    def options(self) -> Iterator[tuple[str, type[Config]]]:
        """Yield a label and the class of each set of options."""
        yield "Config", self.cls.Config


_LAST = "check_checked"
_ALWAYS = ("documented", "import-time")
_IMPORT_SECONDS = 1.5


def _shown(name: str) -> str:
    return name.removeprefix("check_").replace("_", "-")


@contextlib.contextmanager
def no_global_randomness(what: str) -> Iterator[None]:
    """Fail the check if the block changes the global random state of torch, NumPy or Python.

    A block in which modules are loaded says nothing, because libraries draw from the global generators then.
    """
    before, modules = _random_states(), len(sys.modules)
    yield
    moved = [name for name, state in _random_states().items() if state != before[name]]
    require(
        not moved or len(sys.modules) > modules,
        f"{what} draws from the global generator of {', '.join(moved)}; use the given generator instead, such as "
        "torch.randn(n, generator=ctx.generator)",
    )


def _random_states() -> dict[str, Any]:
    numpy_state = np.random.get_state(legacy=False)
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (numpy_state["state"]["key"].tobytes(), numpy_state["state"]["pos"]),
        "random": random.getstate(),
    }
