"""The section of comparison tables, one per dataset."""

from __future__ import annotations

from typing import ClassVar

import trilemma

from .. import html, markdown
from ..cells import Details, details
from ..comparison import build
from ..kit import digest
from ..table import Cell, Entry, Failure, Table

READING = (
    "Each row is a model at one sampler setting, with the best quality first; with several settings, likelihood and "
    "training stand beside the name of the model. A value is the mean over training seeds. {interval} Shaded bold "
    "marks what cannot be told apart from the best of its column; a cost is compared only among the best in quality. "
    "Likelihoods of different kinds or of different data have separate columns, because they cannot be compared."
)
OVER_SEEDS = "± is the 95 % interval of this mean over training seeds."
ONE_TRAINING = (
    "There are fewer than three seeds, so ± is the 95 % interval of the metric for one trained model, it says nothing "
    "about other trainings, and nothing is marked as best."
)
COMMANDS = "The commands are for a terminal in the run directory, which also holds the logs."


class Comparison(trilemma.ReportSection):
    """The comparison section: one table per dataset with quality, likelihood and cost of each sampler setting."""

    name: ClassVar[str] = "comparison"
    order: ClassVar[int] = 20

    def render(self, view: trilemma.RunView) -> trilemma.Section | None:
        """Render the tables. Returns None for a run without datasets."""
        run = digest(view)
        tables = [(build(run, name), details(run, view, name)) for name in run.datasets]
        if not tables:
            return None
        seeds = bool((run.summary["interval"] == "seeds").any())
        reading = READING.format(interval=OVER_SEEDS if seeds else ONE_TRAINING)
        parts = [markdown.escape(reading).replace("Shaded bold", "Bold")]
        for table, cells in tables:
            parts += [f"### {markdown.escape(table.title)}", _markdown(table, table.shown, table.entries)]
            parts.append(_notes(table))
            for group, columns in table.rest.items():
                summary = f"<details><summary>More numbers: {markdown.escape(group)}</summary>"
                parts += [summary, _markdown(table, columns, table.holding(columns)), "</details>"]
            parts += ["<details><summary>Cells</summary>", COMMANDS, _cells(cells), "</details>"]
        return trilemma.Section(
            title="Comparison",
            html=html.render("comparison.html.j2", reading=reading, tables=tables, commands=COMMANDS),
            markdown="\n\n".join(filter(None, parts)),
        )


def _markdown(table: Table, columns: list[int], entries: list[Entry]) -> str:
    header = ["Model", "Sampler", *(markdown.escape(table.columns[i].heading) for i in columns)]
    rows = [row for entry in entries if not entry.control for row in _rows(entry, columns)]
    if any(entry.control for entry in entries):
        rows.append(["*Controls*", *[""] * (len(header) - 1)])
        rows += [row for entry in entries if entry.control for row in _rows(entry, columns)]
    return markdown.table(header, rows, [False, False, *[True] * len(columns)])


def _notes(table: Table) -> str:
    failures = [f"- {_failure(entry, failure)}" for entry in table.entries for failure in entry.failures]
    notes = [f"{mark} {markdown.escape(note)}  " for mark, note in table.notes.items()]
    notes += [f"! {markdown.escape(who)}: {markdown.escape(why)}  " for who, why in table.marked]
    notes += [markdown.escape(table.folded)] if table.folded else []
    return "\n\n".join(filter(None, ["\n".join(failures), "\n".join(notes)]))


def _rows(entry: Entry, columns: list[int]) -> list[list[str]]:
    lines = [("likelihood, training" if entry.lines else "", entry.own), *entry.lines]
    rows = []
    for sampler, cells in lines:
        if any(i in cells for i in columns):
            numbers = [_cell(cells[i]) if i in cells else "" for i in columns]
            rows.append([markdown.escape(entry.name), markdown.escape(sampler), *numbers])
    if not rows:
        outcomes = ", ".join(dict.fromkeys(f"*{failure.outcome}*" for failure in entry.failures))
        rows.append([markdown.escape(entry.name), outcomes, *[""] * len(columns)])
    return rows


def _cell(cell: Cell) -> str:
    value = f"**{cell.value}**" if cell.best else cell.value
    half = f" ± {cell.half}" if cell.half else ""
    about = f" ({markdown.escape(cell.about)})" if cell.about else ""
    return f"{value}{half}{cell.notes}{about}"


def _failure(entry: Entry, failure: Failure) -> str:
    sampler = f" at {markdown.escape(failure.sampler)}" if failure.sampler else ""
    message = f": {markdown.escape(failure.message)}" if failure.message else ""
    return f"{markdown.escape(entry.label)}{sampler}: **{failure.outcome}** {markdown.escape(failure.where)}{message}"


def _cells(blocks: list[Details]) -> str:
    header = ["Model", "Seed", "Outcome", "Steps", "Command"]
    rows = [
        [markdown.escape(text) for text in (block.label, cell.seed, cell.outcome, cell.steps, cell.command)]
        for block in blocks
        for cell in block.cells
    ]
    return markdown.table(header, rows, [False, True, False, True, False])
