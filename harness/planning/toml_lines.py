"""Line numbers for the values of a TOML file, which the standard parser does not give."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r]+|\#[^\n]*)
  | (?P<newline>\n)
  | (?P<string>
        \"{3}(?>[^"\\]+|\\.|"{1,2}(?!"))*+\"{3,5}
      | '{3}(?>[^']+|'{1,2}(?!'))*+'{3,5}
      | "(?>[^"\\\n]+|\\.)*+"
      | '[^'\n]*+'
    )
  | (?P<open>\[\[|[\[{]) | (?P<close>\]\]|[\]}]) | (?P<mark>[=,.])
  | (?P<bare>[^\s\[\]{}=,.\#"']+)
    """,
    re.VERBOSE | re.DOTALL,
)


def tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """The kind, text and line (from 1) of each token of a TOML document. Blanks and comments are left out.

    The time is linear in the length of the text, also if the document is not valid.
    """
    line = 1
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind != "space":
            yield kind, match.group(), line
        line += match.group().count("\n")


def line_numbers(text: str) -> dict[Path, int]:
    """The line (from 1) of every key and array element of a valid TOML document.

    The keys are paths in the parsed document, such as `("models", 1, "config", "hidden")`.
    """
    return _Walker(text).walk()


class _Walker:
    """Walks over the tokens of a valid document, and records paths and lines, but not values."""

    def __init__(self, text: str) -> None:
        self.tokens = list(tokens(text))
        self.position = 0
        self.lines: dict[Path, int] = {}
        self.lengths: dict[Path, int] = {}

    def walk(self) -> dict[Path, int]:
        table: Path = ()
        while self.position < len(self.tokens):
            kind, text, line = self.tokens[self.position]
            if kind == "newline":
                self.position += 1
            elif kind == "open":
                self.position += 1
                keys = self._keys()
                if text == "[[":
                    base = self._resolve(keys)
                    index = self.lengths.get(base, 0)
                    self.lengths[base] = index + 1
                    self.lines.setdefault(base, line)
                    table = (*base, index)
                else:
                    table = self._resolve(keys)
                self.lines.setdefault(table, line)
                self.position += 1  # the closing bracket
            else:
                self._pair(table)
        return self.lines

    def _resolve(self, keys: list[str]) -> Path:
        """The path of a header. The name of an array of tables refers to its latest element."""
        path: Path = ()
        for position, key in enumerate(keys):
            path = (*path, key)
            if path in self.lengths and position < len(keys) - 1:
                path = (*path, self.lengths[path] - 1)
        return path

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while True:
            kind, text, _ = self.tokens[self.position]
            if kind == "mark" and text == ".":
                self.position += 1
            elif kind in ("bare", "string"):
                keys.append(_unquote(text) if kind == "string" else text)
                self.position += 1
            else:
                return keys

    def _pair(self, table: Path) -> None:
        line = self.tokens[self.position][2]
        path = table
        for key in self._keys():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self.position += 1  # the equals sign
        self._value(path)

    def _value(self, path: Path) -> None:
        kind, text, line = self.tokens[self.position]
        self.lines.setdefault(path, line)
        if kind != "open":
            # Numbers and dates such as 1.5 are several tokens. A value ends at a comma, a bracket or the end of a line.
            while self.position < len(self.tokens):
                kind, text, _ = self.tokens[self.position]
                if kind in ("newline", "close") or text == ",":
                    return
                self.position += 1
            return
        if text == "[[":  # two arrays open at once, so the second bracket stays
            self.tokens[self.position] = ("open", "[", line)
            text = "["
        else:
            self.position += 1
        index = 0
        while True:
            kind, token, line = self.tokens[self.position]
            if kind == "close":
                if token == "]]":  # two arrays close at once, so the second bracket stays
                    self.tokens[self.position] = ("close", "]", line)
                else:
                    self.position += 1
                return
            if kind == "newline" or token == ",":
                self.position += 1
            elif text == "[":
                self._value((*path, index))
                index += 1
            else:
                self._pair(path)


def _unquote(text: str) -> str:

    value: dict[str, Any] = tomllib.loads(f"key = {text}")
    return str(value["key"])
