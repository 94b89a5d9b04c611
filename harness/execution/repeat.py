"""Repeats one stored cell in this process, and compares it with what is stored."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..plugins import Registry
from ..store.files import write_json
from ..store.machines import differing
from ..store.store import Store
from .environment import environment
from .events import Events
from .same import Comparison, compare_cell
from .stored import changed_code, refuse_elsewhere, repeating_job
from .worker import CellWorker, work

PROGRESS_SECONDS = 2.0


@dataclass(frozen=True)
class Repetition:
    """A repeated cell: its outcome, how it compares with the stored one, and what is not as it was then."""

    cell: str
    label: str
    outcome: str
    message: str
    comparison: Comparison
    environment: dict[str, list[Any]]
    """What differs in the environment: the value then and now."""
    code: list[str]
    """Whose code has another hash now."""
    training: str
    """When the training was stored that it was compared with; empty if there is none."""

    @property
    def identical(self) -> bool:
        """Whether the cell ended well and nothing differs."""
        return self.outcome == "ok" and not self.comparison.differences

    def record(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {**asdict(self), "identical": self.identical}


class Told(Events):
    """Prints phases and progress on standard error."""

    def __init__(self) -> None:
        self._shown = 0.0

    def emit(self, **event: Any) -> None:
        if "phase" in event:
            print(f"-- {event['phase']}", file=sys.stderr, flush=True)
        elif "progress" in event:
            print(f"   {event['progress']:4.0%} {event['message']}", file=sys.stderr, flush=True)

    def phase(self, phase: str) -> None:
        self.emit(phase=phase)
        self._shown = time.monotonic()

    def progress(self, fraction: float, message: str = "") -> None:
        if time.monotonic() - self._shown >= PROGRESS_SECONDS:
            self._shown = time.monotonic()
            self.emit(progress=fraction, message=message)


def repeat(store: Store, cell: dict[str, Any], on_error: Callable[[BaseException], None] | None = None) -> Repetition:
    """Train and evaluate a stored cell again in this process, with its plugin files, threads and steps.

    The thread counts of numeric libraries must be those of `environment.cell_environment`. Nothing is written into the
    run directory. `on_error` is called with an error of the training or of a metric, while it is handled.
    """

    refuse_elsewhere(cell)
    stored = store.record("cells", cell["id"]) or {}

    class Foreground(CellWorker):
        def __init__(self, job: dict[str, Any], registry: Registry, events: Events) -> None:
            super().__init__(job, registry, Told())

        def _failed(self, error: BaseException) -> None:
            super()._failed(error)
            if on_error is not None:
                on_error(error)

    with tempfile.TemporaryDirectory(prefix="trilemma-") as folder:
        scratch = Store(Path(folder) / "store")
        with scratch.writing():
            job = repeating_job(store, cell, scratch.path)
            write_json(Path(folder) / "job.json", job)
            work(str(Path(folder) / "job.json"), Foreground)
            comparison = compare_cell(store, scratch, cell)
            ended = scratch.record("cells", cell["id"]) or {"outcome": "error", "message": "nothing was recorded"}
            records = [scratch.record("evaluations", planned["id"]) for planned in job["evaluations"]]
            worst = next((record for record in [ended, *records] if record and record["outcome"] != "ok"), ended)
    return Repetition(
        cell["id"],
        cell["label"],
        worst["outcome"],
        worst["message"],
        comparison,
        differing(stored.get("environment") or {}, environment(job["threads"])),
        changed_code(cell, Registry(job["plugins"])),
        stored.get("written", ""),
    )
