"""A console of rich that prints the text of others as text."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ..text import printable


class SafeConsole(Console):
    """A console whose text never holds a control character: what rich draws itself stays as it is."""

    def __init__(self, **options: Any) -> None:
        # Older versions of rich take an empty NO_COLOR for one that is set.
        super().__init__(**{"no_color": bool(os.environ.get("NO_COLOR")), **options})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render an object, with all text in it printable."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)
