"""The command `trilemma check`, which tests plugins against their contract."""

from __future__ import annotations

import sys
import tomllib
from typing import Any

import click

from ..errors import PluginError, did_you_mean
from ..plugins import Registry
from .options import json_option, plugin_option
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
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set an option of the plugin (TOML value)."
)
@plugin_option
@json_option
def check(names: tuple[str, ...], assignments: tuple[str, ...], plugin_files: tuple[str, ...], as_json: bool) -> None:
    """Check that models, datasets and metrics meet their contract.

    Models are trained for a few steps on a small dataset; then their samples, densities and state are checked. For
    datasets, the card, the splits and the true distribution are checked. Metrics are computed for distortions of a
    known distribution. Checks that a plugin is expected to fail are marked `expected`. The same checks run in pytest:
    see `trilemma.conformance_checks`.

    Exit codes: 0 no check failed, 1 some checks failed, 2 a name or an option is wrong.
    """
    from ..conformance.checks import Check, conformance_checks

    registry = Registry(plugin_files)
    checks: list[Check] = []
    for name in names:
        for cls in _classes(registry, name):
            checks += conformance_checks(cls, _config(cls, assignments) if assignments else None)
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
    failed = sum(result.status == "failed" for result in results)
    if as_json:
        echo_json([result.__dict__ for result in results])
    else:
        counts = {status: sum(r.status == status for r in results) for status in _COLORS}
        click.echo(", ".join(f"{count} {status}" for status, count in counts.items() if count), err=True)
    if failed:
        sys.exit(1)


_COLORS = {"passed": "green", "failed": "red", "skipped": "yellow", "expected": "yellow"}


def _line(result: Any, description: str) -> str:
    head = f"  {click.style(result.status.ljust(8), fg=_COLORS[result.status])} {result.check.ljust(20)} "
    return head + (f"{description} {result.message}" if result.status == "failed" else result.message)


def _classes(registry: Any, name: str) -> list[type[Any]]:
    """All classes of that name, because a model and a metric may have the same name."""

    kinds = ("models", "datasets", "metrics")
    known = [registry.classes(kind) for kind in kinds]
    found = [classes[name] for classes in known if name in classes]
    if not found:
        names = {key for classes in known for key in classes}
        raise PluginError(f"no model, dataset or metric is named '{name}' ({did_you_mean(name, names)})")
    return found


def _config(cls: type[Any], assignments: tuple[str, ...]) -> Any:

    from pydantic import ValidationError

    values: dict[str, Any] = {}
    for assignment in assignments:
        try:
            values |= tomllib.loads(assignment)
        except tomllib.TOMLDecodeError as error:
            raise click.BadParameter(f"'{assignment}' is not KEY=VALUE in TOML (text needs quotes): {error}") from None
    try:
        return cls.Config.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise click.BadParameter(f"options of '{cls.name}': {problems}") from None
