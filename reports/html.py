"""Jinja templates with everything escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

TEMPLATES = Path(__file__).parent / "templates"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = breakable
    return environment


def breakable(label: str) -> Markup:
    """An escaped label that a browser may break before its options and between them."""
    return Markup(str(escape(label)).replace("(", "<wbr>(").replace(",", ",<wbr>"))


def render(template: str, **values: Any) -> Markup:
    """A template of this room, filled with `values`; only Markup passes unescaped."""
    return Markup(_environment().get_template(template).render(**values))


def asset(name: str) -> Markup:
    """A style sheet or script of this room, to be inlined."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))
