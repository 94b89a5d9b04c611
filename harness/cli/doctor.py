"""The command `trilemma doctor`, which checks the machine and the installation."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable

import click

from ..execution.environment import available_cores, cpu_name, environment
from ..plugins import Registry
from .options import json_option
from .output import echo_json


@click.command(
    epilog="""\b
Examples:
  trilemma doctor
  trilemma doctor --json
"""
)
@json_option
def doctor(as_json: bool) -> None:
    """Check this machine and this installation. The exit code is 1 if a run could not work here."""

    checks = []
    for name, check in CHECKS.items():
        try:
            good, text = check()
        except Exception as error:  # a check that raises counts as failed
            good, text = False, f"{type(error).__name__}: {error}"
        checks.append({"check": name, "ok": good, "detail": text})
    if as_json:
        echo_json(checks)
    else:
        for row in checks:
            mark = click.style("ok  ", fg="green") if row["ok"] else click.style("FAIL", fg="red")
            click.echo(f"{mark} {row['check']}: {row['detail']}")
    if not all(row["ok"] for row in checks):
        sys.exit(1)


def _python() -> tuple[bool, str]:
    return sys.version_info >= (3, 11), sys.version.split()[0]


def _versions() -> tuple[bool, str]:

    return True, ", ".join(f"{name} {version}" for name, version in environment()["versions"].items())


def _machine() -> tuple[bool, str]:
    import psutil

    free = psutil.virtual_memory().available / 2**30
    return free > 2, f"{cpu_name()}, {available_cores()} cores, {free:.1f} GiB of memory free (2 needed)"


def _disk() -> tuple[bool, str]:

    free = shutil.disk_usage(".").free / 2**30
    return free > 0.5, f"{free:.1f} GiB free in this directory"


def _gpu() -> tuple[bool, str]:
    import torch

    count = torch.cuda.device_count()
    return True, ", ".join(torch.cuda.get_device_name(i) for i in range(count)) or "none (runs use the CPU)"


def _cells() -> tuple[bool, str]:
    """Start one cell process, which loads a dataset."""

    from ..api import make_runner
    from ..execution.forks import Zygote
    from ..execution.supervisor import Supervisor

    with tempfile.TemporaryDirectory() as folder:
        runner = make_runner("smoke", out=folder, models=["gaussian"])
        started = time.perf_counter()
        with runner.store.writing():
            cells = runner.plan(Supervisor(Zygote.shared(1)))
        errors = [cell.data_error for cell in cells if cell.data_error]
        return not errors, "; ".join(errors) or f"a cell process works ({time.perf_counter() - started:.1f} s)"


def _plugins() -> tuple[bool, str]:

    registry = Registry()
    registry.load_everything()
    broken = registry.warnings()
    return not broken, "; ".join(broken) or f"{len(registry.records)} loaded"


CHECKS: dict[str, Callable[[], tuple[bool, str]]] = {
    "python": _python,
    "versions": _versions,
    "machine": _machine,
    "disk": _disk,
    "gpu": _gpu,
    "plugins": _plugins,
    "cell processes": _cells,
}
