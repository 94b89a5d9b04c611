"""Where a registered class comes from, and a hash of the source that it rests on."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Provenance:
    """Distribution, version and source hash of something registered."""

    plugin: str
    distribution: str
    version: str
    source_hash: str


def source_hash(cls: type[Any]) -> str:
    """Hash of the module of `cls` and of every module of the same package that it imports, directly or not.

    So a change to a shared network re-runs the models that use it, and a change to another plugin re-runs nothing.
    """
    return hash_modules([cls.__module__])


def hash_modules(names: Iterable[str]) -> str:
    """sha256 (first 16 hex digits) over the sources of the named modules and their imports in their own package."""
    found: dict[str, Path] = {}
    queue = list(names)
    while queue:
        name = queue.pop()
        file = _source_file(name)
        if name in found or file is None:
            continue
        found[name] = file
        queue.extend(other for other in _imports(name, file) if _package(other) == _package(name))
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(name.encode() + b"\0" + found[name].read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _package(module: str) -> str:
    """What counts as one package: a distribution's top-level package, or one room of trilemma itself."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "trilemma" else parts[0]


def _source_file(module: str) -> Path | None:
    try:
        loaded = sys.modules.get(module)
        if loaded is not None and getattr(loaded, "__file__", None):
            file = inspect.getsourcefile(loaded)
            return Path(file) if file else None
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError, TypeError):
        return None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


@cache
def _imports(module: str, file: Path) -> tuple[str, ...]:
    return tuple(_walk_imports(module, file))


def _walk_imports(module: str, file: Path) -> Iterator[str]:
    is_package = file.name == "__init__.py"
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parent = parts[: len(parts) - node.level + (1 if is_package else 0)]
                base = ".".join([*parent, *([base] if base else [])])
            if base:
                yield base
                # An imported name may itself be a module; a name that is not one has no source file and is dropped.
                yield from (f"{base}.{alias.name}" for alias in node.names)
