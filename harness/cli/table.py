"""The summary table of a run on the terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..analysis.answers import answers
from ..analysis.arenas import RUN
from ..analysis.summary import judge, metrics_in_order
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
GAP = 2  # between two columns


def print_summary(frame: pd.DataFrame, console: Console | None = None) -> None:
    """Print the conclusions and a table for each dataset, one row per model and sampler setting, and failures."""
    console = console or output.console()
    judged = judge(frame)
    summary = judged.summary
    said = answers(summary, verdicts(judged))
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
    for row in _records(rows[rows["marked"].map(len) > 0]):
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
    labels = sum(min(width, LABEL_WIDTH) for width in _widths(_table(dataset, rows, shown, 0))[:2])
    room = max(LEAST_MESSAGE, min(60, console.width - labels - 4))
    table = _table(dataset, rows, shown, room)
    widths = _widths(table)
    if _total([*(min(width, LABEL_WIDTH) for width in widths[:2]), *widths[2:]]) <= console.width:
        yield table
        return
    spared = []
    label, *widths = _widths(_table(dataset, rows, shown))
    label = min(label, max(LEAST_LABEL, min(LABEL_WIDTH, console.width // 3)))
    needed = dict(zip(shown, widths, strict=True))
    for metric in _spared_first(main, shown)[:-1]:
        if _total([label, *(needed[name] for name in shown)]) <= console.width:
            break
        spared.append(metric)
        shown = [name for name in shown if name != metric]
    yield _table(dataset, rows, shown)
    yield from (Text(line, "red") for line in _failures(rows))
    if spared:
        titles = main.drop_duplicates("metric").set_index("metric")["title"]
        names = ", ".join(" ".join(titles[name].split()) for name in reversed(spared))
        yield Text(f"not shown because the terminal is narrow: {names}", "dim")


def _failures(rows: pd.DataFrame) -> list[str]:
    """A line for each failure."""
    failed = _records(rows[~rows["outcome"].isin(["ok", "unsupported"])])
    return [f"{row.label}, {row.sampler or row.phase}: {row.outcome}: {row.message}".split("\n")[0] for row in failed]


def _records(rows: pd.DataFrame) -> Iterator[Any]:
    """The rows with their columns as attributes; of no rows, `itertuples` would make a class for nothing."""
    return iter(rows.itertuples() if len(rows) else ())


def _widths(table: Table) -> list[int]:
    """The widths of the columns when nothing is folded."""
    return [
        max(cell_len(line) for cell in (column.header, *column.cells) for line in str(cell).split("\n"))
        for column in table.columns
    ]


def _total(widths: Sequence[int]) -> int:
    """The width of a table whose columns have these widths."""
    return sum(widths) + GAP * (len(widths) - 1)


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
    found = _by_line(rows)
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
        for key, runs in rows[rows["control"] == control].groupby(RUN, sort=False):
            mark = "▸ " if partly and runs["selected"].any() else ""
            label, style = f"{mark}{_label(runs, rows)}", "dim" if control else ""
            own_lines = _lines(label, runs, found.get(key, {}), [column[:2] for column in columns], style, room)
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


def _by_line(rows: pd.DataFrame) -> dict[Any, dict[str, dict[str, list[Any]]]]:
    """The numbers of each model (its values in the columns `RUN`), by sampler setting and metric."""
    found: dict[Any, dict[str, dict[str, list[Any]]]] = {}
    for row in _records(rows[rows["metric"] != ""]):
        own = found.setdefault(tuple(getattr(row, name) for name in RUN), {})
        own.setdefault(row.sampler, {}).setdefault(row.metric, []).append(row)
    return found


def _lines(
    label: str,
    runs: pd.DataFrame,
    found: dict[str, dict[str, list[Any]]],
    columns: list[tuple[str, float]],
    style: str,
    room: int | None,
) -> list[list[Text]]:
    """The lines of one model. Its likelihood has a line of its own if there are several sampler settings."""
    once = found.get("", {})
    failures = runs[~runs["outcome"].isin(["ok", "unsupported"])]
    samplers = [sampler for sampler in runs["sampler"].unique() if sampler]
    parts = [(sampler, (once if len(samplers) == 1 else {}) | found.get(sampler, {})) for sampler in samplers]
    if len(samplers) != 1:
        likelihood = any(row.group == "likelihood" for own in once.values() for row in own)
        parts.insert(0, (("likelihood" if likelihood else "training") if samplers else "", once))
    lines: list[list[Text]] = []
    for sampler, own in parts:
        cells = [_number(_usual(own[metric]), factor) if metric in own else "" for metric, factor in columns]
        if any(cells):
            mark = " !" if any(row.marked for same in own.values() for row in same) else ""
            name = Text(label if not lines else "", style)
            lines.append([name, Text(f"{sampler}{mark}", style), *(Text(cell, style) for cell in cells)])
    for failure in _records(failures) if room is not None else ():
        what = f"{failure.outcome}: {failure.message}".split("\n")[0]
        lines.append([Text(label, style), Text(str(failure.sampler or failure.phase), style), Text(what[:room], "red")])
    return [line + [Text("")] * (len(columns) + 2 - len(line)) for line in lines]


def _usual(rows: list[Any]) -> Any:
    """Of the rows of one quantity of one line, that of the usual machine, or else of the most seeds."""
    if len({row.machine for row in rows}) < 2:
        return rows[0]
    return min(rows, key=lambda row: (row.elsewhere, -len(row.seeds)))


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
