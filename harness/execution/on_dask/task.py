"""What a Dask worker does: it says what it is, supervises the processes of cells, and ends them when it is told to."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distributed import Worker, get_worker

from ...errors import PluginError, StoreError
from ...planning.elsewhere import packages_in, packages_of
from ...planning.suite import Limits
from ..environment import environment
from ..processes.forks import Zygote
from ..processes.jobs import run_job
from ..processes.supervisor import Supervisor
from .installation import installation
from .parcel import pack, pack_partial, unpack

WATCH_SECONDS = 0.2  # between two looks whether a cell is still wanted
EVENT_SECONDS = 0.5  # between two reports of the progress of a cell, which all pass through the scheduler
GONE = ("cancelled", "released", "forgotten", "erred")

_running: dict[str, list[Supervisor]] = {}
"""The supervisors of running cells, by run."""


def check_in(token: str, secret: str, threads: int) -> dict[str, Any]:
    """What this worker is, and whether it reads and writes the run directory in which the token file lies.

    The process from which its cells will be forked starts to load meanwhile.
    """
    Zygote.shared(threads).warm_up()
    worker = get_worker()
    return {
        "installation": installation(),
        "host": socket.gethostname(),
        "threads": worker.state.nthreads,
        "gpus": int(worker.state.total_resources.get("GPU", 0)),
        "shared": _shares(Path(token), secret),
    }


def _shares(token: Path, secret: str) -> bool:
    try:
        if token.read_text(encoding="utf-8") != secret:
            return False
        probe = token.with_name(f"{socket.gethostname()}-{os.getpid()}")
        probe.write_text(secret, encoding="utf-8")
    except OSError:
        return False
    return True


def run_cell(order: dict[str, Any]) -> dict[str, Any]:
    """Run the process of a cell as ordered. Returns its ending, or `trouble`, an error of this worker.

    `order` holds the job, its limits and environment, the run directory (`store`, None if the worker does not share it)
    and the files that the job needs: plugin files, and parts of the run directory (`parcel`). A worker without the run
    directory returns as `parcel` the folders that the cell committed, its log, and the state of an unfinished training;
    if that is too large, `unsent` says so.
    """
    try:
        return _run_cell(order)
    except PluginError as error:
        return {"trouble": str(error)}
    except Exception:
        return {"trouble": traceback.format_exc()}


def stop_cells(run: str, kill: bool) -> None:
    """End the cells of a run: with TERM first or, with `kill`, at once."""
    for supervisor in list(_running.get(run, ())):
        supervisor.stop.set()
        if kill:
            supervisor.kill.set()


def _run_cell(order: dict[str, Any]) -> dict[str, Any]:
    worker, job = get_worker(), order["job"]
    supervisor = Supervisor(Zygote.shared(order["threads"]))
    zygote = _of_environment(job.get("model", {}), order["threads"])
    with _scratch(worker, job["id"]) as scratch, _watched(worker, order["run"], supervisor):
        home = Path(order["store"] or scratch / "store")
        if not order["store"]:
            unpack(order["parcel"], home)
        common = {
            "store": str(home),
            "plugins": [_plugin(plugin, scratch) for plugin in order["plugins"]],
            "threads": order["threads"],
            "device": order["device"],
        }
        env = dict(order["env"])
        if order["gpu"] is not None:
            env["CUDA_VISIBLE_DEVICES"] = _gpu(order["gpu"])
        ending = run_job(
            supervisor,
            scratch / "job",
            home / "logs" / f"{job['id']}.log",
            {**common, **job},
            Limits(**order["limits"]),
            env=env,
            on_event=_reporter(worker, order["run"], job["id"]),
            zygote=zygote,
        )
        # Only for a record that the parent will write. It takes seconds, because it loads torch.
        unrecorded = ending.cause != "interrupted" and (ending.cause, ending.code) != ("exit", 0)
        where = environment(order["threads"]) if unrecorded else None
        result: dict[str, Any] = {"ending": {**asdict(ending), "environment": where}, "parcel": {}}
        if not order["store"]:
            made = [("evaluations", planned["id"]) for planned in job["evaluations"]]
            if job["train"] or any(event.get("committed") == "cell" for event in ending.events):
                made.append(("cells", job["id"]))
            result["parcel"] = pack(home, made, [f"{job['id']}.log"])
            try:
                result["parcel"] |= pack_partial(home, job["id"])
            except (StoreError, OSError) as error:
                result["unsent"] = str(error)
        return result


def _of_environment(model: dict[str, Any], threads: int) -> Zygote | None:
    """Where the process of a model comes from whose plugin has an interpreter of its own; None for other models.

    Raises PluginError if the interpreter is not here or does not answer, or has other packages than where the run was
    started.
    """
    python = model.get("environment")
    if not python:
        return None
    try:
        packages = packages_of(python)
    except PluginError as error:
        raise PluginError(
            f"the environment of plugin {model['plugin']} cannot be used on {socket.gethostname()}: {error}; workers "
            "need it under the same path as where the run was started"
        ) from None
    if packages != packages_in(model["source"]):
        raise PluginError(
            f"{python} on {socket.gethostname()} is not the environment of plugin {model['plugin']} that the run was "
            "started with: workers need it under the same path with the same packages, and start anew when they change"
        )
    return Zygote.shared(threads, python)


@contextlib.contextmanager
def _scratch(worker: Worker, id: str) -> Iterator[Path]:
    """A temporary folder of this worker. What a killed worker leaves is removed by Dask."""
    folder = Path(worker.local_directory).absolute() / f"trilemma-{id}-{time.monotonic_ns()}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _watched(worker: Worker, run: str, supervisor: Supervisor) -> Iterator[None]:
    """Watch whether the task is still wanted. If it is not, because the parent has ended, the cell is ended too."""
    key, over = worker.get_current_task(), threading.Event()

    def watch() -> None:
        while not over.wait(WATCH_SECONDS):
            task = worker.state.tasks.get(key)
            if task is None or task.state in GONE or worker.status.name not in ("running", "paused"):
                supervisor.stop.set()

    _running.setdefault(run, []).append(supervisor)
    watcher = threading.Thread(target=watch, name="watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        _running[run].remove(supervisor)


def _reporter(worker: Worker, run: str, id: str) -> Callable[[dict[str, Any]], None]:
    """Sends the events of a cell to the parent. It is for display only, so an event may get lost."""
    last = 0.0

    def report(event: dict[str, Any]) -> None:
        nonlocal last
        now = time.monotonic()
        if "phase" in event or ("progress" in event and now - last >= EVENT_SECONDS):
            last = now
            with contextlib.suppress(Exception):
                worker.log_event(topic(run), {"cell": id, "event": event})

    return report


def topic(run: str) -> str:
    """The topic of the events of a run."""
    return f"trilemma-{run}"


def _plugin(plugin: dict[str, str], scratch: Path) -> str:
    """A plugin here: a module by its name, a file by the same path if it has the same content here, else by a copy."""
    if "module" in plugin:
        return plugin["module"]
    here, content = Path(plugin["path"]), plugin["text"].encode()
    with contextlib.suppress(OSError):
        if here.read_bytes() == content:
            return str(here)
    folder = scratch / "plugins" / hashlib.sha256(plugin["path"].encode()).hexdigest()[:8]
    folder.mkdir(parents=True)
    (folder / here.name).write_bytes(content)
    return str(folder / here.name)


def _gpu(gpu: int | str) -> str:
    """The name of a GPU, given by its name, or by its number among those that this worker sees."""
    if isinstance(gpu, str):
        return gpu
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return names[gpu] if gpu < len(names) else str(gpu)
