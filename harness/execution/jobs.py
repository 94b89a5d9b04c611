"""A job from start to end. What is lost with the infrastructure is tried again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..planning.suite import Limits
from ..store.files import write_json
from .supervisor import Ending, Supervisor


def run_job(
    supervisor: Supervisor,
    folder: Path,
    log: Path,
    job: dict[str, Any],
    limits: Limits,
    *,
    env: dict[str, str],
    on_event: Callable[[dict[str, Any]], None] = lambda event: None,
) -> Ending:
    """Run a job in a temporary folder, and return how it ended."""
    for link in filter(Path.is_symlink, (folder, log)):
        link.unlink()  # the link itself, to write nothing into what it leads to
    folder.mkdir(parents=True, exist_ok=True)
    events, file = folder / "events.jsonl", folder / "job.json"
    write_json(file, {**job, "events": str(events)})
    try:
        for _ in range(2):
            events.unlink(missing_ok=True)
            ending = supervisor.supervise(file, log, events, limits, env=env, on_event=on_event)
            if ending.cause != "zygote":
                break  # if the zygote ended, the job did not fail itself and is tried once more
        return ending
    finally:
        shutil.rmtree(folder, ignore_errors=True)
