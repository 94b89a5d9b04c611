"""The commands `trilemma list`, `trilemma info` and `trilemma plugins`, which describe what is installed."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

import click

from trilemma import __version__

from ..boundary import boundary, described
from ..errors import PluginError, TrilemmaError, did_you_mean
from ..memo import recall, remember
from ..planning.files import builtin_names
from ..plugins import Registry
from ..plugins.catalog import files_of, found_at
from ..text import printable
from . import output
from .options import json_option, plugin_option
from .output import echo, echo_json

_LONG_WIDTH = 140  # columns of text that the long list needs as a table; below, it has a paragraph for each name
KINDS = ("models", "datasets", "metrics", "suites")


def first_sentence(docstring: str) -> str:
    """The first sentence of a docstring."""
    paragraph = " ".join(inspect.cleandoc(docstring).split("\n\n")[0].split())
    return re.split(r"(?<=[^.][a-z)0-9][.])\s+(?=[A-Z])", paragraph, maxsplit=1)[0]


@click.command(
    "list",
    epilog="""\b
Examples:
  trilemma list models
  trilemma list models --long
  trilemma list datasets --json
""",
)
@click.argument("kind", type=click.Choice(KINDS))
@click.option("-l", "--long", "as_long", is_flag=True, help="Also show families, samplers, stages and quantities.")
@plugin_option
@json_option
def list_(kind: str, as_long: bool, plugin_files: tuple[str, ...], as_json: bool) -> None:
    """List the available models, datasets, metrics or suites.

    The table is read from the source of the plugins, without importing them. --long and --json import them.
    """
    from ..planning.suite import builtin_suites

    if kind == "suites":
        rows = [{"name": name, "description": text} for name, text in builtin_suites().items()]
    else:
        registry = Registry(plugin_files)
        classes = registry.classes(kind) if as_long or as_json else {}
        rows = [
            {"name": name, "description": first_sentence(text), "plugin": registry.provenance(kind, name).distribution,
             **(_traits(kind, classes[name]) if name in classes else {})}
            for name, text in sorted(registry.docstrings(kind).items())
            if name in classes or not classes
        ]  # fmt: skip
        for text in registry.warnings():
            echo(f"warning: {text}", err=True)
    if as_json:
        echo_json(rows)
        return
    from rich.padding import Padding
    from rich.table import Table

    console = output.console()
    if as_long and console.width < _LONG_WIDTH:
        for row in rows:
            console.print(row.pop("name"), highlight=False)
            for key, value in row.items():
                console.print(Padding(f"{key}: {value}", (0, 0, 0, 2)), highlight=False)
        return
    table = Table(box=None, pad_edge=False)
    for column in rows[0] if rows else ["name"]:
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)


def _traits(kind: str, cls: Any) -> dict[str, Any]:
    if kind == "models":
        samplers = ", ".join(sampler.name for sampler in cls.samplers)
        return {"family": cls.family, "likelihood": cls.likelihood, "samplers": samplers}
    if kind == "datasets":
        return {"kind": cls.kind}
    return {"stage": cls.stage, "quantities": ", ".join(quantity.name for quantity in cls.quantities)}


@click.command(
    epilog="""\b
Examples:
  trilemma info vp-sde
  trilemma info w2
  trilemma info quick
