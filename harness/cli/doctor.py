"""The command `trilemma doctor`, which checks the machine and the installation, or a run directory."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict

import click

from ..execution.environment import available_cores, cpu_name, environment
from ..plugins import Registry
from ..store.repair import repair as repaired
from ..store.store import Store
from ..store.survey import Finding, survey
from ..text import printable
from .options import json_option
from .output import echo, echo_json

LISTED = 5
"""Findings of one kind that are shown. The others are counted."""

MARKS = {"ok": ("ok  ", "green"), "damaged": ("FAIL", "red")}
NOTE = ("note", "yellow")


@click.command(
    epilog="""\b
Examples:
  trilemma doctor
  trilemma doctor runs/quick
  trilemma doctor runs/quick --repair
  trilemma doctor runs/quick --json
"""
)
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path())
@click.option("--repair", is_flag=True, help="Set damage aside, and restore run.json and the marker of DIR.")
@json_option
def doctor(directory: str | None, repair: bool, as_json: bool) -> None:
    """Check this machine and this installation, or every file of the run directory DIR.

    In a run directory the checksum of every file is checked. Nothing is changed without --repair. With it, what is
    damaged is moved to DIR/aside, so that the next run computes it again. run.json is restored from its copy or from
    the records of the cells, and what killed runs left is deleted. Files that trilemma did not write are never changed.

    The exit code is 1 if a run could not work here, or if anything in DIR is damaged.
    """
    if directory is not None:
        _check_directory(directory, repair, as_json)
        return
    if repair:
        raise click.UsageError("--repair needs a run directory: trilemma doctor DIR --repair")
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
            _echo("ok" if row["ok"] else "damaged", f"{row['check']}: {row['detail']}")
    if not all(row["ok"] for row in checks):
        sys.exit(1)


def _echo(state: str, text: str) -> None:
    mark, color = MARKS.get(state, NOTE)
    click.echo(f"{click.style(mark, fg=color)} {printable(text)}")


def _check_directory(directory: str, repair: bool, as_json: bool) -> None:
    store = Store(directory)
    done = repaired(store) if repair else []
    found = survey(store.path)
    if as_json:
        rows = [asdict(finding) for finding in found.findings]
        echo_json({"path": str(store.path), "damaged": found.damaged, "repaired": done, "findings": rows})
    else:
        for line in done:
            click.echo(f"{click.style('done', fg='cyan')} {printable(line)}")
        _show(found.findings)
        if found.damaged and not repair:
            echo(f"`trilemma doctor {directory} --repair` sets the damage aside and restores the rest", err=True)
    if found.damaged:
        sys.exit(1)


def _show(findings: list[Finding]) -> None:
    """Print a line for each finding that is damage, and for the first few of every other kind."""
    seen: Counter[tuple[str, str, str]] = Counter()
    for finding in findings:
        kind = (finding.state, finding.place.partition("/")[0] if "/" in finding.place else "", finding.detail)
        seen[kind] += 1
        if finding.state == "damaged" or seen[kind] <= LISTED:
            _echo(finding.state, f"{finding.place}: {finding.detail}")
    for (state, place, detail), number in seen.items():
        if state != "damaged" and number > LISTED:
            _echo(state, f"{place or 'files'}: {number - LISTED} more: {detail}")


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
    from ..execution.processes.forks import Zygote
    from ..execution.processes.supervisor import Supervisor

    with tempfile.TemporaryDirectory() as folder:
        runner = make_runner("smoke", out=folder, models=["gaussian"])
        started = time.perf_counter()
        with runner.store.writing():
            cells = runner.plan(Supervisor(Zygote.shared(1)))
        errors = [cell.data_error for cell in cells if cell.data_error]
        return not errors, "; ".join(errors) or f"a cell process works ({time.perf_counter() - started:.1f} s)"


def _plugins() -> tuple[bool, str]:

    registry = Registry(fresh=True)
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
