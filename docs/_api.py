"""The reference page of the public API."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import cached_property
from types import FunctionType
from typing import Any

from _markdown import docstring, first_paragraph, options, signature
from pydantic import BaseModel

import trilemma

TITLES = {
    "analysis.run_changes": "Changes between runs",
    "analysis.repeats": "Repeated cells",
    "api": "Run and load",
    "tuning.api": "Tune",
    "tuning.record": "The outcome of tuning",
    "contracts.hookspecs": "Hooks",
    "contracts.recipe": "Training recipe",
}
"""Headings of the public API where the module's own name does not say it."""


def api() -> Iterator[str]:
    """Every public name, grouped by the module that owns it."""
    yield "# Public API"
    yield "What `import trilemma` offers. Everything else may change without notice."
    groups: dict[str, list[str]] = {}
    for name, module in trilemma._PUBLIC.items():
        groups.setdefault(module, []).append(name)
    for module, names in groups.items():
        yield f"## {TITLES.get(module, module.rpartition('.')[2].capitalize())}"
        yield docstring(importlib.import_module(f"trilemma.harness.{module}"))
        for name in names:
            yield from entry(name, getattr(trilemma, name))
    yield "## The version"
    yield "### trilemma.\\_\\_version\\_\\_"
    yield "The version of the package, a string."


def entry(name: str, value: Any) -> Iterator[str]:
    """A public name: signature, docstring, fields, and its own methods and properties."""
    yield f"### trilemma.{name}"
    if value is trilemma.hookimpl:
        yield "The decorator of a plugin's hook functions: see [Hooks](../hooks.md)."
        return
    if inspect.isfunction(value) or is_dataclass(value):
        yield f"`{name}{signature(value)}`"
    yield docstring(value)
    if not inspect.isclass(value):
        return
    if issubclass(value, BaseModel):
        yield options("Fields", value)
    members = [(key, member) for key, member in vars(value).items() if not key.startswith("_")]
    yield "\n".join(
        f"- `{key}{signature(member) if inspect.isfunction(member) else ''}`: {first_paragraph(member)}"
        for key, member in members
        if isinstance(member, FunctionType | property | cached_property) and member.__doc__
    )
