"""The picture of a run that goes on, for a terminal of any width: what has ended, what runs, what time is left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from ..execution.live import RunState
from ..text import printable

BAR = 20
LEAST_LABEL = 12


class Picture:
    """A run as lines of text: one for all cells, one for each cell that runs, one for the timing phase.

    Each line fits the width of the terminal, and the lines fit its height. Labels are cut where they must be; numbers
    are not. A narrow terminal gets no bars.
    """

    def __init__(self, state: RunState, note: str = "") -> None:
        self.state, self.note = state, note

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        signs = "━─" if options.encoding.startswith("utf") else "#-"
        lines = [Text(self.note, "yellow")] if self.note else []
        lines += list(self._lines(options.max_width, signs, time.time()))
        room = max(2, (options.height or console.height) - 2)
        if len(lines) > room:
            more = len(lines) - room + 1
            lines = [*lines[: room - 1], Text(f"  and {more} more", "dim")]
        yield from lines

    def _lines(self, width: int, signs: str, now: float) -> Iterator[Text]:
        rows = list(self._rows(now))
        texts = max(len(row.text) for row in rows)
        if width < texts + BAR + LEAST_LABEL + 2:
            yield from (Text(": ".join(filter(None, (row.label, row.text)))) for row in rows)
            return
        longest = max((len(row.label) for row in rows if row.fraction is not None), default=0)
        column = min(longest, width - texts - BAR - 2)
        for row in rows:
            yield _cut(row.label, width, "dim") if row.fraction is None else _line(row, column, width, signs)

    def _rows(self, now: float) -> Iterator[_Row]:
        state = self.state
        if state.visiting:
            done = f"{state.visited}/{state.visits}, {_times(state, now)}"
            yield _Row("timing", done, state.visited / max(1, state.visits))
            yield _Row(f"  {printable(state.visiting)}")
        elif not state.count:
            yield _Row(printable(state.doing or "planning"))
        else:
            yield _Row(state.what, summary(state, now), state.done / state.count)
        for row in list(state.running):
            share = f"{row.fraction:4.0%}" if row.phase else ""
            text = " ".join(filter(None, (share, row.phase or row.message, duration(now - row.since))))
            yield _Row(f"  {printable(row.label)}", printable(text), row.fraction, row.message if row.phase else "")


@dataclass(frozen=True)
class _Row:
    """A line of the picture; without a fraction it has no bar. The message is shown where there is room."""

    label: str
    text: str = ""
    fraction: float | None = None
    message: str = ""


def summary(state: RunState, now: float) -> str:
    """The counts and times of a run, such as `12/40, 1 failed, 2 min, about 5 min left`."""
    failed = sum(count for outcome, count in state.outcomes.items() if outcome not in ("ok", "unsupported"))
    parts = [f"{state.done}/{state.count}", f"{failed} failed" if failed else "", state.about, _times(state, now)]
    return ", ".join(filter(None, parts))


def _times(state: RunState, now: float) -> str:
    left = state.remaining(now)
    parts = [duration(now - state.begun)]
    if left is not None and left >= 1:
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)


def _line(row: _Row, column: int, width: int, signs: str) -> Text:
    """A label in a column, a bar, a text, and as much of the message as there is room for, in one line."""
    name = _cut(row.label, column)
    name.pad_right(column - name.cell_len)
    full = round(BAR * min(1.0, max(0.0, row.fraction or 0.0)))
    bar = (signs[0] * full, "cyan"), (signs[1] * (BAR - full), "dim")
    message = " ".join(printable(row.message).split())
    line = Text.assemble(name, " ", *bar, f" {row.text}", (f"  {message}" if message else "", "dim"))
    line.truncate(width, overflow="ellipsis")
    return line


def _cut(text: str, width: int, style: str = "") -> Text:
    line = Text(" ".join(printable(text).split("\n")), style)
    line.truncate(width, overflow="ellipsis")
    return line


def duration(seconds: float) -> str:
    """A length of time in the words of a progress bar, such as `2 h 5 min`."""
    if seconds < 90:
        return f"{max(0.0, seconds):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
