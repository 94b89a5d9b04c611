"""The end of a run of many cells, in a process of its own, leaves what the end in the same process leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import pytest

from trilemma.harness.cli import ending

SCRIPT = """
import sys
from trilemma.harness import api
from trilemma.harness.cli import ending, main
ending.MANY_CELLS = 0
api.finish = None  # not in this process
code = 0
try:
    main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print("loaded:", sorted({"pandas", "matplotlib"} & set(sys.modules)), file=sys.stderr)
sys.exit(code)
"""


def run(suite: Path, out: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT, "run", str(suite), "--out", str(out), "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env={**os.environ, **env})


@pytest.mark.slow
def test_a_run_of_many_cells_ends_in_a_process_of_its_own(tiny_file: Path, finished_copy: Path, tmp_path: Path) -> None:
    page = (finished_copy / "report.html").read_text()
    (finished_copy / "report.html").unlink()
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "MPLCONFIGDIR": matplotlib.get_cachedir()}
    ended = run(tiny_file, finished_copy, **cache)
    assert ended.returncode == 0, ended.stderr
    assert "loaded: []" in ended.stderr, "the run itself loads neither pandas nor matplotlib"
    said = json.loads(ended.stdout)
    assert said["cells"] == 3
    assert str(finished_copy / "report.html") in said["written"]
    assert len((finished_copy / "report.html").read_text()) == pytest.approx(len(page), rel=0.1)
    again = run(tiny_file, finished_copy, **cache)
    assert "nothing is left to do" in again.stderr  # what the other process has read is remembered too


def test_a_report_whose_process_is_killed_is_an_error(tiny_file: Path, finished_copy: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    kill = "import os, sys; '.ending' in ' '.join(sys.orig_argv) and os.kill(os.getpid(), 9)"
    (site / "sitecustomize.py").write_text(kill)
    paths = f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    ended = run(tiny_file, finished_copy, PYTHONPATH=paths, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert ended.returncode == 1
    assert "the report was not written: the process that writes it ended by signal 9" in ended.stderr


@pytest.mark.parametrize(("seeds", "loaded"), [(ending.MANY_CELLS, True), (ending.MANY_CELLS + 1, False)])
def test_libraries_are_loaded_ahead_unless_another_process_needs_them(seeds: int, loaded: bool) -> None:
    suite = SimpleNamespace(seed_list=range(seeds))
    runner: Any = SimpleNamespace(resolved=SimpleNamespace(pairs=["moons, gaussian"], suite=suite))
    thread = ending.load_ahead(runner)
    assert (thread is not None) == loaded
    if thread is not None:
        thread.join()
        assert {"pandas", "matplotlib", "trilemma.reports.sections.curves"} <= sys.modules.keys()
