"""The end of `trilemma run`: the report and the summary, in a process of their own.

The libraries of the report and the frame of many results need more memory than the run itself. The process is given a
record in JSON, and answers with one in a temporary file.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

from .. import api
from ..errors import TrilemmaError
from ..execution.finished import Finished, Memory
from ..execution.processes.family import die_with
from ..execution.run import Runner
from ..execution.witness import Witness
from ..plugins import Registry
from ..store.store import Store
from .output import echo, echo_json, frame_records

MANY_CELLS = 1_000
"""Of more cells, the frame is large enough to be worth a process of its own, which starts in a second."""


def load_ahead(runner: Runner) -> threading.Thread | None:
    """Load the libraries of the report in a thread. It does so while this process waits for the first cells.

    None for a run of so many cells that it ends in another process.
    """
    if len(runner.resolved.pairs) * len(runner.resolved.suite.seed_list) > MANY_CELLS:
        return None
    thread = threading.Thread(target=_load, name="libraries")
    thread.start()
    return thread


def _load() -> None:
    with contextlib.suppress(Exception):  # it is raised again at the end of the run
        from ..store import frame  # noqa: F401
        from . import table  # noqa: F401

        Registry(builtin_only=True).classes("report_sections")


def end_run(runner: Runner, memory: Memory | None, as_json: bool) -> bool:
    """Write the report, print the summary, and remember the run in `memory`. Returns whether a selected cell failed.

    Other plugins are asked for their part in this process, because they may keep there what they have seen of the run.
    """
    registry = runner.registry
    others = registry.observed_by_others("run_finished") or registry.registered_by_others("report_sections")
    if others or len(runner.suite_cells) <= MANY_CELLS or not _is_open(sys.stdout):
        frame = api.finish(runner)
        failed = _has_failed(frame)
        show(frame, runner, as_json)
    else:
        failed = _end_apart(runner, memory, as_json)
    if memory is not None:
        api.remember(memory, runner, failed)
    return failed


def _is_open(stream: IO[str]) -> bool:
    """Whether another process can write to a stream, too, unlike to one in a notebook."""
    try:
        stream.flush()
        return stream.fileno() >= 0
    except (OSError, ValueError, AttributeError):
        return False


def _end_apart(runner: Runner, memory: Memory | None, as_json: bool) -> bool:
    """End a run in another process, which prints the summary itself."""
    with tempfile.NamedTemporaryFile("w+", prefix="trilemma-", encoding="utf-8") as answer:
        request = {
            "parent": os.getpid(),
            "answer": answer.name,
            "store": str(runner.store.path),
            "json": as_json,
            "witness": memory is not None,
        }
        command = [sys.executable, "-P", "-m", "trilemma.harness.cli.ending", json.dumps(request)]
        code = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
        said = answer.read()
    if code:
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        runner.problems.append(f"the report was not written: the process that writes it ended {how}")
        echo(f"error: {runner.problems[-1]}", err=True)
        return True
    found: dict[str, Any] = json.loads(said)
    if "error" in found:
        raise TrilemmaError(found["error"])
    runner.written += map(Path, found["written"])
    runner.problems += found["problems"]
    if memory is not None:
        memory.also_read(found["read"])
    return bool(found["failed"])


def main(text: str) -> None:
    """End a run in this process, as `text` asks, and answer."""
    request = json.loads(text)
    die_with(request["parent"], signal.SIGKILL)
    store = Store(request["store"])
    witness = Witness(store.path) if request["witness"] else None
    answer: dict[str, Any]
    try:
        frame, written, problems = api.end(store, Registry(builtin_only=True))
        show(frame, Finished(store, written, problems), request["json"])
        sys.stdout.flush()
        answer = {"written": list(map(str, written)), "problems": problems, "failed": _has_failed(frame)}
        answer["read"] = witness.end() if witness is not None else {}
    except TrilemmaError as error:
        answer = {"error": str(error)}
    except KeyboardInterrupt:  # it was meant for the run, which hears it too
        sys.exit(130)
    Path(request["answer"]).write_text(json.dumps(answer), encoding="utf-8")


def _has_failed(frame: Any) -> bool:
    return not frame.loc[frame["selected"], "outcome"].isin(["ok", "unsupported"]).all()


def show(frame: Any, runner: Runner | Finished, as_json: bool) -> None:
    """Print the results of an ended run: a summary, or all as JSON."""
    if as_json:
        cells = frame.drop_duplicates("cell")
        outcomes = frame.groupby("cell")["outcome"].agg(lambda column: next((o for o in column if o != "ok"), "ok"))
        echo_json({"path": str(runner.store.path), "cells": len(cells), "outcomes": outcomes.value_counts().to_dict(),
                   "written": [str(file) for file in runner.written], "problems": runner.problems,
                   "results": frame_records(frame)})  # fmt: skip
        return
    from .table import print_summary

    print_summary(frame)
    reports = [file for file in runner.written if file.parent == runner.store.path]
    if reports:
        echo("written: " + ", ".join(str(file) for file in reports), err=True)
    for problem in runner.problems:
        echo(f"error: {problem}", err=True)


if __name__ == "__main__":
    main(sys.argv[1])
