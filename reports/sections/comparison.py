"""The section of comparison tables, one per dataset."""

from __future__ import annotations

from typing import ClassVar

import trilemma

from .. import html, markdown
from ..comparison import build
from ..kit import digest
from ..table import Cell, Column, Entry, Failure, Table

READING = (
    "Each row is a model at one sampler setting, with the best quality first; likelihood and training have a row of "
    "their own if a model has several settings. A value is the mean over training seeds. {interval} Shaded bold marks "
    "what cannot be told apart from the best of its column; a cost is compared only among the best in quality. "
    "Likelihoods of different kinds or of different data have separate columns, because they cannot be compared."
)
OVER_SEEDS = "± is the 95 % interval of this mean over training seeds."
ONE_TRAINING = (
    "There are fewer than three seeds, so ± is the 95 % interval of the metric for one trained model, it says nothing "
    "about other trainings, and nothing is marked as best."
)


class Comparison(trilemma.ReportSection):
    """The comparison section: one table per dataset with quality, likelihood and cost of each sampler setting."""

    name: ClassVar[str] = "comparison"
    order: ClassVar[int] = 20

    def render(self, view: trilemma.RunView) -> trilemma.Section | None:
        """Render the tables. Returns None for a run without datasets."""
        run = digest(view)
        tables = [(build(run, name), build(run, name, main=False)) for name in run.datasets]
        if not tables:
            return None
        seeds = bool((run.summary["interval"] == "seeds").any())
        reading = READING.format(interval=OVER_SEEDS if seeds else ONE_TRAINING)
        parts = [markdown.escape(reading).replace("Shaded bold", "Bold")]
        for main, more in tables:
            parts += [f"### {markdown.escape(main.title)}", _markdown(main)]
            if more.columns:
                parts += ["<details><summary>More numbers</summary>", _markdown(more), "</details>"]
        return trilemma.Section(
            title="Comparison",
            html=html.render("comparison.html.j2", reading=reading, tables=tables),
            markdown="\n\n".join(parts),
        )


def _markdown(table: Table) -> str:
    header = ["Model", "Sampler", *(markdown.escape(column.heading) for column in table.columns)]
    rows = [row for entry in table.models for row in _rows(entry, table.columns)]
    if table.controls:
        rows.append(["*Controls*", *[""] * (len(header) - 1)])
        rows += [row for entry in table.controls for row in _rows(entry, table.columns)]
    text = markdown.table(header, rows, [False, False, *[True] * len(table.columns)])
    failures = [(entry, failure) for entry in [*table.models, *table.controls] for failure in entry.failures]
    notes = [f"{mark} {markdown.escape(note)}  " for mark, note in table.notes.items()]
    notes += [f"! {markdown.escape(who)}: {markdown.escape(why)}  " for who, why in table.marked]
    notes += [markdown.escape(table.folded)] if table.folded else []
    lines = [f"- {_failure(entry, failure)}" for entry, failure in failures]
    return "\n\n".join(filter(None, [text, "\n".join(lines), "\n".join(notes)]))


def _rows(entry: Entry, columns: list[Column]) -> list[list[str]]:
    rows = []
    for sampler, cells in entry.lines:
        name = markdown.escape(f"{entry.mark} {entry.label}".strip())
        rows.append([name, markdown.escape(sampler), *(_cell(cells.get(i)) for i in range(len(columns)))])
    if not rows:
        outcomes = ", ".join(dict.fromkeys(f"*{failure.outcome}*" for failure in entry.failures))
        rows.append([markdown.escape(f"{entry.mark} {entry.label}".strip()), outcomes, *[""] * len(columns)])
    return rows


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return ""
    value = f"**{cell.value}**" if cell.best else cell.value
    half = f" ± {cell.half}" if cell.half else ""
    about = f" ({markdown.escape(cell.about)})" if cell.about else ""
    return f"{value}{half}{cell.notes}{about}"


def _failure(entry: Entry, failure: Failure) -> str:
    sampler = f" at {markdown.escape(failure.sampler)}" if failure.sampler else ""
    message = f": {markdown.escape(failure.message)}" if failure.message else ""
    return f"{markdown.escape(entry.label)}{sampler}: **{failure.outcome}** {markdown.escape(failure.where)}{message}"
