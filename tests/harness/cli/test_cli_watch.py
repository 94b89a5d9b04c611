"""`trilemma watch`, and the picture of a run that goes on, on terminals of any width."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from rich.console import Console

from trilemma.harness.cli import watch as watch_module
from trilemma.harness.execution.live import Running, RunState
from trilemma.harness.execution.recording import PROGRESS, process_record, read_progress
from trilemma.harness.terminal.bars import Picture

Command = Callable[..., Result]


def state(**more: Any) -> RunState:
    """A run of 40 cells of which 12 have ended and two are running."""
    now = time.time()
    rows = [
        Running("realnvp(transforms=12) on ring8(n_train=5000), seed 0", "fit", 0.25, "loss 1.5", now - 65),
        Running("vp-sde on digits, seed 1", "evaluate heun(steps=18)", 0.5, "", now - 7),
    ]
    known = {
        "running": rows,
        "total": 50,
        "count": 40,
        "done": 12,
        "outcomes": {"ok": 11, "error": 1},
        "left": 3600.0,
        "left_at": now,
    }
    return RunState(now - 600, **{**known, **more})


def lines(shown: RunState, width: int, height: int = 30) -> list[str]:
    """The picture of a run on a terminal."""
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    with console.capture() as capture:
        console.print(Picture(shown))
    return capture.get().splitlines()


def write(folder: Path, shown: RunState, **more: Any) -> None:
    """Write the progress of a run of this process, or of the process that `more` describes."""
    about = {**process_record(os.getpid()), "now": time.time(), "state": shown.record()}
    (folder / PROGRESS).write_text(json.dumps({**about, **more}))


@pytest.mark.parametrize("width", range(20, 161, 20))
def test_a_picture_fits_its_terminal_and_cuts_no_number(width: int) -> None:
    shown = lines(state(), width)
    assert max(map(len, shown)) <= width
    text = " ".join(" ".join(shown).split())
    assert "12/40, 1 failed, 10 min, about 60 min left" in text
    assert "25% fit 65 s" in text
    assert "50% evaluate heun(steps=18) 7 s" in text
    assert "realnvp(tr" in text
    assert ("loss 1.5" in text) == (width >= 80)


def test_a_low_terminal_says_how_many_cells_it_does_not_show() -> None:
    many = state(running=[Running(f"cell {number}", "fit") for number in range(64)])
    shown = lines(many, 80, height=12)
    assert len(shown) == 10
    assert shown[-1].strip() == "and 56 more"
    assert [f"cell {number}" in "\n".join(shown) for number in (0, 7, 8)] == [True, True, False]


def test_planning_and_timing_have_their_own_lines() -> None:
    assert lines(state(count=0, running=[], doing="loading dataset mnist"), 80) == ["loading dataset mnist"]
    shown = lines(state(running=[], visits=9, visited=3, visiting="gmm on ring8, seed 0, round 2", left=5.0), 80)
    assert re.fullmatch(r"timing ━{7}─{13} 3/9, 10 min, about 5 s left", shown[0])
    assert shown[1].strip() == "gmm on ring8, seed 0, round 2"


def test_text_of_others_does_not_drive_the_terminal() -> None:
    hostile = state(running=[Running("a\x1b[2Jb\nc", "fit\x1b[31m")], doing="\x1b]0;x\x07")
    assert "\x1b" not in "".join(lines(hostile, 80)) + "".join(lines(hostile, 40))


def test_an_ended_run_says_how_it_ended(finished: Path, command: Command) -> None:
    result = command("watch", finished)
    assert result.exit_code == 0, result.output
    assert re.search(r"finished: 3 of 3 cells ended \(3 ok\) in \d+ s", result.stderr)
    said = json.loads(command("watch", finished, "--json").stdout)
    assert (said["problem"], said["state"]["ended"], said["state"]["running"]) == ("", "finished", [])


def test_a_run_that_goes_on_is_shown_once(tmp_path: Path, command: Command) -> None:
    write(tmp_path, state(failures=["error: vae on ring8, seed 0 (fit): boom"]))
    result = command("watch", tmp_path, "--once")
    assert result.exit_code == 0, result.output
    assert "12/40, 1 failed" in result.stdout
    assert "boom" in result.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / PROGRESS]


def test_a_run_is_followed_through_half_written_files_until_it_ends(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "SECONDS", 0.02)
    write(tmp_path, state())
    whole = (tmp_path / PROGRESS).read_text()

    told, echo = threading.Semaphore(0), watch_module.echo

    def telling(*arguments: Any, **options: Any) -> None:
        echo(*arguments, **options)
        told.release()

    monkeypatch.setattr(watch_module, "echo", telling)

    def go_on() -> None:
        told.acquire(timeout=60)
        for length in (0, 1, len(whole) // 2, len(whole) - 1):
            (tmp_path / PROGRESS).write_text(whole[:length])
            time.sleep(0.05)
        (tmp_path / PROGRESS).write_text("[1, 2]")
        time.sleep(0.05)
        write(tmp_path, state(done=13, outcomes={"ok": 12, "error": 1}))
        told.acquire(timeout=60)
        write(tmp_path, state(done=40, outcomes={"ok": 39, "error": 1}, running=[], ended="finished"))

    thread = threading.Thread(target=go_on)
    thread.start()
    result = command("watch", tmp_path)
    thread.join()
    assert result.exit_code == 0, result.output
    first, second, *_ = result.stdout.splitlines()
    assert (first[:16], second[:16]) == ("12/40, 1 failed,", "13/40, 1 failed,")
    assert "finished: 40 of 40 cells ended (39 ok, 1 error)" in result.stderr


def test_a_run_whose_process_is_gone_is_said_to_be_dead(tmp_path: Path, command: Command) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    write(tmp_path, state(), pid=ended.pid)
    result = command("watch", tmp_path)
    assert result.exit_code == 1
    assert f"not going on: its process (pid {ended.pid}) is gone; 12 of 40 cells ended" in result.stderr
    assert "run the same command again to continue" in result.stderr


def test_another_process_with_the_same_number_is_not_the_run(tmp_path: Path, command: Command) -> None:
    write(tmp_path, state(), process=1.0)
    assert command("watch", tmp_path, "--once").exit_code == 1


def test_a_run_on_another_machine_is_known_by_its_signs_of_life(tmp_path: Path, command: Command) -> None:
    write(tmp_path, state(), place="elsewhere", pid=1)
    assert command("watch", tmp_path, "--once").exit_code == 0
    write(tmp_path, state(), place="elsewhere", pid=1, now=time.time() - 100)
    result = command("watch", tmp_path, "--once")
    assert result.exit_code == 1
    assert "it has given no sign of life for 100 s" in result.stderr
    seen = read_progress(tmp_path)
    assert seen is not None
    assert not seen.gone  # so a live picture goes on, with a note


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"state": {"begun": 1, "other": 2}}'])
def test_a_folder_without_progress_is_refused(content: str | None, tmp_path: Path, command: Command) -> None:
    if content is not None:
        (tmp_path / PROGRESS).write_text(content)
    result = command("watch", tmp_path)
    assert result.exit_code == 2
    assert "no run has written its progress into" in result.stderr


def test_tables_in_a_pipe_are_as_wide_as_they_are_asked_to_be(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, state())
    monkeypatch.setenv("COLUMNS", "50")
    shown = command("watch", tmp_path, "--once").stdout.splitlines()
    assert max(map(len, shown)) <= 50
    monkeypatch.delenv("COLUMNS")
    shown = command("watch", tmp_path, "--once").stdout.splitlines()
    assert any("realnvp(transforms=12) on ring8(n_train=5000), seed 0" in text and "━" in text for text in shown)
