"""The choice of the columns that a window of 1,200 pixels holds: those that decide first, with the costs."""

from __future__ import annotations

import re

from .table import Cell, Column, Entry

ROOM = 905
"""Pixels for columns: a window of 1,200, without its margins, a scroll bar, and 220 for the names of models."""
DIGIT, SMALL, BOLD, PADDING = 8.1, 6.9, 1.12, 13.0
"""Widths in pixels of a wide font: of a character of a number and of a note, of bold to normal, and of a margin."""

FIRST = ("sampling", "likelihood", "coverage")
"""The groups whose first quantities follow the deciding one."""
MAIN = ("training", "further", "", "quality", "likelihood", "coverage", "sampling")
"""The groups of the other quantities. The blank one is of costs that are counted and do not depend on the machine."""
FOLDED = 99


def fitting(columns: list[Column], entries: list[Entry], deciding: str | None) -> list[int]:
    """The places of the columns that fit, in the order of the table.

    The deciding quality comes first, then the costs of sampling, likelihood, coverage, what training costs, and others.
    One column is always chosen.
    """
    shown: list[int] = []
    room = ROOM
    worth = {i: value for i, column in enumerate(columns) if (value := _worth(column, deciding)) < FOLDED}
    for i in sorted(worth, key=lambda i: (worth[i], i)):
        room -= width(columns[i], [cells[i] for entry in entries for cells in entry.cells if i in cells])
        if room < 0 and shown:
            break
        shown.append(i)
    return sorted(shown)


def width(column: Column, cells: list[Cell]) -> int:
    """The least width of a column in pixels: its longest number, or the longest word of its heading."""
    texts = (column.kind, column.unit, column.floor, column.about, *(cell.about for cell in cells))
    words = [len(word) * SMALL for text in texts for word in re.split(r"[\s/(,]", text)]
    words += [len(word) * DIGIT for word in column.title.split()]
    numbers = [
        len(cell.value) * DIGIT * (BOLD if cell.best else 1)
        + (len(cell.half) + 1) * SMALL * bool(cell.half)
        + len(cell.notes) * SMALL
        for cell in cells
    ]
    return round(max([*words, *numbers], default=0) + PADDING)


def _worth(column: Column, deciding: str | None) -> int:
    """The place of a column in the order of the choice. What belongs to the folded tables is beyond all others."""
    if column.metric == deciding:
        return 0
    if column.place == "first":
        return 1 + (FIRST.index(column.group) if column.group in FIRST else len(FIRST))
    group = "" if column.counted else column.group
    folded = column.place == "more" and not column.counted
    return 1 + len(FIRST) + (FOLDED if folded or group not in MAIN else MAIN.index(group))
