"""From a table as it is found to columns of numbers: what cannot be used is left out, and named with what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trilemma import DataError, printable

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

_MOSTLY = 0.9  # of the entries of a column that are numbers, for the others to count as missing
_MOST_MISSING = 0.5  # of a column, for the column to be left out; of all rows, for the table to be refused
_SHOWN = 8
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{1,2}:\d{2}")
_FINE = 2.0**24  # whole numbers above it, and smaller differences of a value's size, are lost in 32-bit floats


@dataclass(frozen=True)
class Table:
    """The rows of a table (n, d) as numbers, the names of its columns, and what was left out and why."""

    values: NDArray[np.float32]
    names: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    def without(self, reasons: dict[str, str]) -> Table:
        """The table without some columns, given with the reasons."""
        if not reasons:
            return self
        kept = [number for number, name in enumerate(self.names) if name not in reasons]
        names = tuple(self.names[number] for number in kept)
        return Table(self.values[:, kept], names, (*self.remarks, _left_out(reasons)))


def usable(frame: pd.DataFrame, place: str, *, columns: Sequence[str], drop: Sequence[str], least: int) -> Table:
    """The columns of a table that are numbers, in the rows that have all of them.

    `columns` are the names of the columns to use (none: all that can be used), `drop` those to leave out. Raises
    DataError if a column of `columns` cannot be used, if a name is unknown, or if too few rows or no columns are left.
    """
    frame = _chosen(frame, place, columns, drop)
    reasons: dict[str, str] = {}
    found: dict[str, Array] = {}
    contents: dict[int, str] = {}
    for name in map(str, frame.columns):
        numbers, reason = _numbers(frame[name])
        reason = reason or _useless(numbers)
        if not reason and (same := contents.setdefault(hash(numbers.tobytes()), name)) != name:
            reason = f"it repeats {_quoted(same)}"
        if reason:
            reasons[name] = reason
        else:
            found[name] = numbers
    if refused := [name for name in reasons if name in columns]:
        raise DataError(f"{place}: column {_quoted(refused[0])} cannot be used: {reasons[refused[0]]}")
    if not found:
        raise DataError(f"{place}: no column can be used. {_left_out(reasons)}")
    values = np.column_stack(list(found.values()))
    finite = np.isfinite(values)
    kept = np.asarray(finite.all(1))
    remarks = [_left_out(reasons)] if reasons else []
    if not kept.all():
        remarks.append(_missing(place, list(found), finite, kept))
    if kept.sum() < least:
        raise DataError(f"{place}: too few rows: {kept.sum()}; at least {least} are needed")
    table = Table(values[kept].astype(np.float32), tuple(found), tuple(remarks))
    constant = (table.values == table.values[0]).all(0)
    return table.without({name: "constant" for name, one in zip(table.names, constant, strict=True) if one})


def _chosen(frame: pd.DataFrame, place: str, columns: Sequence[str], drop: Sequence[str]) -> pd.DataFrame:
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    known = set(frame.columns)
    if unknown := [name for name in (*columns, *drop) if name not in known]:
        raise DataError(f"{place}: there is no column {_quoted(unknown[0])}; the columns are {_listed(frame.columns)}")
    if repeated := frame.columns[frame.columns.duplicated()].tolist():
        raise DataError(f"{place}: several columns are named {_quoted(repeated[0])}: rename them")
    return frame[[name for name in (columns or frame.columns) if name not in drop]]


def _numbers(column: pd.Series[Any]) -> tuple[Array, str]:
    """A column as numbers, NaN where one is missing, or the reason why it cannot be used."""
    import pandas as pd
    from pandas.api import types

    dtype = column.dtype
    if types.is_datetime64_any_dtype(dtype) or isinstance(dtype, pd.PeriodDtype):
        return np.empty(0), _dates(column.dropna().astype(str))
    if types.is_complex_dtype(dtype):
        return np.empty(0), "complex numbers; split them into two columns"
    if types.is_numeric_dtype(dtype) or types.is_bool_dtype(dtype):
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan), np.float64), ""
    texts = column.dropna().astype(str).str.strip()
    numbers = pd.to_numeric(texts, errors="coerce").astype(np.float64)
    if len(texts) and numbers.notna().mean() >= _MOSTLY:
        return np.asarray(numbers.reindex(column.index), np.float64), ""
    if len(texts) and texts.head(100).map(lambda text: bool(_DATE.match(text))).mean() >= _MOSTLY:
        return np.empty(0), _dates(texts)
    if not len(texts):
        return np.empty(0), "empty"
    kinds = texts.value_counts()
    examples = ", ".join(map(_quoted, kinds.index[:2]))
    return np.empty(0), f"text with {len(kinds)} different values such as {examples}; write it as numbers to include it"


def _dates(texts: pd.Series[Any]) -> str:
    example = f" such as {_quoted(texts.iloc[0])}" if len(texts) else ""
    return f"dates{example}; write them as numbers, such as days, to include them"


def _useless(numbers: Array) -> str:
    """Why a column of numbers cannot be used; empty if it can."""
    finite = np.isfinite(numbers)
    missing = 1 - finite.mean()
    if missing > _MOST_MISSING:
        return f"{missing:.0%} of its values are missing" if missing < 1 else "empty"
    some = numbers[finite]
    if (some == some[0]).all():
        return "constant"
    if len(some) > 2 and (np.diff(some) == 1).all() and (some == np.floor(some)).all():
        return "it counts the rows"
    largest = np.abs(some).max()
    if largest > np.finfo(np.float32).max:
        return "values beyond the range of 32-bit floats; divide them by a constant to include it"
    if np.ptp(some) < largest / 1000 or largest > _FINE:
        different = len(np.unique(some))
        if len(np.unique(some.astype(np.float32))) < 0.9 * different:
            return "differences that 32-bit floats cannot hold; subtract a constant to include it"
    return ""


def _missing(place: str, names: list[str], finite: NDArray[np.bool_], kept: NDArray[np.bool_]) -> str:
    """What to say of rows with missing values. Raises DataError if they are most rows."""
    counts = {name: int(count) for name, count in zip(names, (~finite).sum(0), strict=True) if count}
    most = sorted(counts, key=lambda name: -counts[name])
    where = _listed(f"{_quoted(name)} ({counts[name]:,})" for name in most)
    lost = f"{(~kept).sum():,} of {len(kept):,} rows"
    if (~kept).mean() > _MOST_MISSING:
        raise DataError(
            f"{place}: {lost} have a missing, infinite or unreadable value, in {where}: fill them, or leave out"
            " columns with the option 'drop'"
        )
    return f"{lost} left out, because values are missing, infinite or unreadable in {where}; fill them to keep the rows"


def _left_out(reasons: dict[str, str]) -> str:
    what = "columns" if len(reasons) > 1 else "column"
    return f"{what} left out: " + _listed((f"{_quoted(name)} ({why})" for name, why in reasons.items()), "; ")


def _listed(texts: Iterable[str], separator: str = ", ") -> str:
    every = list(texts)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return separator.join(every[:_SHOWN]) + more


def _quoted(text: object) -> str:
    shown = " ".join(printable(text).split())
    return f"'{shown if len(shown) <= 40 else f'{shown[:39]}…'}'"
