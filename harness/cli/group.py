"""The click group of `trilemma`, which loads commands on demand and reports errors."""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import gc
import os
import sys
import traceback
from functools import cached_property
from importlib import import_module
from typing import Any

import click

from ..boundary import boundary
from ..errors import PluginError, TrilemmaError, did_you_mean
from ..plugins import Registry
from ..text import printable
from .output import echo
from .project import apply_project

# With torch and pandas loaded, the last collections of garbage take .7 s. They would free nothing of use.
atexit.register(gc.freeze)


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
        if cmd_name in self._builtin.commands:
            return self._builtin.commands[cmd_name]
        command_of_plugin = self._third_party.commands.get(cmd_name)
        return None if command_of_plugin is None else _guarded(command_of_plugin)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            name, command, rest = super().resolve_command(ctx, args)
        except click.UsageError:
            known = {*self.list_commands(ctx), *self._third_party.commands}
            message = printable(f"there is no command '{args[0]}' ({did_you_mean(args[0], known)})")
            raise click.UsageError(message, ctx) from None
        if name is not None and command is not None:
            apply_project(ctx, name, command, {*self.list_commands(ctx), name})
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        _show_crashes()
        try:
            return super().invoke(ctx)
        except TrilemmaError as error:
            echo(f"error: {error}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(130)
        except BrokenPipeError:  # `trilemma results ... | head`
            sys.stderr.close()
            sys.exit(141)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception:  # an error in trilemma, or in a command of a plugin
            echo(traceback.format_exc(), err=True)
            sys.exit(1)


def _show_crashes() -> None:
    """Let Python print where it was when compiled code ends this process, such as that of a plugin at import."""
    stream = sys.__stderr__
    if stream is not None and not faulthandler.is_enabled():
        with contextlib.suppress(OSError, ValueError):  # it is closed
            faulthandler.enable(stream)


def _guarded(command: click.Command) -> click.Command:
    """A command of a plugin, in which only `sys.exit` ends the process: its way to give an exit code."""
    invoke = command.invoke

    def guarded(ctx: click.Context) -> Any:
        try:
            with boundary(quiet=False):
                try:
                    return invoke(ctx)
                except SystemExit as ending:
                    code = ending
            raise code
        except PluginError as error:
            raise PluginError(f"command '{command.name}': {error}") from error

    command.invoke = guarded  # type: ignore[method-assign]
    return command


def _plugin_commands(*, builtin_only: bool) -> click.Group:

    group = click.Group()
    registry = Registry(builtin_only=builtin_only)
    for seen in registry.observe("commands", group=group):
        if seen.error:
            echo(f"warning: {seen.error}", err=True)
    return group
