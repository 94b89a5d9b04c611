"""The page on the architecture and its picture name every module and package of the rooms that have layers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def parts(room: str) -> set[str]:
    """The modules and packages directly in a room."""
    children = [path for path in (ROOT / room).iterdir() if not path.name.startswith(("_", "."))]
    return {path.stem for path in children if path.suffix == ".py" or (path / "__init__.py").is_file()}


@pytest.mark.parametrize("room", ["harness", "plugins"])
def test_every_part_of_a_room_is_on_the_page_and_in_the_picture(room: str) -> None:
    (section,) = re.findall(rf"^## {room}: .*?(?=^## )", PAGE, re.M | re.S)
    assert parts(room) <= set(re.findall(r"^\| \d? ?\| `(\w+)` \|", section, re.M))
    picture = ElementTree.parse(ROOT / "docs" / "images" / "rooms.svg")
    assert parts(room) <= {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}
