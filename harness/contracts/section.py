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
    """A rendered section. `html` is inserted as it is, so everything in it must be escaped already.

    `figures` are PNG files, by name, that `markdown` shows as `![what it shows](figures/NAME)`.
    """

    title: str
    html: str
    markdown: str
    figures: Mapping[str, bytes] = field(default_factory=dict)


class ReportSection(ABC):
    """A section of the report: give `name` and `render`; sections appear by rising `order`."""

    name: ClassVar[str]
    order: ClassVar[int] = 100

    @abstractmethod
    def render(self, view: RunView) -> Section | None:
        """The section, or None where it has nothing to show."""
