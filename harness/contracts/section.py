"""The contract of a report section, and the view of a finished run that it renders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ..plugins import Registry


@dataclass(frozen=True)
class Section:
    """A rendered section. `html` is inserted as it is, so everything in it must be escaped already.

    `figures` are PNG files, by name, that `markdown` shows as `![what it shows](figures/NAME)`.
    """

    title: str
    html: str
    markdown: str
    figures: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class RunView:
    """A run directory as a section sees it: the long results frame, the suite, the environment, the stored samples."""

    path: Path
    frame: pd.DataFrame
    suite: dict[str, Any]
    environment: dict[str, Any]
    cards: dict[str, dict[str, Any]]
    """The card of each dataset, by `dataset_id`."""
    superseded: int = 0
    """How many cells have older results that are left out of the frame, because newer ones stand in their place."""

    @classmethod
    def open(cls, path: str | Path) -> RunView:
        """The view of a run directory. Raises StoreError where it holds no run."""
        from ..store.frame import load_frame
        from ..store.store import Store

        store = Store(path)
        run = store.run()
        cards = {}
        for cell in run["cells"]:
            record = store.record("data", cell["data_id"]) or {}
            cards[cell["dataset"]["label"]] = record.get("card") or {"title": cell["dataset"]["label"]}
        latest = run["runs"][-1]
        frame = load_frame(store, superseded=True)
        older = frame.loc[frame["superseded"], "cell"].nunique()
        current = frame[~frame["superseded"]].reset_index(drop=True)
        return cls(store.path, current, latest["suite"], latest["environment"], cards, older)

    def samples(self, evaluation: str) -> np.ndarray | None:
        """The stored draws of one evaluation (column `evaluation` of the frame), in data space, `(n, *shape)`."""
        from ..store.store import Store

        return Store(self.path).samples(evaluation)

    def data(self, dataset: str) -> np.ndarray | None:
        """Test points of one dataset (column `dataset_id` of the frame), in data space, `(n, *shape)`."""
        from ..store.store import Store

        ids = self.frame.loc[self.frame["dataset_id"] == dataset, "data_id"]
        return None if ids.empty else Store(self.path).data(ids.iloc[0])

    def log_tail(self, cell: str) -> str:
        """The last lines that the process of one cell (column `cell` of the frame) printed."""
        from ..store.store import Store

        return Store(self.path).log_tail(cell)

    def curves(self, cell: str) -> dict[str, list[float]]:
        """Training curves of one cell (column `cell` of the frame): `step`, `loss`, `validation_step`, `validation`."""
        from ..store.store import Store

        record = Store(self.path).record("cells", cell) or {}
        return dict(record.get("curves") or {})


def report_sections(registry: Registry | None = None) -> list[type[ReportSection]]:
    """The registered report sections, by rising `order`: of the installed plugins, or of those in a registry."""
    from ..plugins import Registry

    sections: list[type[ReportSection]] = list((registry or Registry()).classes("report_sections").values())
    return sorted(sections, key=lambda section: (section.order, section.name))


class ReportSection(ABC):
    """A section of the report: give `name` and `render`; sections appear by rising `order`."""

    name: ClassVar[str]
    order: ClassVar[int] = 100

    @abstractmethod
    def render(self, view: RunView) -> Section | None:
        """The section, or None where it has nothing to show."""
