"""The observer for Weights & Biases: a run for each cell, offline unless WANDB_MODE says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .cells import CellObserver, Reported, require, setting


class Wandb(CellObserver):
    """Logs each cell as a run of Weights & Biases, in a group that is named after the run directory.

    WANDB_MODE is `offline` by default, so that nothing is sent: `wandb sync` sends the folder `wandb` of the run
    directory later. WANDB_PROJECT is `trilemma` by default. The id of a run is that of its cell.
    """

    name = "wandb"

    def __init__(self) -> None:
        require("wandb", "wandb")
        super().__init__()

    def report(self, path: Path, cells: Iterator[Reported]) -> list[Path]:
        """Log the cells."""
        mode: Any = setting("WANDB_MODE", "offline")
        if mode == "offline":
            setting("WANDB_ERROR_REPORTING", "false")
        setting("WANDB_SILENT", "true")
        import wandb

        written = []
        for cell in cells:
            run = wandb.init(
                project=setting("WANDB_PROJECT", "trilemma"),
                dir=path,
                id=cell.id[:64],
                name=cell.label[:128],
                group=path.resolve().name[:128],
                config=cell.parameters,
                mode=mode,
                reinit="finish_previous",
            )
            by_step: dict[int, dict[str, float]] = {}
            for name, points in cell.curves.items():
                for step, value in points:
                    by_step.setdefault(step, {})[f"curves/{name}"] = value
            for step in sorted(by_step):
                run.log(by_step[step], step=step)
            run.summary.update({**cell.numbers, "outcome": cell.outcome})
            written.append(Path(run.dir).parent)
            run.finish(exit_code=0 if cell.outcome == "ok" else 1)
        return written
