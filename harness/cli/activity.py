"""A progress bar for a command that does one thing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def activity(what: str) -> Iterator[Callable[[float, str], None]]:
    """A bar on standard error while the block runs, and the function that moves it. Away from a terminal: nothing."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from ..terminal.console import SafeConsole

    console = SafeConsole(stderr=True, markup=False, emoji=False)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[message]}", style="dim", markup=False),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(what, total=1.0, message="")

        def move(fraction: float, message: str) -> None:
            bars.update(task, completed=fraction, message=message)

        yield move
