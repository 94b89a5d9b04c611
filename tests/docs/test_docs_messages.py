"""The messages on the page on troubleshooting are messages of the program."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = [line for block in re.findall(r"^```text\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines()]


@cache
def texts() -> str:
    """Every text in the source, a line each, with `…` for what is filled in."""
    found: set[str] = set()
    for room in ("harness", "plugins", "datasets", "reports"):
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = (str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values)
                    found.add("".join(parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
    return "\n".join(text.replace("\n", " ") for text in found)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_of_the_page_is_one_of_the_program(message: str) -> None:
    assert message in texts()


def test_a_message_that_the_program_does_not_have_is_found() -> None:
    assert len(MESSAGES) > 30
    assert "there is no suite called '…'" not in texts()
