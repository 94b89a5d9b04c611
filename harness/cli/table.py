"""The summary table of a run on the terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..analysis.answers import answers
from ..analysis.arenas import RUN
from ..analysis.summary import metrics_in_order, summary_rows, usual_first
from ..analysis.verdicts import verdicts
from ..analysis.wording import number
from ..contracts.result import COSTS
from . import output

if TYPE_CHECKING:
    import pandas as pd

LABEL_WIDTH = 24  # a narrow terminal folds labels and sampler settings down to this width before it drops numbers
HEADING_WIDTH = 24
LEAST_MESSAGE = 20
LEAST_LABEL = 12
LEAST_NUMBER = 6


def print_summary(frame: pd.DataFrame, console: Console | None = None) -> None:
    """Print the conclusions and a table for each dataset, one row per model and sampler setting, and failures."""
    console = console or output.console()
    summary = summary_rows(frame)
    said = answers(summary, verdicts(frame))
    for dataset, rows in summary.groupby("dataset_id", sort=False):
        own = [answer for answer in said if answer.dataset == dataset]
        for answer in own:
            where = f" ({answer.where})" if len(own) > 1 else ""
            console.print(Text(f"Conclusions for {dataset}{where}", "bold"))
            for each in answer.lines:
                style = "dim" if each.fine else ""
                console.print(Text.assemble((f"{each.heading}: ", "bold"), each.text, style=style))
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

    If not all fit, models and sampler settings share a column, headings are broken, and the messages of failures stand
    below the table. One quantity always stays.
    """
    main = rows[rows["place"] != "more"]
    shown = metrics_in_order(main)
    labels = sum(min(width, LABEL_WIDTH) for width in _label_widths(_table(dataset, rows, shown, 0), 2, console))
    room = max(LEAST_MESSAGE, min(60, console.width - labels - 4))
    table = _table(dataset, rows, shown, room)
    if _least_width(table, 2, LABEL_WIDTH, console) <= console.width:
        yield table
        return
    spared = []
    fold = max(LEAST_LABEL, min(LABEL_WIDTH, console.width // 3))
    table = _table(dataset, rows, shown)
    for metric in _spared_first(main, shown)[:-1]:
        if _least_width(table, 1, fold, console) <= console.width:
            break
        spared.append(metric)
        shown = [name for name in shown if name != metric]
        table = _table(dataset, rows, shown)
    yield table
    yield from (Text(line, "red") for line in _failures(rows))
    if spared:
        titles = main.drop_duplicates("metric").set_index("metric")["title"]
        names = ", ".join(" ".join(titles[name].split()) for name in reversed(spared))
        yield Text(f"not shown because the terminal is narrow: {names}", "dim")


def _failures(rows: pd.DataFrame) -> list[str]:
    """A line for each failure."""
    failed: Any = rows[~rows["outcome"].isin(["ok", "unsupported"])].itertuples()
    return [f"{row.label}, {row.sampler or row.phase}: {row.outcome}: {row.message}".split("\n")[0] for row in failed]


def _least_width(table: Table, names: int, fold: int, console: Console) -> int:
    """The width of a table whose first columns, which hold `names`, are folded to a width."""
    wide = console.options.update(width=10_000)
    spare = sum(max(0, width - fold) for width in _label_widths(table, names, console))
    return console.measure(table, options=wide).maximum - spare


def _label_widths(table: Table, names: int, console: Console) -> list[int]:
    """The widths of the first columns when nothing is folded."""
    wide = console.options.update(width=10_000)
    return [
        max((console.measure(cell, options=wide).maximum for cell in column.cells), default=0)
        for column in table.columns[:names]
    ]


def _spared_first(main: pd.DataFrame, shown: list[str]) -> list[str]:
    """The metrics in the order in which a narrow terminal drops them.

    What stays longest is the first quantity of quality, then those of the cost of sampling, of likelihood, of coverage
    and of other groups, then the cost of training, then other quantities that rank models.
    """
    about = main.groupby("metric").agg(group=("group", "first"), ranks=("ranks", "any"), place=("place", "first"))

    def worth(metric: str) -> tuple[int, int]:
        row: Any = about.loc[metric]
        group, ranks, place = row["group"], row["ranks"], row["place"]
        kept = ("other", "coverage", "likelihood", "sampling", "quality")
        if place == "first":
            rank = 3 + (kept.index(group) if group in kept else 0)
        else:
            rank = 2 if group == "training" else int(ranks)
        return rank, -shown.index(metric)

    return sorted(shown, key=worth)


def _table(dataset: str, rows: pd.DataFrame, here: list[str], room: int | None = None) -> Table:
    """The table of these metrics, with messages of failures that take up to `room` characters.

    Without a room the table is a narrow one: labels and sampler settings share a column, and it holds no failures.
    """
    table = Table(title=Text(dataset, "bold"), title_justify="left", box=None, pad_edge=False, expand=False)
    table.add_column("model", overflow="fold")
    if room is not None:
        table.add_column("sampler", overflow="fold")
    columns = []
    for metric in here:
        own = rows[rows["metric"] == metric]
        unit, factor = _scaled(own["unit"].iloc[0], own.loc[~own["control"], "value"])
        columns.append((metric, factor, own["title"].iloc[0], unit))
    lines: list[list[Text]] = []
    partly = not rows["selected"].all()
    for control in (False, True):
        if control and lines and rows["control"].any():
            lines.append([Text("controls:", "dim")])
        for _, runs in rows[rows["control"] == control].groupby(RUN, sort=False):
            mark = "▸ " if partly and runs["selected"].any() else ""
            label, style = f"{mark}{_label(runs, rows)}", "dim" if control else ""
            own_lines = _lines(label, runs, [column[:2] for column in columns], style, room)
            lines += own_lines if room is not None else _in_one_column(own_lines)
    first = 1 if room is None else 2
    for place, (_, _, title, unit) in enumerate(columns, first):
        widest = max((len(line[place]) for line in lines if len(line) > place), default=0)
        heading = f"{_short(title)}\n{_short(unit)}" if room is not None else _broken(title, unit, widest)
        table.add_column(Text(heading), justify="right", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    return table


def _in_one_column(lines: list[list[Text]]) -> list[list[Text]]:
    """The lines of one model with its sampler settings below its label. The only setting stands beside it."""
    if not lines:
        return []
    label = lines[0][0]
    if len(lines) == 1:
        sampler = lines[0][1].plain.removeprefix("direct").removeprefix("likelihood").strip()
        return [[Text(" ".join(filter(None, (label.plain, sampler))), label.style), *lines[0][2:]]]
    below = [[Text(f"  {line[1].plain}", line[1].style), *line[2:]] for line in lines]
    first = lines[0][1].plain
    if not first.startswith("likelihood"):
        return [[label], *below]
    marked = Text(label.plain + first.removeprefix("likelihood"), label.style)
    return [[marked, *lines[0][2:]], *below[1:]]


def _broken(title: str, unit: str, width: int) -> str:
    """A heading of several lines that is as narrow as its longest word, or as the numbers below it."""
    width = min(HEADING_WIDTH, max(LEAST_NUMBER, width, *(len(word) for word in f"{title} {unit}".split())))
    return "\n".join(textwrap.wrap(title, width) + textwrap.wrap(unit, width))


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


def _lines(
    label: str, runs: pd.DataFrame, columns: list[tuple[str, float]], style: str, room: int | None
) -> list[list[Text]]:
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
    for failure in failures.itertuples() if room is not None else ():
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