"""
)
@click.argument("name")
@plugin_option
@json_option
def info(name: str, plugin_files: tuple[str, ...], as_json: bool) -> None:
    """Describe a model, dataset (with its card), metric (also by one of its numbers) or suite with its options."""
    registry = Registry(plugin_files)
    found = []
    known: set[str] = set()
    for kind in ("models", "datasets", "metrics"):
        names = registry.names(kind)
        known |= set(names)
        if name in names:
            found.append(_description(kind, name, registry))
    if name in builtin_names():
        found.append(_suite(name))
    metrics = registry.classes("metrics").items() if not found else ()
    found += [
        _description("metrics", key, registry) for key, cls in metrics if name in [q.name for q in cls.quantities]
    ]
    if not found:
        raise PluginError(f"nothing is named '{name}' ({did_you_mean(name, {*known, *builtin_names()})})")
    if as_json:
        echo_json(found[0] if len(found) == 1 else found)
        return
    for record in found:
        _print(record)


def _suite(name: str) -> dict[str, Any]:
    from ..planning.suite import read_document

    values = read_document(name).values
    return {"kind": "suite", "name": name, "description": values.get("description", ""), "suite": values}


def _description(kind: str, name: str, registry: Registry) -> dict[str, Any]:
    """The description of a registered class, in values of JSON.

    That of a model or metric is remembered until its code changes, so that nothing heavy is imported to show it. That
    of a dataset is not, because its card depends on data.
    """
    reference = registry.reference(kind, name) if kind != "datasets" else ""
    package = reference.partition(":")[0].split(".")[0]
    about = (__version__, kind, name, registry.provenance(kind, name), reference, found_at(package))
    known = recall("descriptions", about) if reference else None
    if known is None:
        known = json.loads(json.dumps(_describe(kind, name, registry.get(kind, name), registry), default=str))
        if reference:
            remember("descriptions", about, known, files_of({"trilemma", package}))
    return known


def _describe(kind: str, name: str, cls: Any, registry: Any) -> dict[str, Any]:
    origin = registry.provenance(kind, name)
    record: dict[str, Any] = {
        "kind": kind[:-1],
        "name": name,
        "description": inspect.cleandoc(cls.__dict__.get("__doc__") or ""),
        "plugin": f"{origin.distribution} {origin.version}",
        "options": list(_fields(cls.Config)),
    }
    if kind == "models":
        record |= {"title": cls.title or name, "family": cls.family}
        record["likelihood"] = cls.likelihood
        record["samplers"] = {sampler.name: list(_fields(sampler)) for sampler in cls.samplers}
        record["likelihood options"] = list(_fields(cls.Likelihood))
        recipe = getattr(cls, "recipe", None)
        if recipe is not None:
            record["recipe"] = recipe.model_dump(mode="json")
    elif kind == "datasets":
        try:
            with boundary():
                record["card"] = cls().card().model_dump(mode="json")
        except (TrilemmaError, ValueError) as error:  # a dataset that needs a path or a download says so here
            record["card"] = {"not available": str(error)}
        except Exception as error:
            record["card"] = {"not available": described(error)}
    else:
        record["quantities"] = [_quantity(quantity) for quantity in cls.quantities]
    return record


def _quantity(quantity: Any) -> dict[str, Any]:
    """The fields of a quantity, as text for people."""
    return {
        "quantity": quantity.name, "title": quantity.title, "unit": quantity.unit, "group": quantity.group,
        "better": quantity.better, "table": quantity.place, "ranks models": quantity.ranks_where,
    }  # fmt: skip


def _fields(config: Any) -> Iterator[dict[str, Any]]:
    from ..contracts.tunable import declared

    ranges = declared(config)
    for key, field in config.model_fields.items():
        annotation = field.annotation
        kind = (
            getattr(annotation, "__name__", str(annotation)) if not hasattr(annotation, "__args__") else str(annotation)
        )
        default = "required" if field.is_required() else field.default
        tuned = {"tune": ranges.get(key)} if ranges else {}
        name = kind.replace("typing.", "")
        yield {"option": key, "type": name, "default": default, "description": field.description, **tuned}


def _print(record: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    console = output.console()
    console.print(Text.assemble((record["name"], "bold"), f" ({record['kind']})"), highlight=False)
    console.print(record["description"], highlight=False, markup=False)
    for key, value in record.items():
        if key in ("kind", "name", "description"):
            continue
        if isinstance(value, list):
            _print_fields(console, key, value)
        elif isinstance(value, dict):
            nested = {
                k: v
                for k, v in value.items()
                if isinstance(v, list) and v and isinstance(v[0], dict) and "option" in v[0]
            }
            table = Table(box=None, pad_edge=False, title=f"\n{key}", title_justify="left", show_header=False)
            for inner, content in value.items():
                if inner not in nested and content not in (None, ""):
                    table.add_row(str(inner), "(no options)" if content == [] else str(content))
            if table.row_count:
                console.print(table, highlight=False, markup=False)
            for inner, fields in nested.items():
                _print_fields(console, f"{key[:-1]} {inner}", fields)
        else:
            console.print(f"{key}: {value}", highlight=False, markup=False)


def _print_fields(console: Any, title: str, fields: list[dict[str, Any]]) -> None:
    from rich.table import Table

    if not fields:
        return
    table = Table(box=None, pad_edge=False, title=f"\n{title}", title_justify="left")
    for column in fields[0]:
        table.add_column(column, overflow="fold")
    for field in fields:
        table.add_row(*("" if value is None else str(value) for value in field.values()))
    console.print(table, highlight=False, markup=False)


@click.command(
    epilog="""\b
Examples:
  trilemma plugins
  trilemma plugins --json
"""
)
@plugin_option
@json_option
def plugins(plugin_files: tuple[str, ...], as_json: bool) -> None:
    """List the installed plugins with what each provides, and broken plugins with their error."""

    registry = Registry(plugin_files, fresh=True)
    registry.load_everything()
    rows: list[dict[str, Any]] = [
        {"name": r.name, "distribution": r.distribution, "version": r.version, "module": r.origin,
         "provides": {**r.provides, **_commands(registry, r)}, "error": r.problem or None}
        for r in registry.records
    ]  # fmt: skip
    if as_json:
        echo_json(rows)
        return
    for row in rows:
        status = click.style("broken", fg="red") if row["error"] else click.style("ok", fg="green")
        click.echo(printable(f"{row['name']} ({row['distribution']} {row['version']}, {row['module']}): ") + status)
        for kind, names in row["provides"].items():
            echo(f"  {kind.replace('_', ' ')}: {', '.join(names)}")
        if row["error"]:
            echo(f"  {row['error']}")


def _commands(registry: Any, record: Any) -> dict[str, list[str]]:
    if record.error:
        return {}
    group = click.Group()
    try:
        with boundary():
            hook = getattr(record.module, "trilemma_commands", None)
            if hook is None:
                return {}
            hook(group)
    except Exception as error:  # the plugin's own row says so
        record.error = f"trilemma_commands: {described(error)}"
        return {}
    return {"commands": sorted(group.commands)}
