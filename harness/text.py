"""Text that others wrote: what a name may hold, and what may reach a terminal, a spreadsheet or a report."""

from __future__ import annotations

import re

LONGEST_NAME = 100
MISREAD = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
"""Line separators, and marks that change the order in which text is shown."""

ONE_LINE = f"^[^\x00-\x1f\x7f-\x9f{MISREAD}]*$"
"""The pattern of one line of plain text."""

_CONTROL = re.compile(f"[\x00-\x1f\x7f-\x9f{MISREAD}\ud800-\udfff]")
_UNPRINTABLE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{MISREAD}\ud800-\udfff]")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}",
            "\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")  # fmt: skip


def printable(text: object) -> str:
    """Text without control characters, so that it cannot drive a terminal or change how a line reads.

    Line breaks and tabs stay. Other control characters and marks of direction are written as in Python, such as `\\x1b`
    and `\\u202e`. Half a surrogate pair, which cannot be written as UTF-8, becomes the replacement character.
    """
    return _UNPRINTABLE.sub(_written, str(text))


def _written(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xD800 <= code <= 0xDFFF:
        return "\N{REPLACEMENT CHARACTER}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def unfit(text: str) -> str:
    """What a name must not hold, such as "a line break", if `text` holds it; else ""."""
    found = _CONTROL.search(text)
    if found is None:
        return ""
    code = ord(found.group())
    if found.group() in "\n\r":
        return "a line break"
    if 0xD800 <= code <= 0xDFFF:
        return f"half a surrogate pair (U+{code:04X})"
    kind = "control character" if code < 0xA0 else "invisible mark"
    return f"the {kind} U+{code:04X}"


def brief(value: object, limit: int = 80) -> str:
    """The text of a value, cut to `limit` characters."""
    text = str(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}… ({len(text):,} characters)"


def spreadsheet_cell(value: object) -> object:
    """A cell of a CSV file that a spreadsheet shows and does not run: text that looks like a formula gets a quote."""
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA) and not _NUMBER.fullmatch(value.strip(" ")):
        return f"'{value}"
    return value


# Absolute paths. A quoted path may hold blanks; any other ends at a blank or a bracket.
_QUOTED_PATH = re.compile(
    r"""(?P<quote>["'`])(?P<path>(?:file://)?(?:/|[A-Za-z]:[\\/])[^"'`\n]*[\\/][^"'`\n]*)(?P=quote)"""
)
_BARE_PATH = re.compile(
    r"(?:file://|(?<![\w.~/\\])|(?<=-[IL]))(?P<path>(?:/[^\s/\\\"'`()\[\]{}<>,;:|]+){2,}/?|[A-Za-z]:\\[^\s\"'`<>,;|]+)"
)
_PACKAGE = re.compile(r".*/(?:site-packages|dist-packages|lib/python3\.[0-9]+t?)/|.*/(?=trilemma/)")


def short_path(path: str) -> str:
    """An absolute path without the folders of this machine: from its package on, or its last part."""
    path = path.removeprefix("file://").replace("\\", "/").rstrip("/")
    inside = _PACKAGE.match(path)
    return path[inside.end() :] if inside else path.rpartition("/")[2]


def short_paths(text: str) -> str:
    """Text in which every absolute path is shortened: from its package on, or to its last part.

    A report is given away, and the folders of a machine tell names of users, projects and customers.
    """
    if "/" not in text and "\\" not in text:
        return text
    text = _QUOTED_PATH.sub(lambda found: found["quote"] + short_path(found["path"]) + found["quote"], text)
    return _BARE_PATH.sub(lambda found: short_path(found["path"]), text)
