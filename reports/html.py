"""The Jinja templates of the report, in which all values are escaped."""

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
    """An escaped label in which a browser may break lines before options."""
    return Markup(str(escape(label)).replace("(", "<wbr>(").replace(",", ",<wbr>"))


def render(template: str, **values: Any) -> Markup:
    """Fill a template with `values`. All values are escaped, except Markup."""
    return Markup(_environment().get_template(template).render(**values))


def asset(name: str) -> Markup:
    """The text of a style sheet or script, to be inlined in the page."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))
