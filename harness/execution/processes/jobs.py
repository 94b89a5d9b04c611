"""A job from start to end: what is lost with the infrastructure is tried again, and what is blamed for it."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...planning.suite import Limits
from ...store.files import write_new
from .forks import Zygote
from .supervisor import Ending, Supervisor

LOSSES = 3
"""After how many losses of its keeper, or of a zygote that nothing else used, a job is blamed for them."""
STARTS = 3
"""After how many zygotes that ended before they could start the job it is given up."""
MOST_LOSSES = 8
"""After how many losses of any kind a job is given up."""
LOST = ("zygote", "keeper")
"""The causes of endings that are losses of infrastructure."""
LOADER_TRIES = 3
"""How many times a dataset is loaded, when its process is ended by a signal."""


def run_job(
    supervisor: Supervisor,
    folder: Path,
    log: Path,
    job: dict[str, Any],
    limits: Limits,
    *,
    env: dict[str, str],
    on_event: Callable[[dict[str, Any]], None] = lambda event: None,
    zygote: Zygote | None = None,
) -> Ending:
    """Run a job in a temporary folder, and return how it ended. Its process comes from the shared zygote, or `zygote`.

    A job that is lost with its keeper or zygote is tried again. Once a zygote has ended under a job, the job gets a
    zygote of its own, so that one that kills its zygote harms no other, and one that does not is soon known not to. A
    job that exits without error and without the records that it was to make gets the cause `unrecorded`.
    """
    for link in filter(Path.is_symlink, (folder, log)):
        link.unlink()  # the link itself, to write nothing into what it leads to
    folder.mkdir(parents=True, exist_ok=True)
    events, file = folder / "events.jsonl", folder / "job.json"
    write_new(file, json.dumps({**job, "events": str(events)}).encode(), lasting=False)
    tries = LOADER_TRIES if job["kind"] == "data" else 1
    keepers = alone = losses = starts = 0
    zygote = usual = zygote or supervisor.zygote
    try:
        with contextlib.ExitStack() as own:
            while True:
                events.unlink(missing_ok=True)
                ending = supervisor.supervise(file, log, events, limits, env=env, on_event=on_event, zygote=zygote)
                tries -= ending.cause == "signal"
                keepers += ending.cause == "keeper"
                alone += ending.cause == "zygote" and ending.alone
                losses += ending.cause in LOST
                starts += ending.cause == "zygote" and not ending.elapsed
                blamed = max(keepers, alone) >= LOSSES
                if ending.cause not in (*LOST, "signal") or not tries or blamed:
                    break
                if losses >= MOST_LOSSES or starts >= STARTS:
                    break
                if supervisor.stop.wait(min(0.05 * 2**losses, 5)):  # what was wrong may pass
                    return replace(ending, cause="interrupted")
                if ending.cause == "zygote" and zygote is usual:
                    zygote = own.enter_context(contextlib.closing(Zygote(zygote.threads, zygote.needs, zygote.python)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if ending.cause in LOST:
        return replace(ending, alone=blamed)
    lacks = _lacks(job, ending)
    return replace(ending, cause="unrecorded", lacks=lacks) if lacks else ending


def _lacks(job: dict[str, Any], ending: Ending) -> str:
    """What the process of a cell was to record and did not, although it ended without error."""
    if job["kind"] != "cell" or (ending.cause, ending.code) != ("exit", 0):
        return ""
    committed = [event for event in ending.events if "committed" in event]
    trained = [event for event in committed if event["committed"] == "cell"]
    if any(event["outcome"] != "ok" for event in trained):
        return ""  # without a model there is nothing to evaluate
    if job["train"] and not trained:
        return "its training"
    recorded = {event["id"] for event in committed if event["committed"] == "evaluation"}
    lacks = [planned["id"] for planned in job["evaluations"] if planned["id"] not in recorded]
    return f"{len(lacks)} of its {len(job['evaluations'])} evaluations" if lacks else ""
