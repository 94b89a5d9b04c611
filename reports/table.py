"""The comparison table of one dataset as plain records."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import trilemma


@dataclass(frozen=True)
class Column:
    """A column of the table: metric, likelihood kind and heading. `factor` converts values to the unit shown."""

    metric: str
    kind: str
    group: str
    place: str
    title: str
    unit: str
    factor: float
    floor: str
    """What real data gives, in words."""
    about: str
    """The conditions of the likelihood, if they are the same in all cells."""
    counted: bool
    """Whether it is a cost that is counted, not measured, so that it does not depend on the machine."""
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

    @property
    def short(self) -> str:
        """The heading without what real data gives, for a card on a narrow screen."""
        return " ".join(filter(None, (self.title, f"({self.kind})" if self.kind else "", self.unit)))

    @property
    def group_title(self) -> str:
        """The heading of the group of the column."""
        return trilemma.GROUPS.get(self.group, self.group)


@dataclass(frozen=True)
class Cell:
    """One number as text, with the conditions of a likelihood (`about`) and its `interval` in words.

    `sort` is the number, or infinity.
    """

    value: str = ""
    half: str = ""
    about: str = ""
    best: bool = False
    notes: str = ""
    interval: str = ""
    sort: float = math.inf

    @property
    def number(self) -> str:
        """The number for scripts, with six digits."""
        return f"{self.sort:.6g}"


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

    With several settings, likelihood and training stand beside the name of the model (`own`). With one, they are in its
    line.
    """

    label: str
    ink: str
    control: bool
    anchor: str = ""
    """The id of the details of its cells."""
    key: int = 0
    """The number of the model, by which tables with other columns are joined."""
    rank: tuple[float, ...] = ()
    own: dict[int, Cell] = field(default_factory=dict)
    lines: list[tuple[str, dict[int, Cell]]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    mark: str = ""
    marked: dict[str, list[str]] = field(default_factory=dict)
    """The reasons why lines must not be ranked, by their sampler setting."""

    @property
    def name(self) -> str:
        """The label with its mark."""
        return f"{self.mark} {self.label}".strip()

    @property
    def head(self) -> tuple[str, dict[int, Cell]]:
        """The line that holds the name of the model: its only sampler setting, or what does not depend on one."""
        return self.lines[0] if len(self.lines) == 1 else ("", self.own)

    def below(self, columns: list[int]) -> list[tuple[int, str, dict[int, Cell]]]:
        """The lines below the name that have a number in one of some columns: `(place, sampler, cells)`.

        Sampler settings are there if there are several.
        """
        lines = self.lines if len(self.lines) > 1 else []
        return [(i, name, cells) for i, (name, cells) in enumerate(lines, 1) if any(c in cells for c in columns)]

    @property
    def cells(self) -> list[dict[int, Cell]]:
        """The numbers of all lines."""
        return [self.own, *(line for _, line in self.lines)]


@dataclass(frozen=True)
class Table:
    """The comparison of one dataset. `shown` are the columns of the first table, by their places in `columns`."""

    dataset: str
    title: str
    columns: list[Column]
    shown: list[int]
    models: list[Entry]
    controls: list[Entry]
    notes: dict[str, str]
    folded: str = ""
    """A sentence about columns that are folded because all models have the same value."""

    @property
    def entries(self) -> list[Entry]:
        """The models and the controls."""
        return [*self.models, *self.controls]

    @property
    def marked(self) -> list[tuple[str, str]]:
        """Each line that must not be ranked, with its reasons."""
        return [
            (", ".join(filter(None, (entry.label, sampler or "likelihood and training"))), "; ".join(reasons))
            for entry in self.entries
            for sampler, reasons in entry.marked.items()
        ]

    @property
    def rest(self) -> dict[str, list[int]]:
        """The columns that the first table leaves out, by the headings of their groups."""
        found: dict[str, list[int]] = {}
        for i, column in enumerate(self.columns):
            if i not in self.shown:
                found.setdefault(column.group_title, []).append(i)
        return found

    def groups(self, chosen: list[int]) -> list[tuple[str, int]]:
        """The headings of the groups of some columns in order, with their numbers of columns."""
        widths: dict[str, int] = {}
        for i in chosen:
            widths[self.columns[i].group_title] = widths.get(self.columns[i].group_title, 0) + 1
        return list(widths.items())

    def holding(self, chosen: list[int]) -> list[Entry]:
        """The models and controls that have a number in one of some columns."""
        return [entry for entry in self.entries if any(i in cells for cells in entry.cells for i in chosen)]
