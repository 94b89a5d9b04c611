r"""LaTeX of tables, in the style of booktabs. Text of others cannot hold a command."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

import trilemma

from .papers import Number, PaperTable, Row

_TEXT = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{
        "<": "$<$",
        ">": "$>$",
        "|": "$|$",
        "−": "$-$",
        "±": r"$\pm$",
        "\N{MULTIPLICATION SIGN}": r"$\times$",
        "·": r"$\cdot$",
    },
    **{"∞": r"$\infty$", "α": r"$\alpha$", "β": r"$\beta$", "σ": r"$\sigma$", "µ": r"$\mu$", "μ": r"$\mu$"},
    **{"\N{EN DASH}": "--", "…": r"\ldots{}", '"': "''", "'": "'", "°": r"$^\circ$"},
}
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_SCRIPT = re.compile(f"([{''.join(_RAISED)}]+)|([{''.join(_LOWERED)}]+)")


_LATIN = 0x17F
"""The last letter of Latin that pdflatex knows (end of Latin Extended-A)."""


def escape(text: object) -> str:
    """Text on one line as LaTeX. Letters of all scripts stay; other characters that LaTeX may not know become `?`."""
    line = " ".join(trilemma.printable(text).split())
    parts = []
    place = 0
    for script in _SCRIPT.finditer(line):
        sign, table = ("^", _RAISED) if script[1] else ("_", _LOWERED)
        parts.append(_escaped(line[place : script.start()]))
        parts.append(f"${sign}{{{''.join(table[c] for c in script.group())}}}$")
        place = script.end()
    return "".join([*parts, _escaped(line[place:])])


def _escaped(text: str) -> str:
    return "".join(_TEXT.get(c) or (c if c.isascii() or unicodedata.category(c)[0] in "LM" else "?") for c in text)


def document(tables: Iterable[PaperTable], title: str) -> str:
    """The tables as a file to be read with `\\input`."""
    found = [table(each) for each in tables]
    head = [f"% {escape(title)}: tables of trilemma {trilemma.__version__}", "% They need \\usepackage{booktabs}."]
    if any(ord(character) > _LATIN for character in "".join(found)):
        head.append("% Some letters are not Latin: compile with lualatex or xelatex, and a font that has them.")
    return "\n\n".join(["\n".join(head), *found]) + "\n"


def table(found: PaperTable) -> str:
    """One table. Its label is `tab:` and the words of its name."""
    label = re.sub(r"[^A-Za-z0-9]+", "-", found.name).strip("-")
    controls = [row for row in found.rows if row.control]
    body = [_row(row, len(found.columns)) for row in found.rows if not row.control]
    if controls:
        body += [r"\midrule"] if body else []
        body += [_row(row, len(found.columns)) for row in controls]
    samplers = any(row.sampler for row in found.rows)
    head = ["Model", *(["Sampler"] if samplers else []), *map(escape, found.columns)]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(' '.join([found.caption, *found.notes]))}}}",
        rf"\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{{'ll' if samplers else 'l'}{'r' * len(found.columns)}}}",
        r"\toprule",
        f"{' & '.join(head)} \\\\",
        r"\midrule",
        *(line if samplers else _without_sampler(line) for line in body),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _row(row: Row, columns: int) -> str:
    name = escape(row.label) + (r"\,(!)" if row.marked else "")
    name = f"{{}}{name}" if name.startswith(("[", "*")) else name  # which would belong to the \\ or \midrule before it
    cells = [_cell(row.cells.get(i)) for i in range(columns)]
    return f"{' & '.join([name, escape(row.sampler), *cells])} \\\\"


def _without_sampler(line: str) -> str:
    """A row without its second cell, which is empty."""
    return line.replace(" &  & ", " & ", 1)


def _cell(number: Number | None) -> str:
    if number is None:
        return ""
    value = escape(number.value)
    value = rf"\textbf{{{value}}}" if number.best else value
    return f"{value} $\\pm$ {escape(number.half)}" if number.half else value
