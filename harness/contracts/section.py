"""The contract of a report section."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from ..analysis.view import RunView


@dataclass(frozen=True)
class Section:
    """A rendered section of the report. `html` is inserted unchanged, so it must be escaped already.

    `figures` maps names to PNG files, which `markdown` shows as `![what it shows](figures/NAME)`.
    """

    title: str
    html: str
    markdown: str
    figures: Mapping[str, bytes] = field(default_factory=dict)


class ReportSection(ABC):
    """Base class of report sections. A subclass gives `name` and `render`. Sections appear by rising `order`."""

    name: ClassVar[str]
    order: ClassVar[int] = 100

    @abstractmethod
    def render(self, view: RunView) -> Section | None:
        """Render the section, or return None if it has nothing to show."""
