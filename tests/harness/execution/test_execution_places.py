"""Where the program and its cells look for files and modules: in the same places, whatever starts or changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trilemma.harness.execution.processes.supervisor import Ending

Do = Callable[..., Ending]


def test_a_module_in_the_working_directory_is_not_found_by_accident(tmp_path: Path) -> None:
    """`trilemma` does not look there, and neither do cells, so `python -m trilemma` must not."""
    (tmp_path / "mine.py").write_text("")
    (tmp_path / "click.py").write_text("raise RuntimeError('the wrong module')")
    command = [sys.executable, "-m", "trilemma", "list", "models", "--plugin", "mine"]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    listed = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert listed.returncode == 2
    assert "no module 'mine'" in listed.stderr
    assert "./mine.py" in listed.stderr


def test_a_cell_is_where_its_run_is_now(tmp_path: Path, do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that cells are forked from was started when the working directory and the path were others."""
    do("pass")
    file = tmp_path / "seen"
    code = f"import json, sys; json.dump([os.getcwd(), sys.path], open({str(file)!r}, 'w'))"
    places = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        monkeypatch.syspath_prepend(tmp_path / name)
        assert do(code).cause == "exit"
        assert json.loads(file.read_text()) == [str(tmp_path / name), sys.path]
        places.append(sys.path[0])
    assert places == [str(tmp_path / "one"), str(tmp_path / "two")]


def test_a_working_directory_that_is_gone_stops_no_cell(
    tmp_path: Path, do: Do, monkeypatch: pytest.MonkeyPatch
) -> None:
    do("pass")  # the shared process is not started from there
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert do("pass").cause == "exit"
