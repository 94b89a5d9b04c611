"""The view of a run directory that report sections get, and the list of registered sections."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..contracts.section import ReportSection
from ..plugins import Registry
from ..store.frame import LEFT_OUT, load_frame
from ..store.machines import environments
from ..store.store import Store
from ..text import short_paths
from .portable import short_labels, shortened, shortened_frame


@dataclass(frozen=True)
class RunView:
    """A run directory as a report section sees it: the results frame, the suite, the environment, stored samples.

    Absolute paths in all texts are shortened (see `short_paths`), because a report is given away.
    """

    path: Path
    frame: pd.DataFrame
    suite: dict[str, Any]
    environment: dict[str, Any]
    cards: dict[str, dict[str, Any]]
    """The card of each dataset, by `dataset_id`."""
    superseded: int = 0
    """Number of cells whose results are superseded by newer ones and therefore not in the frame."""
    environments: tuple[dict[str, Any], ...] = ()
    """The environments of all runs and merged shards, the latest last."""
    time: str = ""
    """When the latest run started."""

    @classmethod
    def open(cls, path: str | Path, frame: pd.DataFrame | None = None) -> RunView:
        """Open a run directory, with the frame of `trilemma.load_results(path)` if there is one already.

        Raises StoreError if it holds no run.
        """
        store = Store(path)
        run = store.run()
        cards = {}
        frame = load_frame(store) if frame is None else frame
        labels = short_labels([*frame["dataset_id"], *(cell["dataset"]["label"] for cell in run["cells"])])
        for cell in run["cells"]:
            record = store.record("data", cell["data_id"]) or {}
            label = labels[cell["dataset"]["label"]]
            cards[label] = shortened(record.get("card") or {"title": label})
        latest = run["runs"][-1]
        older = frame.attrs.get(LEFT_OUT, 0)
        current = shortened_frame(frame)
        everywhere = tuple(environments(run))
        suite, environment = shortened(latest["suite"]), shortened(latest["environment"])
        time = str(latest.get("time", ""))  # unknown if the list was restored from the records
        return cls(store.path, current, suite, environment, cards, older, everywhere, time)

    def samples(self, evaluation: str) -> np.ndarray | None:
        """The stored draws of one evaluation (column `evaluation` of the frame), in data space, `(n, *shape)`."""
        return Store(self.path).samples(evaluation)

    def data(self, dataset: str) -> np.ndarray | None:
        """Test points of one dataset (column `dataset_id` of the frame), in data space, `(n, *shape)`."""
        ids = self.frame.loc[self.frame["dataset_id"] == dataset, "data_id"]
        return None if ids.empty else Store(self.path).data(ids.iloc[0])

    def log_tail(self, cell: str) -> str:
        """The last lines that the process of one cell (column `cell` of the frame) printed."""
        return short_paths(Store(self.path).log_tail(cell))

    def curves(self, cell: str) -> dict[str, list[float]]:
        """Training curves of one cell (column `cell` of the frame): `step`, `loss`, `validation_step`, `validation`."""
        record = Store(self.path).record("cells", cell) or {}
        return dict(record.get("curves") or {})


def report_sections(registry: Registry | None = None) -> list[type[ReportSection]]:
    """The registered report sections by rising `order`, from a registry, or by default from the installed plugins."""
    sections: list[type[ReportSection]] = list((registry or Registry()).classes("report_sections").values())
    return sorted(sections, key=lambda section: (section.order, section.name))
