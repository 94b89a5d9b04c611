"""Writing GitHub Markdown: escaped text, tables and code blocks."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SPECIAL = re.compile(r"([\\`*_\[\]|~#$])")


def escape(text: object) -> str:
    """`text` on one line, with all characters escaped that Markdown or HTML would interpret."""
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", line)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool] | None = None) -> str:
    """A table of cells that are already Markdown. Numeric columns are aligned to the right."""
    numeric = numeric or [False] * len(header)
    lines = [_line(header), _line(["--:" if right else "---" for right in numeric]), *map(_line, rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def code_block(text: str) -> str:
    """A fenced code block, with a fence longer than any in `text`."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text.rstrip()}\n{fence}"
