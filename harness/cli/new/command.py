"""The command `trilemma new`, which writes the package of a new plugin."""

from __future__ import annotations

from pathlib import Path

import click

from ..output import echo
from .package import KINDS, write_package


@click.command(
    epilog="""\b
Examples:
  trilemma new model my-flow
  trilemma new dataset spirals --into ~/work
  trilemma new metric mean_error
  trilemma new section slowest
"""
)
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("name")
@click.option(
    "--into", type=click.Path(file_okay=False), default=".", help="The folder to write into [default: this folder]."
)
def new(kind: str, name: str, into: str) -> None:
    """Write the package of a new plugin: a working model, dataset, metric or report section called NAME.

    The package goes to the new folder trilemma-NAME. It holds the class with its type annotations, the entry point,
    tests, a README, a license and a workflow for continuous integration. Nothing is ever overwritten.
    """
    folder, files = write_package(kind, name, Path(into))
    for file in files:
        echo(folder / file)
    run = {"model": f" --models {name}", "dataset": f" --datasets {name}", "metric": f" --set metrics.{name}={{}}"}
    steps = [f"cd {folder}", "pip install -e . pytest", "pytest", f"trilemma run smoke{run.get(kind, '')}"]
    echo("\nNext:\n" + "\n".join(f"  {step}" for step in steps), err=True)
