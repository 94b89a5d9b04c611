"""Options that several commands share."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

import click

from ..boundary import boundary
from ..errors import PluginError
from ..planning.values import is_word
from ..plugins.places import located
from ..text import printable

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output, for scripts.")


def _plugins(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """The plugins of the project file, and those that were given."""
    try:
        for plugin in value:
            located(plugin)
    except PluginError as error:
        raise click.BadParameter(printable(error), ctx, param) from None
    return tuple(dict.fromkeys([*ctx.meta.get("trilemma.plugins", ()), *value]))


plugin_option = click.option(
    "--plugin",
    "plugin_files",
    multiple=True,
    metavar="FILE|MODULE",
    callback=_plugins,
    help="Also load a plugin from a Python file or an installed module (may be repeated).",
)

set_option = click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set an option of the plugin (TOML value)."
)


def parsed_config(cls: Any, assignments: tuple[str, ...]) -> Any:
    """The options of a plugin class with the given assignments. Raises click.BadParameter for one that is wrong."""
    from pydantic import ValidationError

    values = assigned(assignments)
    try:
        with boundary():
            return cls.Config.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise click.BadParameter(f"options of '{cls.name}': {problems}") from None


def assigned(assignments: tuple[str, ...]) -> dict[str, Any]:
    """The values that assignments in TOML give. Raises click.BadParameter for one that cannot be read."""
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, word = (part.strip() for part in assignment.partition("="))
        try:
            values |= tomllib.loads(f'{key} = "{word}"' if equals and is_word(word) else assignment)
        except (ValueError, RecursionError) as error:
            raise click.BadParameter(f"'{assignment}' is not KEY=VALUE in TOML: {error}") from None
    return values


def names_option(flag: str, what: str) -> Callable[[Any], Any]:
    """An option that takes names separated by commas, and may be repeated."""

    def split(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> list[str] | None:
        names = [name.strip() for part in value for name in part.split(",") if name.strip()]
        return names if value else None

    return click.option(flag, multiple=True, callback=split, metavar="NAME,...", help=what)
