"""The command `trilemma gc`, which deletes what nothing needs in a run directory."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ..store.store import Store
from .options import json_option
from .output import echo, echo_json

if TYPE_CHECKING:
    from ..store.garbage import Garbage


@click.command(
    epilog="""\b
Examples:
  trilemma gc runs/quick
  trilemma gc runs/quick --delete
  trilemma gc runs/quick --json
"""
)
@click.argument("directory", metavar="DIR", type=click.Path())
@click.option("--delete", is_flag=True, help="Delete what is shown. Without it nothing is changed.")
@json_option
def gc(directory: str, delete: bool, as_json: bool) -> None:
    """Show what nothing needs in the run directory DIR, and delete it with --delete.

    That is: cells and evaluations whose results are all superseded by newer ones, folders that no run lists, damage
    that was set aside, logs of cells that are gone, and what killed runs left. Files that trilemma did not write are
    never deleted, and no link is followed.
    """
    store = Store(directory)
    from ..store.garbage import collect, garbage

    found, kept = collect(store) if delete else (garbage(store), [])
    if as_json:
        rows = [asdict(item) for item in found]
        echo_json(
            {"path": str(store.path), "deleted": delete, "garbage": rows, "kept": [asdict(item) for item in kept]}
        )
        return
    for item in found:
        echo(f"{item.place}  {size(item.size)}  {item.why}")
    for item in kept:
        echo(f"{item.place}  kept: it holds files of somebody else, or may not be changed")
    _summary(directory, found, delete)


def _summary(directory: str, found: list[Garbage], delete: bool) -> None:
    counts = Counter(item.why for item in found)
    total = size(sum(item.size for item in found))
    kinds = ", ".join(f"{number} {why}" for why, number in counts.items())
    if not found:
        echo("nothing to delete", err=True)
    elif delete:
        echo(f"deleted {total}: {kinds}", err=True)
    else:
        echo(f"{total} in all: {kinds}; `trilemma gc {directory} --delete` deletes it", err=True)


def size(count: int) -> str:
    """A number of bytes in words."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"
