"""The environment of a run: versions, processor, threads, GPUs and git commit."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from ..errors import TrilemmaError

PACKAGES = ("trilemma", "torch", "numpy", "scipy", "scikit-learn", "POT", "pandas", "pluggy", "pydantic", "safetensors")

_MALLOC = {"MALLOC_MMAP_THRESHOLD_": 2**25, "MALLOC_TRIM_THRESHOLD_": 2**28}
"""Bytes: the smallest piece of memory that glibc returns at once, and the most that it keeps otherwise."""


@cache
def environment(threads: int = 1, device: str = "cpu") -> dict[str, Any]:
    """Versions, machine, threads and, in a checkout, the git commit, as a JSON-able record.

    GPUs are named for a device other than `cpu` only: looking for them takes time, and no figure of a CPU depends on
    them.
    """
    import torch

    gpus = []
    if device != "cpu" and torch.cuda.is_available():
        gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "versions": versions(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": available_cores(),
        "gpus": gpus,
        "threads": threads,
        "git_commit": git_commit(),
    }


def run_record(suite: dict[str, Any], threads: int, device: str, **about: Any) -> dict[str, Any]:
    """What run.json says of a run that starts now."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    return {"suite": suite, "environment": environment(threads, device), "device": device, **about, "time": now}


@cache
def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """The versions of those packages that are installed, by default of the libraries on which results depend."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def cell_environment(threads: int) -> dict[str, str]:
    """The environment variables of the process of a cell. Numeric libraries read the thread counts when they load.

    Memory of tensors goes back to the allocator, and not to the kernel, which would clear each page of the next tensor
    again. What the user has set stays.
    """
    return {
        **{name: os.environ.get(name, str(size)) for name, size in _MALLOC.items()},
        **{f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")},
        "PYTHONHASHSEED": "0",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }


def cpu_name() -> str:
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def available_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def git_commit() -> str | None:
    """The commit of the working directory, with `-dirty` for uncommitted changes; None outside a checkout."""
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() or None


def visible_gpus(device: str, *, needed: bool = True) -> list[str]:
    """The GPUs for cells, as CUDA_VISIBLE_DEVICES names them.

    Raises TrilemmaError if the device does not exist; if no GPU of this machine is `needed`, only for a wrong name.
    """
    kind, _, index = device.partition(":")
    if device == "cpu":
        return []
    if kind != "cuda" or (index and not index.isdigit()):
        raise TrilemmaError(f"there is no device '{device}'; use cpu, cuda or cuda:N")
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]
    if not needed and torch.cuda.device_count() == 0:
        return []
    if not names or torch.cuda.device_count() == 0:
        raise TrilemmaError(f"device '{device}' was asked for, but torch sees no GPU here; use --device cpu")
    if index and int(index) >= len(names):
        raise TrilemmaError(f"there is no GPU {index}; this machine has {len(names)}")
    return [names[int(index)]] if index else names
