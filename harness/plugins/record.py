"""What is known of one plugin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from ..contracts.references import Entry


@dataclass
class PluginRecord:
    """One plugin, loaded or broken."""

    name: str
    distribution: str
    version: str
    origin: str
    load: Callable[[], Any]
    """Imports its module."""
    error: str = ""
    module: ModuleType | None = None
    provides: dict[str, list[str]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    """The error of each class that could not be loaded from its reference."""
    lacks: dict[str, str] = field(default_factory=dict)
    """The library that each of these classes lacks, if that is why."""
    registered: dict[str, list[Entry]] = field(default_factory=dict)
    asked: bool = False
    """Whether the user named this file or module. Its errors stop the command."""
    hooks: set[str] = field(default_factory=set)
    """The hooks that it has, from its catalog, while its module is not imported."""

    @property
    def problem(self) -> str:
        """The error of the plugin, or else the errors of its classes; empty if there are none."""
        return self.error or "; ".join(self.broken.values())

    def hook(self, kind: str) -> Any:
        """The hook that registers a kind, without running code of the plugin; None if it has none."""
        return getattr(self.module, "__dict__", {}).get(f"trilemma_{kind}")
