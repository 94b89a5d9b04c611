"""The command `trilemma rerun`, which repeats one cell in the foreground."""

from __future__ import annotations

import contextlib
import os
import pdb
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import StoreError
from ..execution.environment import cell_environment
from ..store.reruns import write_rerun
from ..store.store import Store
from .options import json_option
from .output import echo, echo_json

if TYPE_CHECKING:
    from ..execution.repeat import Repetition


@click.command(
    epilog="""\b
Examples:
  trilemma rerun "realnvp on ring8, seed 0"
  trilemma rerun 3f2a --run runs/standard
  trilemma rerun 3f2a --pdb
  trilemma rerun 3f2a --json | jq .identical
"""
)
@click.argument("cell", metavar="CELL")
@click.option(
    "--run", "directory", metavar="DIR", type=click.Path(file_okay=False), help="Run directory [default: latest]."
)
@click.option("--pdb", "debug", is_flag=True, help="Open the debugger at an error of the model or of a metric.")
@json_option
def rerun(cell: str, directory: str | None, debug: bool, as_json: bool) -> None:
    """Repeat one CELL of a run in the foreground, and compare it with what is stored, bit for bit.

    CELL is an id, a unique start of an id, or a label such as "realnvp on ring8, seed 0". The run directory is by
    default the one in runs/ that was written last. The cell is trained with the plugin files, threads and steps of its
    run, and evaluated. Weights, curves, results and samples are compared; times, memory and energy are not.

    What was found is kept in the run directory, in reruns/, where `trilemma site` reads it; nothing else is written
    into it. What the model prints appears on the terminal.

    Exit codes: 0 bit-identical, 1 different or failed, 2 there is no such cell or run.
    """
    from ..execution.stored import find_cell, latest_run, threads_of

    store = Store(latest_run() if directory is None else Path(directory))
    found = find_cell(store, cell)
    _enter_environment(threads_of(store, found), ["rerun", found["id"], "--run", str(store.path)]
                       + ["--pdb"] * debug + ["--json"] * as_json)  # fmt: skip

    from ..execution.repeat import repeat

    echo(f"{found['label']}: cell {found['id']} of {store.path}", err=True)
    with _printing_on_stderr() if as_json else contextlib.nullcontext():
        repetition = repeat(store, found, _post_mortem if debug else None)
    if repetition.training:
        try:
            write_rerun(store, found["id"], repetition.training, repetition.record())
        except StoreError as error:
            echo(f"what was found could not be kept: {error}", err=True)
    if as_json:
        echo_json(repetition.record())
    else:
        _show(repetition)
    sys.exit(0 if repetition.identical else 1)


def _enter_environment(threads: int, arguments: list[str]) -> None:
    """Continue in the environment of the process of a cell. Numeric libraries read it when they load."""
    wanted = cell_environment(threads)
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, "-P", "-m", "trilemma", *arguments], {**os.environ, **wanted})


def _post_mortem(error: BaseException) -> None:
    pdb.post_mortem(error.__traceback__)


@contextlib.contextmanager
def _printing_on_stderr() -> Iterator[None]:
    """Send what is printed to standard error, by libraries in C too, so that standard output holds the JSON only."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _show(repetition: Repetition) -> None:
    comparison = repetition.comparison
    if repetition.outcome != "ok":
        echo(f"{repetition.outcome}: {repetition.message}")
    if repetition.identical:
        counts = ", ".join(f"{count} {name}" for name, count in comparison.counts.items())
        echo(f"bit-identical: {counts}")
    for line in comparison.differences:
        echo(f"different: {line}")
    for name, (then, now) in repetition.environment.items():
        echo(f"environment: {name} was {_text(then)}, is {_text(now)}")
    if repetition.code:
        echo(f"code: the stored cell was made by other code ({', '.join(repetition.code)})")


def _text(value: Any) -> str:
    return "unknown" if value is None else str(value)
