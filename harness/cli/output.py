"""Data on standard output: JSON, Markdown, and the summary table."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ..text import printable

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console


PIPE_WIDTH = 200


def echo(text: object, *, err: bool = False) -> None:
    """Print text that may come from others, without anything in it that a terminal would obey."""
    click.echo(printable(text), err=err)


def echo_json(value: Any) -> None:
    """Print strict JSON: infinities and NaN become null."""
    click.echo(json.dumps(_strict(value), indent=1, default=str))


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(element) for element in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def frame_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a results frame, with the JSON columns parsed, and without the drawings of the report."""
    from ..analysis.frames import DRAWINGS

    records = [{str(key): value for key, value in row.items()} for row in frame.to_dict(orient="records")]
    for record in records:
        for column in ("config", "details"):
            if isinstance(record[column], str):
                record[column] = json.loads(record[column])
        if isinstance(record["details"], dict):
            record["details"] = {key: value for key, value in record["details"].items() if key not in DRAWINGS}
    return records


def markdown(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A GitHub Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_one_line(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _one_line(cell: object) -> str:
    return " ".join(printable(cell).splitlines())


def console() -> Console:
    """A console for tables on standard output, as wide as the terminal, or `PIPE_WIDTH` wide in a pipe.

    The variable COLUMNS sets another width.
    """
    from ..terminal.console import SafeConsole

    known = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return SafeConsole(markup=False, emoji=False, width=None if known else PIPE_WIDTH)
