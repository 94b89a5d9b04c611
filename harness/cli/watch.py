"""The command `trilemma watch`, which shows the progress of a run from another terminal."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import StoreError
from .options import json_option
from .output import console, echo, echo_json

if TYPE_CHECKING:
    from ..execution.recording import Seen

SECONDS = 1.0  # between two looks
LOST_SECONDS = 10.0
"""Seconds for which a file that cannot be read is waited for."""


@click.command(
    epilog="""\b
Examples:
  trilemma watch runs/quick
  trilemma watch runs/quick --once
  trilemma watch runs/quick --json | jq .state.left
"""
)
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--once", is_flag=True, help="Print the state now, and end.")
@json_option
def watch(directory: Path, once: bool, as_json: bool) -> None:
    """Show the progress of the run into the run directory DIR, and the time that is left, until it ends.

    The run is not disturbed: its directory is only read, and not locked. Away from a terminal, a line is printed
    whenever a cell has ended. Ctrl-C ends the watching, and not the run.

    Exit codes: 0 the run ended, or is going on with --once or --json, 1 its process is gone although it did not end,
    2 there is no run to watch.
    """
    from ..execution.recording import read_progress

    seen = read_progress(directory)
    if seen is None:
        raise StoreError(f"no run has written its progress into {directory}; name the directory of a run that goes on")
    if not (once or as_json):
        seen = _followed(directory, seen)
    if as_json:
        echo_json({"problem": seen.problem, "now": seen.now, "state": seen.state.record()})
    else:
        _print(directory, seen)
    if seen.problem:
        sys.exit(1)


def _followed(directory: Path, seen: Seen) -> Seen:
    """Show the state of a run until it ends, or its process is gone. Returns the last state that could be read."""
    from rich.live import Live

    from ..execution.recording import read_progress
    from ..terminal.bars import Picture, summary
    from ..terminal.console import SafeConsole

    shown = SafeConsole(markup=False, emoji=False)
    read, done = time.monotonic(), -1
    with Live(console=shown, refresh_per_second=4, transient=True) if shown.is_terminal else nullcontext() as live:
        while not seen.state.ended and not seen.gone:
            if live is not None:
                live.update(Picture(seen.state, seen.problem))
            elif seen.state.done != done:
                done = seen.state.done
                echo(summary(seen.state, time.time()))
            time.sleep(SECONDS)
            found = read_progress(directory)
            if found is not None:
                seen, read = found, time.monotonic()
            elif time.monotonic() - read > LOST_SECONDS:
                raise StoreError(f"the progress of the run into {directory} cannot be read any more")
    return seen


def _print(directory: Path, seen: Seen) -> None:
    """Print the state of a run as text."""
    from ..terminal.bars import Picture, duration

    state = seen.state
    for text in (*state.failures, *state.messages):
        echo(text)
    if not state.ended and not seen.gone:
        console().print(Picture(state))
    counts = ", ".join(f"{count} {outcome}" for outcome, count in state.outcomes.items()) or "none"
    ended = f"{state.done} of {state.count} cells ended ({counts}) in {duration(seen.now - state.begun)}"
    if seen.problem:
        echo(f"the run into {directory} is not going on: {seen.problem}; {ended}", err=True)
        echo("run the same command again to continue", err=True)
    elif state.ended:
        echo(f"{state.ended}: {ended}", err=True)
