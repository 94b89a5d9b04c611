"""The command `trilemma report`, which writes the report of a run again."""

from __future__ import annotations

import json
from pathlib import Path

import click

import trilemma


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the report [default: the run directory].",
)
@click.option("--json", "as_json", is_flag=True, help="Print the written paths as JSON.")
def report(directory: Path, out: Path | None, as_json: bool) -> None:
    """Write report.html, report.md and results.csv of the run directory DIR again.

    \b
    Example:
      trilemma report runs/first --out first-report
    """
    from .write import write_report

    written = write_report(trilemma.RunView.open(directory), trilemma.report_sections(), out or directory)
    if as_json:
        click.echo(json.dumps({"written": [str(path) for path in written]}))
    else:
        for path in written:
            click.echo(path)
