"""The comparison as a table on the terminal: the report in brief."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..analysis.summary import summary_rows
from . import output

if TYPE_CHECKING:
    import pandas as pd

# metric -> heading, factor to the unit of the heading, and whether the interval is shown.
HEADINGS = {
    "w2": ("W2", 1.0, True),
    "w2_excess": ("W2 excess", 1.0, True),
    "sliced_w2": ("sliced W2", 1.0, True),
    "sliced_w2_excess": ("sliced excess", 1.0, True),
    "nll_gap": ("NLL gap", 1.0, True),
    "nll": ("NLL", 1.0, True),
    "generalization_gap": ("train/test gap", 1.0, True),
    "nfe": ("NFE", 1.0, False),
    "seconds_per_1k": ("ms per 1k", 1e3, False),
    "train_seconds": ("train s", 1.0, False),
}
SPARED_FIRST = ("train_seconds", "generalization_gap", "seconds_per_1k", "w2", "sliced_w2")  # on a narrow terminal


def print_summary(frame: pd.DataFrame, console: Console | None = None) -> None:
    """Print a table for each dataset: a row per model and sampler setting, the mean over seeds, failures included."""
    console = console or output.console()
    summary = summary_rows(frame)
    for dataset, rows in summary.groupby("dataset_id", sort=False):
        console.print(_fitting(str(dataset), rows, console))
    if not summary["selected"].all():
        console.print(Text("▸ selected by this command; the other rows are of earlier ones", "dim"))
    console.print(
        Text(
            "mean over seeds ± 95 % interval of the metric; * best of its column, ties included; likelihoods by kind",
            "dim",
        )
    )


def _fitting(dataset: str, rows: pd.DataFrame, console: Console) -> Table:
    """The table with as many columns as the terminal is wide."""
    # A distance that another is to be read in place of (W2 in many dimensions) is left to the report.
    here = [metric for metric in HEADINGS if rows.loc[rows["metric"] == metric, "primary"].any()]
    if "nll_gap" in here:
        here.remove("nll")
    table = _table(dataset, rows, here)
    for metric in SPARED_FIRST:
        if console.measure(table, options=console.options.update(width=1_000)).maximum <= console.width:
            break
        here = [name for name in here if name != metric]
        table = _table(dataset, rows, here)
    return table


def _table(dataset: str, rows: pd.DataFrame, here: list[str]) -> Table:
    table = Table(title=Text(dataset, "bold"), title_justify="left", box=None, pad_edge=False, expand=False)
    table.add_column("model", no_wrap=True)
    table.add_column("sampler", no_wrap=True)
    for metric in here:
        unit = rows.loc[rows["metric"] == metric, "unit"].iloc[0] if HEADINGS[metric][2] else ""
        table.add_column(Text(f"{HEADINGS[metric][0]}\n{unit}"), justify="right", no_wrap=True)
    partly = not rows["selected"].all()
    for control in (False, True):
        for (label, _), runs in rows[rows["control"] == control].groupby(["label", "budget"], sort=False):
            mark = "▸ " if partly and runs["selected"].any() else ""
            for line in _lines(f"{mark}{label}", runs, here, "dim" if control else ""):
                table.add_row(*line)
    return table


def _lines(label: str, runs: pd.DataFrame, metrics: list[str], style: str) -> list[list[Text]]:
    """The lines of one model: its likelihood and training stand beside its first sampler setting."""
    once = runs[(runs["sampler"] == "") & (runs["metric"] != "")]
    failures = runs[~runs["outcome"].isin(["ok", "unsupported"])]
    samplers = [sampler for sampler in runs["sampler"].unique() if sampler] or [""]
    lines = []
    for number, sampler in enumerate(samplers):
        found = runs[(runs["sampler"] == sampler) & (runs["metric"] != "")]
        cells = [_cell(metric, found, once if number == 0 else None) for metric in metrics]
        if any(cells):
            lines.append(
                [Text(label if number == 0 else "", style), Text(sampler, style), *(Text(c, style) for c in cells)]
            )
    for failure in failures.itertuples():
        what = f"{failure.outcome}: {failure.message}".split("\n")[0]
        lines.append([Text(label, style), Text(str(failure.sampler or failure.phase), style), Text(what[:60], "red")])
    return [line + [Text("")] * (len(metrics) + 2 - len(line)) for line in lines]


def _cell(metric: str, *frames: pd.DataFrame | None) -> str:
    for frame in frames:
        row = None if frame is None else next(frame[frame["metric"] == metric].itertuples(), None)
        if row is not None:
            return _number(row, *HEADINGS[metric][1:])
    return ""


def _number(row: Any, factor: float, with_interval: bool) -> str:
    value, half = row.value * factor, row.half * factor
    with_interval = with_interval and math.isfinite(half) and half > 0
    shown = _digits(half)(value) if with_interval else f"{value:.3g}"
    interval = f" ±{_digits(half)(half)}" if with_interval else ""
    kind = f" {row.likelihood}" if row.metric in ("nll", "nll_gap") else ""
    return f"{shown}{interval}{kind}{'*' if row.best else ''}"


def _digits(half: float) -> Callable[[float], str]:
    """Write a number with the decimals that an interval of this half-width supports."""
    if half >= 1e4 or half < 1e-6:
        return lambda number: f"{number:.2g}"
    decimals = max(0, 1 - math.floor(math.log10(half)))
    return lambda number: f"{number:.{decimals}f}"
