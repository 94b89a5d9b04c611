"""What a registration hook returns: classes, or references to classes, which are imported when they are needed."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import Any

from ..errors import PluginError

_REFERENCE = re.compile(r"[\w.]+:\w+")


@dataclass
class Entry:
    """A registered class: the class itself, or the reference `package.module:Class` that leads to it."""

    name: str
    kind: str
    reference: str = ""
    made: type[Any] | None = None
    written: str | None = None
    """Its docstring, where it is known without the class."""

    @property
    def loaded(self) -> type[Any] | None:
        """The class, if it has been loaded in this process, or in the one that this process is a fork of."""
        return self.made or _LOADED.get((self.reference, self.kind, self.name))

    def load(self) -> type[Any]:
        """The class. Raises PluginError if it does not meet its contract, and whatever its module raises."""
        if self.made is None:
            self.made = self.loaded or _load(self.reference, self.kind, self.name)
        return self.made

    def docstring(self) -> str:
        """The own docstring of the class. One that is registered by reference is read in its source, not imported.

        If it cannot be read there, the class is loaded, which may raise any error of its module.
        """
        found = self.written
        if found is None and self.made is None:
            found = _written(self.reference)
        return found if found is not None else (self.load().__dict__.get("__doc__") or "")


def entries(returned: Any, kind: str, package: str) -> list[Entry]:
    """The entries of a registration hook: classes, or a mapping of names to references.

    Classes are checked now, and those of references when they are loaded. A reference that begins with a dot is
    relative to `package`. Raises PluginError for anything else.
    """
    if not isinstance(returned, Mapping):
        from .registration import check_class

        if isinstance(returned, str | type) or not isinstance(returned, Iterable):
            hint = "; write a `return`" if returned is None else ""
            raise PluginError(f"it returned {returned!r}, not a list of classes or a mapping of references{hint}")
        return [Entry(check_class(made, kind), kind, made=made) for made in returned]
    for name, reference in returned.items():
        if not isinstance(name, str) or not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
            raise PluginError(f"{name!r}: {reference!r} is not a name with a reference such as 'package.module:Class'")
    return [Entry(name, kind, _absolute(reference, package)) for name, reference in returned.items()]


@cache
def _written(reference: str) -> str | None:
    """The docstring of a class as its module is written; None if it is not found there."""
    name, _, attribute = reference.partition(":")
    try:
        spec = None if name in sys.modules else find_spec(name)
        parsed = ast.parse(Path(spec.origin or "").read_bytes()) if spec is not None else None
    except (ImportError, AttributeError, ValueError, OSError, SyntaxError):
        return None
    for node in parsed.body if parsed is not None else ():
        if isinstance(node, ast.ClassDef) and node.name == attribute:
            return ast.get_docstring(node)
    return None


_LOADED: dict[tuple[str, str, str], type[Any]] = {}


def _load(reference: str, kind: str, name: str) -> type[Any]:
    from .registration import check_class

    module, _, attribute = reference.partition(":")
    made: type[Any] = getattr(import_module(module), attribute)
    if (own := check_class(made, kind)) != name:
        raise PluginError(f"the class is named '{own}'")
    _LOADED[reference, kind, name] = made
    return made


@cache
def _absolute(reference: str, package: str) -> str:
    module, _, attribute = reference.partition(":")
    return f"{resolve_name(module, package)}:{attribute}"
