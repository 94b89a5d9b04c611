"""The command `trilemma merge`, which merges run directories."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click

from .options import json_option
from .output import echo, echo_json

MOST = 10
"""The most names in a message."""


@click.command(
    epilog="""\b
Examples:
  trilemma merge runs/standard-shard-*-of-8 --out runs/standard
  trilemma merge /mnt/a/runs/quick /mnt/b/runs/quick --out runs/both
"""
)
@click.argument("directories", metavar="DIR...", nargs=-1, required=True, type=click.Path(file_okay=False))
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Run directory to merge into.")
@json_option
def merge(directories: tuple[str, ...], out: str, as_json: bool) -> None:
    """Merge the run directories DIR..., such as the shards of a suite, into one, and write its report.

    The directories are only read, and no run can use them meanwhile. --out is a new directory, or one that trilemma
    made, which keeps what it has. A result is better than a failure; of two results of one cell the first stays. Shards
    of one suite become one run. After an interruption, give the same command again.

    Exit codes: 0 merged, 1 damaged records were left out or the report was not written, 2 a directory cannot be used.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from .. import api
    from ..terminal.progress import RichProgress

    console = RichProgress().console
    columns = TextColumn("merging"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("merging", total=None)
        done = api.merge(
            directories, out=out, progress=lambda count, total: bar.update(task, completed=count, total=total)
        )
    if as_json:
        echo_json({"path": out, **asdict(done)})
    else:
        _say(done, out)
    if done.left_out or done.problems:
        sys.exit(1)


def _say(done: Any, out: str) -> None:
    for note in done.notes:
        echo(f"note: {note}", err=True)
    if done.conflicts:
        count = len(done.conflicts)
        echo(
            f"warning: {count} cell{'s have' if count > 1 else ' has'} different results in two directories, and the "
            f"first was kept: {_names(done.conflicts)}. Within a budget in seconds or on different machines that is to "
            "be expected; otherwise code, libraries or machines are not what they seem",
            err=True,
        )
    if done.left_out:
        echo(
            f"warning: left out, because damaged or incomplete: {_names(done.left_out)}; run the suite again "
            f"with --out {out} to compute what is missing",
            err=True,
        )
    for problem in done.problems:
        echo(f"error: {problem}", err=True)
    count = len(done.directories)
    echo(
        f"{done.copied} records from {count} director{'ies' if count > 1 else 'y'} merged into {out}, {done.kept} kept"
    )
    if done.written:
        echo("written: " + ", ".join(file for file in done.written if "figures" not in file), err=True)


def _names(names: list[str]) -> str:
    more = [f"and {len(names) - MOST} more"] if len(names) > MOST else []
    return "; ".join([*names[:MOST], *more])
