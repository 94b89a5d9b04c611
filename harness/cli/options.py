"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output, for scripts.")

plugin_option = click.option(
    "--plugin",
    "plugin_files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Also load a plugin from a Python file (may be repeated).",
)


def names_option(flag: str, what: str) -> Callable[[Any], Any]:
    """An option that takes names separated by commas, and may be repeated."""

    def split(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> list[str] | None:
        names = [name.strip() for part in value for name in part.split(",") if name.strip()]
        return names if value else None

    return click.option(flag, multiple=True, callback=split, metavar="NAME,...", help=what)
