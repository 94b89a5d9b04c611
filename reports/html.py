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
    environment.filters["css_string"] = css_string
    return environment


def breakable(label: str) -> Markup:
    """An escaped label in which a browser may break lines before options and after a slash."""
    text = str(escape(label)).replace("/", "/<wbr>")
    return Markup(text.replace("(", "<wbr>(").replace(",", ",<wbr>"))


def css_string(text: str) -> Markup:
    """A text as a string of a style sheet, in which every character that could end it is written as its number."""
    safe = (c if c.isascii() and (c.isalnum() or c == " ") else f"\\{ord(c):x} " for c in text)
    return Markup('"' + "".join(safe) + '"')


def render(template: str, **values: Any) -> Markup:
    """Fill a template with `values`. All values are escaped, except Markup."""
    return Markup(_environment().get_template(template).render(**values))


def assets(suffix: str) -> list[Markup]:
    """The texts of all style sheets (`.css`) or scripts (`.js`), to be inlined in the page; those of the page first."""
    files = sorted(TEMPLATES.glob(f"*{suffix}"), key=lambda file: (file.stem != "report", file.name))
    return [Markup(file.read_text(encoding="utf-8")) for file in files]
