"""Markdown of the reference: tables of options, docstrings, signatures."""

from __future__ import annotations

import inspect
import re
from typing import Any

from trilemma.harness.contracts.tunable import declared


def options(title: str, config: type[Any]) -> str:
    """A table of the fields of a record, or nothing where it has none."""
    ranges = declared(config)
    rows = [
        [f"`{key}`", f"`{type_name(field.annotation)}`", default(field), field.description or "",
         f"`{ranges[key]}`" if key in ranges else ""]
        for key, field in config.model_fields.items()
    ]  # fmt: skip
    return f"**{title}**\n\n{table(['Option', 'Type', 'Default', 'What it is', 'Tuned over'], rows)}" if rows else ""


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
