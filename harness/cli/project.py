"""The project file `trilemma.toml` of the working directory: plugins to load, and defaults of options.

It is read from the working directory itself and from nowhere above it, and a command that uses it says so, because a
plugin is code.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from ..errors import Problem, SuiteError, TrilemmaError, did_you_mean
from ..planning.files import read_text
from ..planning.toml_lines import line_numbers
from ..plugins.places import located
from .output import echo

FILE = "trilemma.toml"


@dataclass(frozen=True)
class Project:
    """A project file: its plugins by name, and for each command the defaults of its options."""

    plugins: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, dict[str, Any]] = field(default_factory=dict)
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)

    def located_plugins(self) -> list[str]:
        """The plugins as every process can load them. Raises SuiteError with the line of one that is not there."""
        found = []
        for name, plugin in self.plugins.items():
            try:
                found.append(located(plugin))
            except TrilemmaError as error:
                raise self.wrong(("plugins", name), str(error)) from None
        return found

    def options_of(self, name: str, command: click.Command) -> dict[str, Any]:
        """The defaults of a command by the names that click has for them. Raises SuiteError for an unknown option."""
        known = {flag.removeprefix("--"): param for param in command.params for flag in _flags(param)}
        found = {}
        for key, value in self.defaults.get(name, {}).items():
            if key not in known:
                raise self.wrong(("defaults", name, key), f"`trilemma {name}` has no option '{key}'", key, known)
            param = known[key]
            assert param.name is not None
            found[param.name] = [value] if param.multiple and not isinstance(value, list) else value
        return found

    def wrong(self, path: tuple[str, ...], message: str, name: str = "", known: Mapping[str, Any] | None = None) -> Any:
        """A SuiteError at a place in the file, with a suggestion of a name that is known."""
        line = next((self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines), None)
        hint = "" if known is None else did_you_mean(name, known)
        return SuiteError([Problem(f"{'.'.join(path)}: {message}", FILE, line, hint)])


def read_project() -> Project | None:
    """The project file of the working directory; None if there is none. Raises SuiteError if it is not valid."""
    if not os.path.lexists(FILE):
        return None
    if stranger := _stranger():
        raise TrilemmaError(f"{FILE} names code to run, and {stranger}; look at it, then correct this or move it away")
    text, _ = read_text(Path(FILE))
    try:
        values = tomllib.loads(text)
    except ValueError as error:
        raise SuiteError([Problem(f"not valid TOML: {error}", FILE)]) from None
    project = Project(lines=line_numbers(text))
    for key in values:
        if key not in ("plugins", "defaults"):
            raise project.wrong((key,), "there is no such table in a project file", key, {"plugins": 0, "defaults": 0})
    for key, kind in (("plugins", str), ("defaults", dict)):
        table = values.get(key, {})
        if not isinstance(table, dict):
            raise project.wrong((key,), "this is no table")
        for name, value in table.items():
            if not isinstance(value, kind):
                wanted = "a file or a module, as text" if kind is str else f"a table of options, [{key}.{name}]"
                raise project.wrong((key, name), f"expected {wanted}")
    return Project(values.get("plugins", {}), values.get("defaults", {}), project.lines)


def apply_project(ctx: click.Context, name: str, command: click.Command, commands: Iterable[str]) -> None:
    """Give a command the defaults and the plugins of the project file, and say so on standard error."""
    project = None if ctx.resilient_parsing else read_project()
    if project is None:
        return
    for known in project.defaults:
        if known not in commands:
            raise project.wrong(("defaults", known), "there is no such command", known, dict.fromkeys(commands))
    options = project.options_of(name, command)
    loads = project.plugins if any(param.name == "plugin_files" for param in command.params) else {}
    ctx.meta["trilemma.plugins"] = project.located_plugins() if loads else []
    ctx.default_map = {name: options}
    said = [f"plugin {key} ({plugin})" for key, plugin in loads.items()]
    said += [f"{key} = {value}" for key, value in project.defaults.get(name, {}).items()]
    if said:
        echo(f"{FILE}: {', '.join(said)}", err=True)


def _flags(param: click.Parameter) -> list[str]:
    """The names of an option in a project file: its long flags, or the name of an argument."""
    if isinstance(param, click.Argument):
        return [] if param.required or param.name is None else [param.name]
    return [flag for flag in (*param.opts, *param.secondary_opts) if flag.startswith("--")]


def _stranger() -> str:
    """Why the project file may be somebody else's; empty if it is not."""
    about = os.stat(FILE)
    if about.st_uid not in (os.getuid(), 0):
        return "belongs to another user"
    return "everybody may write it" if about.st_mode & stat.S_IWOTH else ""
