"""Values on the command line: TOML, or a word without quotes."""

from __future__ import annotations

import re
import tomllib
from typing import Any

_WORD = re.compile(r"[A-Za-z0-9_.-]+")


def toml_value(text: str) -> Any:
    """The value of a TOML text. A word without quotes is text. Raises ValueError for other texts that are not TOML."""
    return text.strip() if is_word(text) else _loaded(text)


def is_word(text: str) -> bool:
    """Whether a text is a word without quotes, and no TOML value such as 3 or true."""
    if not _WORD.fullmatch(text.strip()):
        return False
    try:
        _loaded(text)
    except ValueError:
        return True
    return False


def _loaded(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError as error:
        raise ValueError(f"the value is not TOML: {error}") from None
