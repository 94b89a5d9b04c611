"""The command line of trilemma in processes that the soak can recognize, and what a run directory holds."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from processes import MARK

HERE = Path(__file__).parent
CALL_SECONDS = 900.0  # a command without faults that takes longer hangs; long, for the machine may be busy
COMMAND = [sys.executable, "-P", "-m", "trilemma"]


def environment(mark: str, clock: Path) -> dict[str, str]:
    """The environment of a run: with the mark, and a clock of the day that jumps as the file `clock` says."""
    path = os.pathsep.join(filter(None, (str(HERE / "clock"), os.environ.get("PYTHONPATH"))))
    return {**os.environ, MARK: mark, "PYTHONPATH": path, "TRILEMMA_SOAK_CLOCK": str(clock), "COLUMNS": "200"}


def call(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. The return code is 124 if it hangs."""
    command = [*COMMAND, *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=CALL_SECONDS)
    except subprocess.TimeoutExpired as error:
        return subprocess.CompletedProcess(command, 124, "", f"hung: {error.stderr!r}")


def results(out: Path, env: dict[str, str]) -> list[dict[str, Any]]:
    """The rows of the results of a run directory. Raises RuntimeError if the command fails."""
    done = call("results", str(out), "--format", "json", env=env)
    if done.returncode != 0:
        raise RuntimeError(f"results {out} ended with {done.returncode}: {done.stderr[-500:]}")
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def outcomes(rows: list[dict[str, Any]]) -> dict[str, str]:
    """The outcome of each cell: the first that is not `ok`."""
    found: dict[str, str] = {}
    for row in rows:
        if found.get(row["cell"], "ok") in ("ok", "unsupported"):
            found[row["cell"]] = row["outcome"]
    return found


def numbers(rows: list[dict[str, Any]], out: Path) -> dict[str, dict[str, Any]]:
    """All that must be equal bit for bit in two runs of a cell: its results, and the hash of its checkpoint."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        key = f"{row['sampler']}, {row['metric']}, {row['likelihood']}"
        found.setdefault(row["cell"], {})[key] = [row["value"], row["ci_low"], row["ci_high"], row["n"], row["nfe"]]
    for cell in found:
        file = out / "cells" / cell / "model.safetensors"
        found[cell]["checkpoint"] = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else None
    return found
