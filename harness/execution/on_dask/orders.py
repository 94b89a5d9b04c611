"""Which worker a cell goes to, what the worker is told, and what it sends back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import StoreError
from ...plugins.places import is_file
from ..processes.supervisor import Ending
from ..scheduling.executors import Work
from ..scheduling.setting import Setting
from .hosts import Host, Place
from .parcel import Parcel, await_records, deliver, pack, pack_partial

BLAMED = 3
"""After how many losses of a worker that ran nothing else a cell is given up."""
MOST_LOSSES = 8
"""After how many losses of any kind a cell is given up."""
FETCH_SECONDS = 600.0


@dataclass(eq=False)
class Entry:
    """A cell on its way: it waits for a place, or runs on a host as a task of Dask."""

    work: Work
    ending: Future[Ending]
    alone: int = 0
    """How often its worker was lost while it ran nothing else."""
    losses: int = 0
    troubles: int = 0
    """How often its worker reported an error of its own."""
    trouble: str = ""
    host: Host | None = None
    place: Place = None
    task: Any = None

    @property
    def hopeless(self) -> bool:
        """Whether it was lost so often that it is not tried again."""
        return max(self.alone, self.troubles) >= BLAMED or self.losses >= MOST_LOSSES

    def lost(self, trouble: str) -> None:
        """Note that it was lost, with its worker or its connection, or because of an error of the worker."""
        self.losses += 1
        self.troubles += bool(trouble)
        self.trouble = trouble.strip() or self.trouble

    def take(self, host: Host) -> None:
        """Take a free place of a host."""
        self.host, self.place = host, host.free.pop(0)

    def leave(self) -> None:
        """Give the place back, and the task up: if it still runs, its worker ends the cell."""
        if self.host is not None:
            self.host.free.append(self.place)
        if self.task is not None:
            self.task.release()
        self.host = self.task = None


def choose(waiting: Sequence[Entry], running: Sequence[Entry], hosts: Sequence[Host]) -> list[tuple[Entry, Host]]:
    """Which waiting cells can start, and where. Cells go to the workers with the most room.

    A cell that was lost before gets a worker for itself, because it may be what ended its worker. If none is idle, the
    worker with the fewest cells gets no others until it is.
    """
    busy = Counter({host.address: host.busy for host in hosts})
    closed = {entry.host.address for entry in running if entry.host is not None and entry.losses}
    chosen = []
    for entry in waiting:
        room = [host for host in hosts if host.address not in closed and busy[host.address] < len(host.places)]
        best = min(room, key=lambda host: busy[host.address] / len(host.places), default=None)
        if best is None:
            continue
        if entry.losses:
            closed.add(best.address)
        if not entry.losses or not busy[best.address]:
            busy[best.address] += 1
            chosen.append((entry, best))
    return chosen


def order_for(entry: Entry, run: str, setting: Setting, shared: bool) -> dict[str, Any]:
    """What the worker of a cell has to know; see `task.run_cell`."""
    home, job = setting.store.path.resolve(), entry.work.job
    model = job.get("model", {})
    own = [model["plugin"]] if model.get("environment") else []
    return {
        "run": run,
        "job": job,
        "limits": setting.limits.model_dump(),
        "threads": setting.machine.threads,
        "device": setting.machine.device,
        "env": setting.env,
        "gpu": entry.place,
        "store": str(home) if shared else None,
        "parcel": {} if shared else _needed(entry.work, setting, home),
        "plugins": [
            {"path": name, "text": Path(name).read_text("utf-8")} if is_file(name) else {"module": name}
            for name in (*setting.plugin_files, *own)
        ],
    }


def _needed(work: Work, setting: Setting, home: Path) -> Parcel:
    """What a worker that does not see the run directory needs of a cell: its model, or the state of its training."""
    if not work.job["train"]:
        return pack(home, [("cells", work.cell.id)])
    try:
        return pack_partial(home, work.cell.id)
    except (OSError, StoreError) as error:
        setting.message(f"{work.cell.label}: {error}; its training starts anew on the worker")
        return {}


def fetched(task: Any, work: Work, setting: Setting, shared: bool) -> tuple[Ending | None, str]:
    """The ending of a cell, when what it has committed is in the store; None if it is lost, with what went wrong."""
    ending = None
    try:
        result = task.result(timeout=FETCH_SECONDS)
        if "trouble" in result:
            return None, result["trouble"]
        ending = Ending(**result["ending"])
        if shared:
            await_records(setting.store, work.cell.id, ending.events)
        else:
            deliver(result["parcel"], setting.store)
            if result.get("unsent"):
                setting.message(f"{work.cell.label}: {result['unsent']}; the next run trains it anew")
        return ending, ""
    except Exception as error:
        if ending is None or not isinstance(error, OSError):
            return None, f"{type(error).__name__}: {error}"
        setting.message(f"the results of {work.cell.label} could not be stored: {error}")
        return replace(ending, cause="exit", code=1), ""
