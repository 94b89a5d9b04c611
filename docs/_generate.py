"""The reference pages, written from the code when the site is built (an MkDocs hook)."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from functools import cache, cached_property
from io import BytesIO
from types import FunctionType
from typing import Any

import click
from matplotlib.figure import Figure

import trilemma
from trilemma.harness.cli import main
from trilemma.harness.plugins import Registry

SMALL = {"n_train": 1000, "n_valid": 500, "n_test": 500}
"""Sizes of the splits for which cards are made: entropies and parameters do not depend on them."""

TITLES = {"api": "Run and load", "contracts.hookspecs": "Hooks", "contracts.recipe": "Training recipe"}
"""Headings of the public API where the module's own name does not say it."""


def on_files(files: Any, config: Any) -> Any:
    """Add the reference pages to the site."""
    from mkdocs.structure.files import File

    for name, text in pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    for name, picture in pictures().items():
        files.append(File.generated(config, f"reference/datasets/{name}.png", content=picture))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let Markdown inside `<details>` be read, as GitHub does in the reports that stand in docs/results."""
    return markdown.replace("<details>", "<details markdown>")


def pages() -> dict[str, str]:
    """Name of each reference page and its Markdown."""
    found = {"models": models(registered("models").values()), "metrics": metrics(registered("metrics").values())}
    found |= {"datasets": datasets(), "cli": cli(), "api": api()}
    found |= {f"datasets/{name}": dataset(cls) for name, cls in registered("datasets").items()}
    return {name: "\n\n".join(parts) + "\n" for name, parts in found.items()}


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
        traits = [f"Likelihood: `{cls.likelihood}`.", f"Accepts: {', '.join(cls.accepts)}."]
        yield " ".join(traits + (["A control: it marks the scale and is no contender."] if cls.control else []))
        yield options("Options", cls.Config)
        for sampler in cls.samplers:
            if sampler is not trilemma.Direct:
                yield options(f"Sampler `{sampler.name}`: {docstring(sampler)}", sampler)
        if cls.Likelihood.model_fields:
            yield options("Likelihood options", cls.Likelihood)
        if issubclass(cls, trilemma.NeuralModel):
            yield f"**Recipe**: {', '.join(f'`{key}={value!r}`' for key, value in cls.recipe)}"


def datasets() -> Iterator[str]:
    """The table of all datasets."""
    yield "# Datasets"
    yield (
        "Every registered dataset; its page has its card, its options and a picture. Entropies are in nats, at default"
        " options. `trilemma info NAME` prints a card in a terminal."
    )
    rows = []
    for name, cls in sorted(registered("datasets").items()):
        found = loaded(cls)
        entropy = "" if found is None or found.entropy is None else f"{found.entropy:.5f}"
        shape = "" if found is None else "x".join(map(str, found.shape))
        rows.append([f"[{name}](datasets/{name}.md)", cls.title, cls.kind, shape, entropy, cls.license])
    yield table(["Dataset", "What it is", "Kind", "Shape", "Entropy", "License"], rows)


def dataset(cls: type[Any]) -> Iterator[str]:
    """One dataset: docstring, picture and card where the data are at hand, options."""
    yield f"# {cls.name}"
    yield docstring(cls)
    found = loaded(cls)
    if found is None:
        yield "Not pictured: it needs a path, a download (`--download`) or an optional package."
    else:
        yield f"![Points of {cls.name}]({cls.name}.png)"
    facts = {"Title": cls.title, "Kind": cls.kind, "Source": cls.source, "License": cls.license}
    facts |= {"Citation": cls.citation, **({} if found is None else card(found))}
    yield table(["", ""], [[name, text] for name, text in facts.items() if text])
    yield options("Options", cls.Config)


@cache
def loaded(cls: type[Any]) -> Any:
    """A dataset at default options, with small splits where they are drawn; None where it cannot be loaded here."""
    small = {key: value for key, value in SMALL.items() if issubclass(cls.Config, trilemma.DistributionConfig)}
    try:
        made = cls(cls.Config(**small))
        return made if made.splits else None
    except (trilemma.DataError, ValueError):
        return None


def card(found: Any) -> dict[str, str]:
    """What only the loaded data tell."""
    facts = {"Shape": "x".join(map(str, found.shape))}
    if not isinstance(found.config, trilemma.DistributionConfig):
        sizes = [len(part) for part in (found.splits.train, found.splits.valid, found.splits.test)]
        facts["Splits"] = "{} training, {} validation, {} test".format(*sizes)
    if found.levels is not None:
        facts["Levels"] = str(found.levels)
    if found.entropy is not None:
        error = f" (± {found.entropy_error:.1g})" if found.entropy_error else ""
        facts["Entropy"] = f"{found.entropy:.5f}{error}"
    about = found.card().degeneracy
    facts["Degeneracy"] = (
        f"tied rows {about.tied_rows:.1%}, largest atom {about.largest_atom:.2%},"
        f" least correlation eigenvalue {about.least_eigenvalue:.2g}"
    )
    if about.unbounded_because:
        facts["Caution"] = f"the likelihood is unbounded in principle: {about.unbounded_because}"
    return facts


def pictures() -> dict[str, bytes]:
    """A PNG of each dataset that can be loaded here: a scatter of two coordinates, or tiles of images."""
    return {name: picture(loaded(cls)) for name, cls in registered("datasets").items() if loaded(cls) is not None}


def picture(found: Any) -> bytes:
    """The PNG of one dataset."""
    points = found.splits.train[:1000].numpy()
    side = 4 if found.kind == "image" else 1
    figure = Figure(figsize=(4, 4), dpi=110, layout="constrained")
    panels = figure.subplots(side, side, squeeze=False).ravel()
    for panel, image in zip(panels, points, strict=False):
        if found.kind == "image":
            panel.imshow(image.transpose(1, 2, 0).squeeze(), cmap="gray_r")
            panel.set_axis_off()
        else:
            panel.scatter(points[:, 0], points[:, 1], s=2, alpha=0.6, color="#3f51b5", linewidths=0)
            panel.set(xlabel="coordinate 0", ylabel="coordinate 1", aspect="equal" if points.shape[1] == 2 else "auto")
    stream = BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def metrics(classes: Iterable[type[Any]]) -> Iterator[str]:
    """Each metric: docstring, stage, options."""
    yield "# Metrics"
    yield (
        "Every registered metric with its options. Stages: `likelihood` and `training` are computed once for each cell,"
        " `sampling` once for each sampler setting."
    )
    for cls in classes:
        yield f"## {cls.name}"
        yield docstring(cls)
        yield f"Stage: `{cls.stage}`."
        yield options("Options", cls.Config)


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
    if issubclass(value, trilemma.Config):
        yield options("Fields", value)
    members = [(key, member) for key, member in vars(value).items() if not key.startswith("_")]
    yield "\n".join(
        f"- `{key}{signature(member) if inspect.isfunction(member) else ''}`: {first_paragraph(member)}"
        for key, member in members
        if isinstance(member, FunctionType | property | cached_property) and member.__doc__
    )


# Markdown


def options(title: str, config: type[Any]) -> str:
    """A table of the fields of a record, or nothing where it has none."""
    rows = [
        [f"`{key}`", f"`{type_name(field.annotation)}`", default(field), field.description or ""]
        for key, field in config.model_fields.items()
    ]
    return f"**{title}**\n\n{table(['Option', 'Type', 'Default', 'What it is'], rows)}" if rows else ""


def default(field: Any) -> str:
    """The default value of a field."""
    return "required" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"


def type_name(annotation: Any) -> str:
    """A type as it is written in source."""
    name = annotation.__name__ if inspect.isclass(annotation) and not hasattr(annotation, "__args__") else annotation
    return re.sub(r"\b(?:\w+\.)+", "", str(name))


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, without the columns in which every cell is empty."""
    shown = [column for column in range(len(header)) if any(row[column] for row in rows)]
    # A bar inside code is safe as it is.
    cells = [
        [re.sub(r"(`[^`]*`)|\|", lambda m: m[1] or r"\|", row[column].replace("\n", " ")) for column in shown]
        for row in rows
    ]
    lines = [[header[column] for column in shown], ["---"] * len(shown), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def docstring(thing: Any) -> str:
    """A docstring as Markdown: the entries of `Args:` and `Raises:` as a list, an `Example:` as code."""
    own = vars(thing).get("__doc__") if inspect.isclass(thing) else inspect.getdoc(thing)
    parts = []
    for part in inspect.cleandoc(own or "").split("\n\n"):
        head, _, body = part.partition("\n")
        body = inspect.cleandoc(body)
        if head == "Example:":
            part = f"```pycon\n{body.replace('  # doctest: +SKIP', '')}\n```"
        elif head in ("Args:", "Raises:", "Returns:"):
            part = f"**{head.removesuffix(':')}**\n\n" + re.sub(r"^(\S+): ", r"- `\1`: ", body, flags=re.M)
        parts.append(part)
    return "\n\n".join(parts)


def first_paragraph(member: Any) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join((inspect.getdoc(member) or "").split("\n\n")[0].split())


def signature(function: Any) -> str:
    """A signature as it is written in source."""
    full = inspect.signature(function)
    parameters = [
        parameter.replace(
            annotation=Verbatim(parameter.annotation)
            if parameter.annotation is not parameter.empty
            else parameter.empty,
            default=Verbatim("...")
            if repr(parameter.default).startswith("<") and parameter.default is not parameter.empty
            else parameter.default,
        )
        for parameter in full.parameters.values()
    ]
    returned = full.return_annotation
    result = Verbatim(returned) if isinstance(returned, str) else full.empty
    return str(full.replace(parameters=parameters, return_annotation=result))


class Verbatim(str):
    """Text that stands in a signature without quotes."""

    __repr__ = str.__str__
