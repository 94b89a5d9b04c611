"""The click group of `trilemma`, which loads commands on demand and reports errors."""

from __future__ import annotations

import sys
from functools import cached_property
from importlib import import_module
from typing import Any

import click

from ..errors import TrilemmaError, did_you_mean
from ..plugins import Registry


class PluginGroup(click.Group):
    """A click group that loads its commands on demand.

    It looks for a command among those of plugins only if no built-in command has the name. `--help` and built-in
    commands therefore never import a third-party plugin, which may take seconds.
    """

    def __init__(self, *args: Any, commands_in: dict[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._commands_in = commands_in or {}

    @cached_property
    def _builtin(self) -> click.Group:
        return _plugin_commands(builtin_only=True)

    @cached_property
    def _third_party(self) -> click.Group:
        return _plugin_commands(builtin_only=False)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self._commands_in, *self._builtin.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._commands_in:
            module, _, attribute = self._commands_in[cmd_name].partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            return command
        return self._builtin.commands.get(cmd_name) or self._third_party.commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            known = {*self.list_commands(ctx), *self._third_party.commands}
            raise click.UsageError(f"there is no command '{args[0]}' ({did_you_mean(args[0], known)})", ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TrilemmaError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(130)
        except BrokenPipeError:  # `trilemma results ... | head`
            sys.stderr.close()
            sys.exit(141)


def _plugin_commands(*, builtin_only: bool) -> click.Group:

    group = click.Group()
    registry = Registry(builtin_only=builtin_only)
    for seen in registry.observe("commands", group=group):
        if seen.error:
            click.echo(f"warning: {seen.error}", err=True)
    return group
