"""The summary table of a run on the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..analysis.arenas import RUN
from ..analysis.conclusions import conclusions, number
from ..analysis.summary import metrics_in_order, summary_rows, usual_first
from ..analysis.verdicts import verdicts
from ..contracts.result import COSTS, GROUPS, LIKELIHOOD_KINDS
from . import output

if TYPE_CHECKING:
    import pandas as pd

LABEL_WIDTH = 24  # a narrow terminal folds labels and sampler settings down to this width before it drops numbers
HEADING_WIDTH = 24
LEAST_MESSAGE = 20


def print_summary(frame: pd.DataFrame, console: Console | None = None) -> None:
    """Print the conclusions and a table for each dataset, one row per model and sampler setting, and failures."""
    console = console or output.console()
    summary = summary_rows(frame)
    said = verdicts(frame)
    for dataset, rows in summary.groupby("dataset_id", sort=False):
        own = [v for v in said if v["dataset"] == dataset]
        places = list(dict.fromkeys((v["budget"], v["device"], v["trained_on"]) for v in own))
        for place in places:
            here = [v for v in own if (v["budget"], v["device"], v["trained_on"]) == place]
            where = f" ({', '.join(filter(None, place))})" if len(places) > 1 else ""
            console.print(Text(f"Conclusions for {dataset}{where}", "bold"))
            for heading, sentence in conclusions(here, LIKELIHOOD_KINDS):
                console.print(Text.assemble((f"{heading}: ", "bold"), sentence))
        for part in _fitting(str(dataset), rows, console):
            console.print(part)
        for line in _marked(rows):
            console.print(Text(line, "yellow"))
    if not summary["selected"].all():
        console.print(Text("▸ selected by this command; the other rows are from earlier commands", "dim"))
    console.print(Text(_reading(summary), "dim"))


def _reading(summary: pd.DataFrame) -> str:
    over_seeds = bool((summary["interval"] == "seeds").any())
    half = "± 95 % interval over training seeds" if over_seeds else "± 95 % interval of the metric for one training"
    best = (
        "* not told apart from the best; a cost is compared among the best in quality"
        if over_seeds
        else ("fewer than three seeds: no comparison of models")
    )
    other = "; ‡ from another machine than most, and not ranked with them" if summary["elsewhere"].any() else ""
    return f"mean over seeds {half}; {best}; ! marked, not ranked{other}"


def _marked(rows: pd.DataFrame) -> list[str]:
    """A line for each row that must not be ranked, with its reasons."""
    found: dict[str, dict[str, None]] = {}
    row: Any
    for row in rows[rows["marked"].map(len) > 0].itertuples():
        what = f"{row.label}, {row.sampler or 'likelihood and training'}"
        found.setdefault(what, {}).update(dict.fromkeys(row.marked))
    return [f"! {what}: {'; '.join(reasons)}" for what, reasons in found.items()]


def _fitting(dataset: str, rows: pd.DataFrame, console: Console) -> Iterator[Table | Text]:
    """The table of the main quantities with as many columns as fit the terminal, and the titles of the others.

    One quantity always stays.
    """
    main = rows[rows["place"] != "more"]
    shown = metrics_in_order(main)
    spared = []
    labels = sum(min(width, LABEL_WIDTH) for width in _label_widths(_table(dataset, rows, shown, 0), console))
    room = max(LEAST_MESSAGE, min(60, console.width - labels - 4))
    table = _table(dataset, rows, shown, room)
    for metric in _spared_first(main, shown)[:-1]:
        if _least_width(table, console) <= console.width:
            break
        spared.append(metric)
        shown = [name for name in shown if name != metric]
        table = _table(dataset, rows, shown, room)
    yield table
    if spared:
        titles = main.drop_duplicates("metric").set_index("metric")["title"]
        yield Text(f"not shown because the terminal is narrow: {', '.join(titles[name] for name in spared)}", "dim")


def _least_width(table: Table, console: Console) -> int:
    """The width of a table whose labels and sampler settings are folded."""
    wide = console.options.update(width=10_000)
    spare = sum(max(0, width - LABEL_WIDTH) for width in _label_widths(table, console))
    return console.measure(table, options=wide).maximum - spare


def _label_widths(table: Table, console: Console) -> list[int]:
    """The widths of the columns of labels and sampler settings when nothing is folded."""
    wide = console.options.update(width=10_000)
    return [
        max((console.measure(cell, options=wide).maximum for cell in column.cells), default=0)
        for column in table.columns[:2]
    ]


def _spared_first(main: pd.DataFrame, shown: list[str]) -> list[str]:
    """The metrics in the order in which a narrow terminal drops them.

    First come the costs of training, then quantities that do not rank models, then quantities that are not the first of
    their group, and then the first quantities of the groups, with the costs of sampling last.
    """
    about = main.groupby("metric").agg(group=("group", "first"), ranks=("ranks", "any"), place=("place", "first"))
    groups = [group for group in GROUPS if group not in COSTS]

    def worth(metric: str) -> tuple[int, int, int]:
        group, ranks, place = about.loc[metric, ["group", "ranks", "place"]]
        first = place == "first"
        rank = 0 if group == "training" else 1 if not ranks else 3 if first else 2
        return rank, -groups.index(group) if group in groups else 1, -shown.index(metric)

    return sorted(shown, key=worth)


def _table(dataset: str, rows: pd.DataFrame, here: list[str], room: int) -> Table:
    """The table of these metrics, with messages of failures that take up to `room` characters."""
    table = Table(title=Text(dataset, "bold"), title_justify="left", box=None, pad_edge=False, expand=False)
    table.add_column("model", overflow="fold")
    table.add_column("sampler", overflow="fold")
    columns = []
    for metric in here:
        own = rows[rows["metric"] == metric]
        unit, factor = _scaled(own["unit"].iloc[0], own.loc[~own["control"], "value"])
        table.add_column(Text(f"{_short(own['title'].iloc[0])}\n{_short(unit)}"), justify="right", no_wrap=True)
        columns.append((metric, factor))
    partly = not rows["selected"].all()
    for control in (False, True):
        if control and table.row_count and rows["control"].any():
            table.add_row(Text("controls:", "dim"))
        for _, runs in rows[rows["control"] == control].groupby(RUN, sort=False):
            mark = "▸ " if partly and runs["selected"].any() else ""
            for line in _lines(f"{mark}{_label(runs, rows)}", runs, columns, "dim" if control else "", room):
                table.add_row(*line)
    return table


def _label(runs: pd.DataFrame, rows: pd.DataFrame) -> str:
    """The label of a line, with the model, budget, device and machine by which it differs from its namesakes."""
    line = runs.iloc[0]
    namesakes = rows[rows["label"] == line["label"]]
    differing = [str(line[key]) for key in ("model", "budget", "device", "trained_on") if namesakes[key].nunique() > 1]
    return f"{line['label']} ({', '.join(differing)})" if differing else str(line["label"])


def _short(heading: str) -> str:
    """A heading of a column in one line that is not too wide."""
    line = " ".join(heading.split())
    return line if len(line) <= HEADING_WIDTH else f"{line[: HEADING_WIDTH - 1].rstrip()}…"


def _scaled(unit: str, values: pd.Series) -> tuple[str, float]:
    """The unit of a column, and the factor that converts values to it. Short times are shown in milliseconds."""
    return ("ms", 1e3) if unit == "s" and values.median() < 1 else (unit, 1.0)


def _lines(label: str, runs: pd.DataFrame, columns: list[tuple[str, float]], style: str, room: int) -> list[list[Text]]:
    """The lines of one model. Its likelihood has a line of its own if there are several sampler settings."""
    once = runs[(runs["sampler"] == "") & (runs["metric"] != "")]
    failures = runs[~runs["outcome"].isin(["ok", "unsupported"])]
    samplers = [sampler for sampler in runs["sampler"].unique() if sampler]
    parts: list[tuple[str, list[pd.DataFrame]]] = []
    for sampler in samplers:
        own = runs[(runs["sampler"] == sampler) & (runs["metric"] != "")]
        parts.append((sampler, [own, once] if len(samplers) == 1 else [own]))
    if len(samplers) != 1:
        likelihood = (once["group"] == "likelihood").any()
        parts.insert(0, (("likelihood" if likelihood else "training") if samplers else "", [once]))
    lines: list[list[Text]] = []
    for sampler, frames in parts:
        cells = [_cell(metric, factor, *frames) for metric, factor in columns]
        if any(cells):
            mark = " !" if any((frame["marked"].map(len) > 0).any() for frame in frames) else ""
            name = Text(label if not lines else "", style)
            lines.append([name, Text(f"{sampler}{mark}", style), *(Text(cell, style) for cell in cells)])
    for failure in failures.itertuples():
        what = f"{failure.outcome}: {failure.message}".split("\n")[0]
        lines.append([Text(label, style), Text(str(failure.sampler or failure.phase), style), Text(what[:room], "red")])
    return [line + [Text("")] * (len(columns) + 2 - len(line)) for line in lines]


def _cell(metric: str, factor: float, *frames: pd.DataFrame | None) -> str:
    for frame in frames:
        row = None if frame is None else next(usual_first(frame[frame["metric"] == metric]).itertuples(), None)
        if row is not None:
            return _number(row, factor)
    return ""


def _number(row: Any, factor: float) -> str:
    value, half = row.value * factor, row.half * factor
    with_interval = row.group not in COSTS and math.isfinite(half) and half > 0
    shown = _digits(half)(value) if with_interval else number(value)
    interval = f" ±{_digits(half)(half)}" if with_interval else ""
    kind = f" {row.likelihood}" if row.likelihood and row.ranks else ""
    return f"{shown}{interval}{kind}{'*' if row.best else ''}{'‡' if row.elsewhere else ''}"


def _digits(half: float) -> Callable[[float], str]:
    """A function that formats a number with the decimals that an interval of this half-width supports."""
    if half >= 1e4 or half < 1e-6:
        return lambda number: f"{number:.2g}"
    decimals = max(0, 1 - math.floor(math.log10(half)))

    def digits(number: float) -> str:
        text = f"{number:.{decimals}f}"
        return text if float(text) else text.lstrip("-")  # no negative zero

    return digits
