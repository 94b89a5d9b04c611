"""The comparison table of one dataset as plain records."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import trilemma

from . import numbers


@dataclass(frozen=True)
class Column:
    """A column of the table: metric, likelihood kind and heading. `factor` converts values to the unit shown."""

    metric: str
    kind: str
    group: str
    title: str
    unit: str
    factor: float
    floor: str
    """What real data gives, in words."""
    per_run: bool
    about: str
    """The conditions of the likelihood, if they are the same in all cells."""
    capped: bool

    @property
    def heading(self) -> str:
        """The whole heading on one line."""
        parts = [self.title]
        parts += [f"({self.kind})"] if self.kind else []
        parts += [f"[{self.unit}]"] if self.unit else []
        parts += [self.floor] if self.floor else []
        parts += [f"({self.about})"] if self.about else []
        return " ".join(parts)


@dataclass(frozen=True)
class Cell:
    """One number as text, with the conditions of a likelihood (`about`). `sort` is the number, or infinity."""

    value: str = numbers.MISSING
    half: str = ""
    about: str = ""
    best: bool = False
    notes: str = ""
    sort: float = math.inf


@dataclass(frozen=True)
class Failure:
    """A cell or evaluation that failed, as a row of the table."""

    sampler: str
    outcome: str
    where: str
    message: str


@dataclass
class Entry:
    """The rows of one model: a line for each sampler setting, and its failures.

    If there are several settings, likelihood and training have a line of their own.
    """

    label: str
    ink: str
    control: bool
    rank: tuple[float, ...] = ()
    lines: list[tuple[str, dict[int, Cell]]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    mark: str = ""
    marked: dict[str, list[str]] = field(default_factory=dict)
    """The reasons why lines must not be ranked, by their sampler setting."""

    @property
    def height(self) -> int:
        """Number of table lines that hold numbers."""
        return len(self.lines)


@dataclass(frozen=True)
class Table:
    """The comparison of one dataset."""

    dataset: str
    title: str
    columns: list[Column]
    models: list[Entry]
    controls: list[Entry]
    seeds: int
    notes: dict[str, str]
    folded: str = ""
    """A sentence about columns that are folded because all models have the same value."""

    @property
    def marked(self) -> list[tuple[str, str]]:
        """Each line that must not be ranked, with its reasons."""
        return [
            (", ".join(filter(None, (entry.label, sampler or "likelihood and training"))), "; ".join(reasons))
            for entry in (*self.models, *self.controls)
            for sampler, reasons in entry.marked.items()
        ]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The column groups in order, with their numbers of columns."""
        widths: dict[str, int] = {}
        for column in self.columns:
            group = trilemma.GROUPS.get(column.group, column.group)
            widths[group] = widths.get(group, 0) + 1
        return list(widths.items())
