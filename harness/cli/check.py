"""The command `trilemma check`, which tests plugins against their contract."""

from __future__ import annotations

import sys
import textwrap
from typing import Any

import click

from ..boundary import boundary
from ..errors import PluginError, did_you_mean
from ..plugins import Registry
from ..text import printable
from .options import json_option, parsed_config, plugin_option, set_option
from .output import echo_json


@click.command(
    epilog="""\b
Examples:
  trilemma check my-model --plugin ./my_model.py
  trilemma check realnvp ring8 energy
  trilemma check file --set 'path="points.csv"'
  trilemma check vp-sde --json
"""
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@set_option
@plugin_option
@json_option
def check(names: tuple[str, ...], assignments: tuple[str, ...], plugin_files: tuple[str, ...], as_json: bool) -> None:
    """Check that models, datasets and metrics meet their contract.

    Models are trained for a few steps on a small dataset, as a run trains them; then their samples, densities, state
    and costs are checked. For datasets, the card, the splits and the true distribution are checked. Metrics are
    computed for distortions of a known distribution and for a panel of planted defects, none of which a number that
    ranks models may prefer to the truth; `trilemma card` shows the panel in full. Checks that a plugin is expected to
    fail are marked `expected`, and those that build on a failed check `blocked`. The same checks run in pytest: see
    `trilemma.parametrize_with_checks`.

    Exit codes: 0 no check failed, 1 some checks failed, 2 a name or an option is wrong.
    """
    from ..conformance.checks import Check, conformance_checks

    registry = Registry(plugin_files)
    checks: list[Check] = []
    for name in names:
        for cls in _classes(registry, name):
            with boundary():
                checks += conformance_checks(cls, parsed_config(cls, assignments) if assignments else None)
    results = []
    shown = ""
    for item in checks:
        result = item.run()
        results.append(result)
        if not as_json:
            if shown != f"{item.kind} {item.plugin}":
                shown = f"{item.kind} {item.plugin}"
                click.echo(shown)
            click.echo(_line(result, item.description))
            if result.traceback:
                click.echo(textwrap.indent(printable(result.traceback), " " * 11))
    failed = sum(result.status == "failed" for result in results)
    if as_json:
        echo_json([result.__dict__ for result in results])
    else:
        counts = {status: sum(r.status == status for r in results) for status in _COLORS}
        click.echo(", ".join(f"{count} {status}" for status, count in counts.items() if count), err=True)
    if failed:
        sys.exit(1)


_COLORS = {"passed": "green", "failed": "red", "skipped": "yellow", "expected": "yellow", "blocked": "yellow"}


def _line(result: Any, description: str) -> str:
    message = printable(result.message)
    head = f"  {click.style(result.status.ljust(8), fg=_COLORS[result.status])} {result.check.ljust(20)} "
    return head + (f"{printable(description)} {message}" if result.status == "failed" else message)


def _classes(registry: Any, name: str) -> list[type[Any]]:
    """All classes of that name, because a model and a metric may have the same name."""

    kinds = ("models", "datasets", "metrics")
    found = [registry.get(kind, name) for kind in kinds if name in registry.names(kind)]
    if not found:
        if name.endswith(".py"):
            raise PluginError(f"'{name}' is a file, and a name is checked: trilemma check NAME --plugin {name}")
        names = {known for kind in kinds for known in registry.names(kind)}
        raise PluginError(f"no model, dataset or metric is named '{name}' ({did_you_mean(name, names)})")
    return found
