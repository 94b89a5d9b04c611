"""Reading CSV files as they are found: any usual encoding, separator and decimal sign, with or without a header."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trilemma import DataError

from .bounded import read_content

if TYPE_CHECKING:
    import pandas as pd

MISSING = ("?", "-", "--", ".", "missing", "Missing", "MISSING")
"""Cells that stand for a missing value, besides those that pandas knows, such as an empty cell, NA and null."""

_SAMPLE_BYTES, _SAMPLE_LINES = 2**18, 200
_SEPARATORS = (",", ";", "\t", "|", " ")
_MARKS = {  # byte order marks; the longer one comes first
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?|nan", re.IGNORECASE)
_COMMENT = re.compile(r"\s*(#|sep=|$)", re.IGNORECASE)
_MOSTLY = 0.9  # of the cells of a column that are numbers, for the column to be read as numbers
_ALIKE = 0.8  # of the lines that must have the same number of cells


@dataclass(frozen=True)
class Layout:
    """How the table is written: its separator and decimal sign, whether it has a header, and the lines before it."""

    separator: str
    decimal: str
    header: bool
    skipped: int
    closed: bool = False
    """Whether each line, but not the header, ends with a separator."""


def read_csv(path: Path, header: bool | None = None) -> pd.DataFrame:
    """The table in a CSV file, with its columns as they are. With `header` None, the cells say if there is one.

    Raises DataError for a file that is no table.
    """
    import pandas as pd

    data = read_content(path)
    encoding = _encoding(data, path)
    found = layout(_first_lines(data, encoding), header)
    options: dict[str, Any] = {
        "sep": r"\s+" if found.separator == " " else found.separator,
        "decimal": found.decimal,
        "header": 0 if found.header else None,
        "skiprows": found.skipped,
        "na_values": list(MISSING),
        "skipinitialspace": True,
        "encoding": encoding,
        "low_memory": False,
        # A header that is one name short stands above names of rows, which are no column, unless all lines end so.
        "index_col": False if found.closed else None,
    }
    try:
        frame = pd.read_csv(io.BytesIO(data), **options)
    except (ValueError, OverflowError, csv.Error) as error:  # pandas raises subclasses of ValueError
        raise DataError(f"{path}: not a readable CSV file ({str(error).strip()})") from error
    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
    unnamed = [name for name in frame if str(name).startswith("Unnamed: ") and frame[name].isna().all()]
    table: pd.DataFrame = frame.drop(columns=unnamed).reset_index(drop=True)
    return table


def layout(lines: Sequence[str], header: bool | None = None) -> Layout:
    """How a table is written, from its first lines."""
    skipped = next((number for number, line in enumerate(lines) if not _COMMENT.match(line)), 0)
    told = next((line.strip()[4:5] for line in lines[:skipped] if line.lower().startswith("sep=")), "")
    rows = [line for line in lines[skipped:] if line.strip()]
    tried = [(*_score(rows, sep), sep) for sep in ([told] if told in _SEPARATORS and told else _SEPARATORS)]
    _, width, separator = max(tried, key=lambda found: found[:2])
    separator = separator if width > 1 else ","
    cells = _cells(rows, separator)
    signs = Counter(sign for row in cells for cell in row for sign in re.findall(r"^[+-]?\d*([.,])\d+$", cell))
    decimal = "," if separator != "," and signs[","] > signs["."] else "."
    header = _has_header(cells, decimal) if header is None else header
    closed = header and len(cells) > 1 and all(len(row) == len(cells[0]) + 1 and not row[-1] for row in cells[1:])
    return Layout(separator, decimal, header, skipped, closed)


def _score(rows: Sequence[str], separator: str) -> tuple[float, int]:
    """How well a separator fits: the share of cells that are numbers, and the number of columns."""
    cells = _cells(rows, separator)
    width, count = Counter(map(len, cells)).most_common(1)[0] if cells else (0, 0)
    if width < 2 or count < _ALIKE * len(cells):
        return 0.0, 1
    decimal = "" if separator == "," else ","
    flat = [cell for row in cells for cell in row]
    return sum(_is_number(cell, decimal) for cell in flat) / len(flat), width


def _cells(rows: Sequence[str], separator: str) -> list[list[str]]:
    if separator == " ":
        return [row.split() for row in rows]
    try:
        return list(csv.reader(rows, delimiter=separator, skipinitialspace=True))
    except csv.Error:
        return []


def _has_header(rows: Sequence[Sequence[str]], decimal: str) -> bool:
    """Whether the first row names the columns: a column of numbers begins with a word, or there are no numbers.

    Numbers can be names too: 0, 1, 2, or years, above numbers that are not whole.
    """
    if not rows:
        return True
    names = [int(cell) for cell in rows[0] if cell.strip().isdecimal()]
    fractions = any(re.search(r"\d[.,]\d", cell) for row in rows[1:] for cell in row if _is_number(cell, decimal))
    if len(names) > 1 and names == list(range(names[0], names[0] + len(names))) and fractions:
        return True
    words = numbers = 0
    for number, first in enumerate(rows[0]):
        below = [row[number] for row in rows[1:] if len(row) > number and not _is_missing(row[number])]
        of_numbers = sum(_is_number(cell, decimal) for cell in below) >= _MOSTLY * max(1, len(below))
        if of_numbers and not _is_missing(first):
            is_number = _is_number(first, decimal)
            words, numbers = words + (not is_number), numbers + is_number
    return words > 0 or numbers == 0


def _is_missing(cell: str) -> bool:
    return cell.strip() in ("", "NA", "N/A", "null", "NULL", "None", *MISSING)


def _is_number(cell: str, decimal: str) -> bool:
    text = cell.strip()
    return bool(_NUMBER.fullmatch(text.replace(decimal, ".", 1) if decimal == "," else text))


def _encoding(data: bytes, path: Path) -> str:
    """The encoding of a text. Raises DataError for bytes that are no text."""
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return encoding
    if b"\0" in data[:_SAMPLE_BYTES]:
        raise DataError(f"{path}: binary data and no text; a table in UTF-16 must begin with a byte order mark")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252" if _decodes(data, "cp1252") else "latin-1"
    return "utf-8"


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _first_lines(data: bytes, encoding: str) -> list[str]:
    """The first lines of a text, without the last one if it is not complete."""
    lines = re.split(r"\r\n|\n|\r", data[:_SAMPLE_BYTES].decode(encoding, "replace"))
    return lines[: -1 if len(data) > _SAMPLE_BYTES else None][:_SAMPLE_LINES]
