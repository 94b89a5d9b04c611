"""Writing what a run holds in the formats of papers and of other programs."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

import trilemma

from .. import figures, markdown
from ..kit import digest
from ..sections.curves import drawings
from ..write import render_sections, replace_file
from . import latex
from .papers import Number, PaperTable, paper_tables

SIZE = (6.6, 4.8)
FORMATS: dict[str, str] = {
    "latex": "tables.tex",
    "markdown": "tables.md",
    "csv": "results.csv",
    "json": "results.json",
    "parquet": "results.parquet",
    "bibtex": "references.bib",
    "svg": "figures",
    "pdf": "figures",
    "png": "figures",
}
"""Every format with the file or folder that it gives."""

PICTURES = ("svg", "pdf", "png")


def available() -> list[str]:
    """The formats that can be written here: all, or all but parquet if pyarrow is not installed."""
    return [name for name in FORMATS if name != "parquet" or find_spec("pyarrow")]


def export(view: trilemma.RunView, formats: list[str], out: Path) -> list[Path]:
    """Write a run in these formats into the folder `out`, and return the paths of the files.

    Raises StoreError if `out` is not empty and was not made by trilemma, TrilemmaError for parquet without pyarrow.
    """
    out = out.resolve() if out.is_symlink() else out
    made = [(FORMATS[name], content(view, name)) for name in formats if name not in PICTURES]
    for name in formats:
        made += [(f"figures/{file}", drawn) for file, drawn in pictures(view, name)] if name in PICTURES else []
    trilemma.claim_directory(out, of=view.path)
    return [replace_file(out / name, data) for name, data in made]


def content(view: trilemma.RunView, name: str) -> bytes:
    """A run in one of the formats that are a single file."""
    makers: dict[str, Callable[[], str]] = {
        "latex": lambda: latex.document(tables(view), title(view)),
        "markdown": lambda: _markdown(view),
        "csv": lambda: trilemma.csv_text(trilemma.without_drawings(view.frame)),
        "json": lambda: _json(view),
        "bibtex": lambda: trilemma.citations(view).bibtex(),
    }
    if name == "parquet":
        return _parquet(view.frame)
    return trilemma.printable(makers[name]()).encode()


def pictures(view: trilemma.RunView, form: str) -> Iterator[tuple[str, bytes]]:
    """The figures of a run: quality against cost in every form, and as PNG also all other figures of the report."""
    for name, _, draw in drawings(digest(view)):
        yield f"{name}.{form}", figures.file(draw, SIZE, form)
    if form == "png":
        drawn = {f"{name}.png" for name, _, _ in drawings(digest(view))}
        for section in render_sections(view, trilemma.report_sections()):
            yield from ((Path(n).name, data) for n, data in section.figures.items() if Path(n).name not in drawn)


def title(view: trilemma.RunView) -> str:
    """The title of the suite, or else its name."""
    return str(view.suite.get("title") or view.suite.get("name") or view.path.name or "trilemma")


def tables(view: trilemma.RunView) -> list[PaperTable]:
    """The tables of a run for a paper, one for each dataset, budget and device."""
    titles = {name: str(card.get("title") or name) for name, card in view.cards.items()}
    return paper_tables(digest(view).verdicts, titles)


def _markdown(view: trilemma.RunView) -> str:
    parts = [f"# {markdown.escape(title(view))}"]
    for table in tables(view):
        head = ["Model", "Sampler", *map(markdown.escape, table.columns)]
        rows = [
            [
                ("*" if row.control else "") + markdown.escape(row.label) + ("*" if row.control else ""),
                markdown.escape(row.sampler),
                *(_cell(row.cells.get(i)) for i in range(len(table.columns))),
            ]
            for row in table.rows
        ]
        parts += [f"## {markdown.escape(table.name)}", markdown.escape(table.caption)]
        parts.append(markdown.table(head, rows, [False, False, *[True] * len(table.columns)]))
        parts += [markdown.escape(note) for note in table.notes]
    return "\n\n".join(parts) + "\n"


def _cell(number: Number | None) -> str:
    if number is None:
        return ""
    value = f"**{number.value}**" if number.best else number.value
    return f"{value} ± {number.half}" if number.half else value


def _json(view: trilemma.RunView) -> str:
    records = [{str(key): value for key, value in row.items()} for row in view.frame.to_dict(orient="records")]
    for record in records:
        for key in ("config", "details"):
            if isinstance(record.get(key), str):
                record[key] = json.loads(record[key])
    whole = {
        "trilemma": trilemma.__version__,
        "suite": view.suite,
        "environment": view.environment,
        "datasets": view.cards,
        "verdicts": digest(view).verdicts,
        "results": records,
    }
    return json.dumps(_strict(whole), indent=1, default=str) + "\n"


def _strict(value: Any) -> Any:
    """A value in which infinities and NaN are null."""
    if isinstance(value, dict):
        return {str(key): _strict(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parquet(frame: pd.DataFrame) -> bytes:
    if not find_spec("pyarrow"):
        raise trilemma.TrilemmaError("the format parquet needs pyarrow: pip install 'trilemma[data]'")
    plain = frame.copy()
    plain.attrs = {}
    for name in plain.columns:
        column = plain[name]
        if not pd.api.types.is_numeric_dtype(column.dtype) and column.map(type).nunique() > 1:
            plain[name] = column.astype(object).where(column.notna(), None)
    buffer = io.BytesIO()
    plain.to_parquet(buffer, index=False, engine="pyarrow")
    return buffer.getvalue()
