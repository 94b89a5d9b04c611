"""Results as CSV that a spreadsheet can open safely."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..text import printable, spreadsheet_cell

if TYPE_CHECKING:
    import pandas as pd


def csv_text(frame: pd.DataFrame) -> str:
    """A results frame as CSV. A spreadsheet runs none of its cells, and no cell holds a control character.

    Text that a spreadsheet would take for a formula gets a quote in front; numbers stay numbers.
    """
    import pandas as pd

    known: dict[str, object] = {}  # most texts are in many rows

    def safe(value: object) -> object:
        if not isinstance(value, str):
            return value
        if value not in known:
            known[value] = spreadsheet_cell(printable(value))
        return known[value]

    out = frame.copy()
    for position, name in enumerate(frame.columns):
        column = frame.iloc[:, position]
        if not pd.api.types.is_numeric_dtype(column.dtype):
            out[name] = column.astype(object).map(safe)
    return str(out.to_csv(index=False, lineterminator="\n"))
