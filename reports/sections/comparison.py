"""The section of comparison tables, one per dataset."""

from __future__ import annotations

from typing import ClassVar

import trilemma

from .. import html, markdown
from ..comparison import Cell, Column, Entry, Failure, Table, build
from ..kit import digest

READING = (
    "Each row is a model at one sampler setting, with the best quality first. A value is the mean over training seeds. "
    "± is the 95 % interval that the metric gives, and “seeds” is the standard deviation over training seeds. "
    "Shaded bold marks the best value of a column and all values that are tied with it. Likelihoods of different kinds "
    "have separate columns, because they cannot be compared."
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
        parts = [markdown.escape(READING).replace("Shaded bold", "Bold")]
        for main, more in tables:
            parts += [f"### {markdown.escape(main.title)}", _markdown(main)]
            if more.columns:
                parts += ["<details><summary>More numbers</summary>", _markdown(more), "</details>"]
        return trilemma.Section(
            title="Comparison",
            html=html.render("comparison.html.j2", reading=READING, tables=tables),
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
    lines = [f"- {_failure(entry, failure)}" for entry, failure in failures]
    return "\n\n".join(filter(None, [text, "\n".join(lines), "\n".join(notes)]))


def _rows(entry: Entry, columns: list[Column]) -> list[list[str]]:
    rows = []
    for line, (sampler, cells) in enumerate(entry.lines):
        shown = {**cells, **(entry.shared if line == 0 else {})}
        name = markdown.escape(f"{entry.mark} {entry.label}".strip())
        rows.append([name, markdown.escape(sampler), *(_cell(shown.get(i)) for i in range(len(columns)))])
    if not rows:
        outcomes = ", ".join(dict.fromkeys(f"*{failure.outcome}*" for failure in entry.failures))
        rows.append([markdown.escape(f"{entry.mark} {entry.label}".strip()), outcomes, *[""] * len(columns)])
    return rows


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return ""
    value = f"**{cell.value}**" if cell.best else cell.value
    half = f" ± {cell.half}" if cell.half else ""
    spread = f" (seeds {cell.spread})" if cell.spread else ""
    return f"{value}{half}{cell.notes}{spread}"


def _failure(entry: Entry, failure: Failure) -> str:
    sampler = f" at {markdown.escape(failure.sampler)}" if failure.sampler else ""
    message = f": {markdown.escape(failure.message)}" if failure.message else ""
    return f"{markdown.escape(entry.label)}{sampler}: **{failure.outcome}** {markdown.escape(failure.where)}{message}"
