"""The reference pages, written from the code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import _datasets
import click
from _api import api
from _markdown import docstring, options, table

import trilemma
from trilemma.harness.cli import main
from trilemma.harness.plugins import Registry


def pages() -> dict[str, str]:
    """Name of each reference page and its Markdown."""
    data = registered("datasets")
    found = {"models": models(registered("models").values()), "metrics": metrics(registered("metrics").values())}
    found |= {"datasets": _datasets.datasets(data.values()), "cli": cli(), "api": api()}
    found |= {f"datasets/{name}": _datasets.dataset(cls) for name, cls in data.items()}
    return {name: "\n\n".join(parts) + "\n" for name, parts in found.items()}


def pictures() -> dict[str, bytes]:
    """Name of each picture of the reference pages and its PNG."""
    return {f"datasets/{name}": png for name, png in _datasets.pictures(registered("datasets").values()).items()}


def registered(kind: str) -> dict[str, type[Any]]:
    """The built-in classes of a kind by name."""
    return Registry(builtin_only=True).classes(kind)


def models(classes: Iterable[type[Any]]) -> Iterator[str]:
    """Each model: docstring, likelihood, options, samplers, likelihood options, recipe."""
    yield "# Models"
    yield "Every registered model with its options. `trilemma info NAME` shows the same in a terminal."
    for cls in classes:
        yield f"## {cls.name}"
        yield docstring(cls)
        traits = [f"Family: {cls.family}." if cls.family else "", f"Likelihood: `{cls.likelihood}`."]
        traits = [*filter(None, traits), f"Accepts: {', '.join(cls.accepts)}."]
        yield " ".join(traits + (["A control: it marks the scale and is not ranked."] if cls.control else []))
        yield options("Options", cls.Config)
        for sampler in cls.samplers:
            if sampler is not trilemma.Direct:
                yield options(f"Sampler `{sampler.name}`: {docstring(sampler)}", sampler)
        if cls.Likelihood.model_fields:
            yield options("Likelihood options", cls.Likelihood)
        if issubclass(cls, trilemma.NeuralModel):
            yield f"**Recipe**: {', '.join(f'`{key}={value!r}`' for key, value in cls.recipe)}"


def metrics(classes: Iterable[type[Any]]) -> Iterator[str]:
    """Each metric: docstring, stage, options."""
    yield "# Metrics"
    yield (
        "Every registered metric with its options. A metric of stage `likelihood` or `training` is computed once for"
        " each cell, a metric of stage `sampling` once for each sampler setting."
    )
    for cls in classes:
        yield f"## {cls.name}"
        yield docstring(cls)
        yield f"Stage: `{cls.stage}`."
        yield quantities(cls.quantities)
        yield options("Options", cls.Config)


def quantities(found: Iterable[trilemma.Quantity]) -> str:
    """What a metric says of its numbers."""
    header = ["Quantity", "Title", "Unit", "Group", "Better", "Table", "Ranks models"]
    rows = [[f"`{q.name}`", q.title, q.unit, trilemma.GROUPS[q.group], q.better, q.place, q.ranks_where] for q in found]
    return table(header, rows) if rows else ""


def cli() -> Iterator[str]:
    """The help of every command and of the commands in it."""
    yield "# Command line"
    yield from command_help(main, click.Context(main, info_name="trilemma", **main.context_settings))


def command_help(command: click.Command, context: click.Context) -> Iterator[str]:
    """The help of a command under its full name, then those of its subcommands."""
    context.terminal_width = 80
    if context.parent:
        yield f"## {context.command_path}"
    yield f"```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from command_help(child, click.Context(child, info_name=name, parent=context))
