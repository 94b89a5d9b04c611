"""The tables of the page on methods, written from docs/methods/*.toml: a row for each method, with its checks."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from _markdown import table

import trilemma
from trilemma.harness.plugins import Registry

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "methods"
MARK = "<!-- methods -->"
"""Where docs/methods.md has the tables."""

Kind = Literal["models", "samplers", "likelihoods", "parts"]
KINDS: tuple[Kind, ...] = ("models", "samplers", "likelihoods", "parts")


class Check(trilemma.Config):
    """What a method was held against, and the test that does it, as `FILE::FUNCTION`."""

    against: str
    test: str


class Entry(trilemma.Config):
    """The entry of a method in a file of docs/methods."""

    form: str
    """The equation or the algorithm of the paper."""
    deviation: str
    """Where the code differs from the paper; `none` where it does not."""
    checks: tuple[Check, ...] = ()
    unchecked: str = ""
    """Why there is no check, where there is none."""
    paper: str = ""
    """Authors and year; empty for what has no paper."""
    link: str = ""
    code: str = ""
    """For a part of a model, its place in the code as `MODULE:NAME`."""


@dataclass(frozen=True)
class Row:
    """A method with its entry."""

    kind: Kind
    key: str
    entry: Entry
    source: Path
    """The file of docs/methods."""


def methods() -> list[tuple[str, list[Row]]]:
    """The rows of each file of docs/methods under the title of the file."""
    found = []
    for path in sorted(FOLDER.glob("*.toml"), key=lambda path: ORDER.index(path.stem)):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        rows = [
            Row(kind, key, Entry.model_validate(entry), path)
            for kind in KINDS
            for key, entry in content.get(kind, {}).items()
        ]
        found.append((content["title"], rows))
    return found


ORDER = [
    "flows",
    "autoregressive",
    "scores",
    "diffusion",
    "images",
    "restoration",
    "implicit",
    "samplers",
    "likelihoods",
    "controls",
]
"""The files of docs/methods in the order of the page."""


@cache
def code() -> dict[tuple[Kind, str], Any]:
    """The code of every method that is registered: models by name, samplers and likelihoods by the name of the class.

    The class of a likelihood is the one that defines `log_prob`. An exact likelihood belongs to its model.
    """
    found: dict[tuple[Kind, str], Any] = {}
    for name, cls in Registry(builtin_only=True).classes("models").items():
        found["models", name] = cls
        found |= {("samplers", kind.__name__): kind for kind in cls.samplers if kind is not trilemma.Direct}
        if cls.likelihood not in ("exact", "none"):
            owner = next(base for base in cls.__mro__ if "log_prob" in vars(base))
            found["likelihoods", owner.__name__] = owner
    return found


def code_of(row: Row) -> Any:
    """The class or function of a row. Raises an ImportError or AttributeError if there is none of that name."""
    if row.kind != "parts":
        return code()[row.kind, row.key]
    module, _, names = row.entry.code.partition(":")
    value: Any = importlib.import_module(module)
    for name in names.split("."):
        value = getattr(value, name)
    return value


def fill(markdown: str) -> str:
    """The page with its tables."""
    return markdown.replace(MARK, "\n\n".join(tables()))


def tables() -> Iterator[str]:
    """A heading and a table for each file."""
    for title, rows in methods():
        yield f"## {title}"
        yield table(["Method", "Paper", "Equation or algorithm", "File", "Deviation", "Checked against"], lines(rows))


def lines(rows: list[Row]) -> list[list[str]]:
    """The lines of a table."""
    found = []
    for row in rows:
        entry, value = row.entry, code_of(row)
        paper = f"[{entry.paper}]({entry.link})" if entry.link else entry.paper
        place = value.__module__.removeprefix("trilemma.").replace(".", "/") + ".py"
        found.append([title_of(row, value), paper, entry.form, f"`{place}`", entry.deviation, checks_of(entry)])
    return found


def title_of(row: Row, value: Any) -> str:
    """The name of a method: that by which a suite calls it, or else the name in the code."""
    if row.kind == "samplers":
        return f"`{value.name}` (`{row.key}`)"
    return f"`{row.key}`"


def checks_of(entry: Entry) -> str:
    """The checks, each with its test."""
    checks = [f"{check.against}: `{short_name(check.test)}`" for check in entry.checks]
    return "<br>".join(checks) or f"none: {entry.unchecked}"


def short_name(test: str) -> str:
    """A test without its folder. No two test modules have one name."""
    return test.rpartition("/")[2]
