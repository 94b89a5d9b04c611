"""Commands on a terminal: colors unless NO_COLOR is set, lines that fit a narrow window, and none of it in pipes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from trilemma.harness.cli import main
from trilemma.harness.execution.live import Running, RunState
from trilemma.harness.execution.recording import PROGRESS, process_record
from trilemma.harness.terminal.progress import RichProgress

COLOR = re.compile(r"\x1b\[[0-9;]*(3[0-7]|9[0-7])[;m]")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
WIDTH = 50
Windows = Callable[..., tuple[str, str]]


class Terminal:
    """A window whose content is kept."""

    def __init__(self, width: int) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, width, 0, 0))
        self.content = b""
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the last writer has closed it
            while part := os.read(self.master, 4096):
                self.content += part

    def close(self) -> str:
        """Close it. Returns all that was written."""
        os.close(self.slave)
        self._thread.join()
        os.close(self.master)
        return self.content.decode()


@contextlib.contextmanager
def in_windows(out: Terminal, err: Terminal) -> Iterator[None]:
    """Make two windows the standard output and error of this process."""
    kept, streams = [os.dup(number) for number in range(3)], (sys.stdout, sys.stderr)
    for number, window in enumerate((out, out, err)):
        os.dup2(window.slave, number)
    with open(1, "w", closefd=False) as sys.stdout, open(2, "w", closefd=False) as sys.stderr:
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = streams
            for number, descriptor in enumerate(kept):
                os.dup2(descriptor, number)
                os.close(descriptor)


@pytest.fixture
def windows(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Windows:
    """What a command writes to standard output and standard error in narrow windows: `windows(*arguments)`."""
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")

    def show(*arguments: object, width: int = WIDTH) -> tuple[str, str]:
        out, err = Terminal(width), Terminal(width)
        with capfd.disabled(), in_windows(out, err), contextlib.suppress(SystemExit):
            main([str(argument) for argument in arguments], standalone_mode=False)
        return out.close(), err.close()

    return show


@pytest.fixture
def going_on(tmp_path: Path) -> Path:
    """The directory of a run that goes on."""
    rows = [Running("realnvp(transforms=12) on ring8(n_train=5000), seed 0", "fit", 0.25, "loss 1.5", time.time())]
    state = RunState(time.time(), total=4, count=4, done=1, running=rows, outcomes={"ok": 1})
    about = {**process_record(os.getpid()), "now": time.time(), "state": state.record()}
    (tmp_path / PROGRESS).write_text(json.dumps(about))
    return tmp_path


@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_color_means_no_color(
    windows: Windows, going_on: Path, monkeypatch: pytest.MonkeyPatch, no_color: str
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    shown, _ = windows("watch", going_on, "--once", width=100)
    assert "25%" in shown
    assert bool(COLOR.search(shown)) == (not no_color)
    out, err = Terminal(WIDTH), Terminal(WIDTH)
    with in_windows(out, err), RichProgress() as progress:
        progress.message("a warning")
    out.close()
    said = err.close()
    assert "a warning" in said
    assert bool(COLOR.search(said)) == (not no_color)


@pytest.mark.usefixtures("undrawn")
def test_a_run_fits_a_narrow_window(
    windows: Windows, finished_copy: Path, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out, err = windows("run", tiny_file, "--out", finished_copy)
    lines = CONTROL.sub("", out).replace("\r", "").splitlines()
    assert any("realnvp" in line for line in lines)
    assert max(map(len, lines)) <= WIDTH
    assert not COLOR.search(out + err)


def test_watching_fits_a_narrow_window(windows: Windows, going_on: Path) -> None:
    out, _ = windows("watch", going_on, "--once")
    assert max(map(len, CONTROL.sub("", out).replace("\r", "").splitlines())) <= WIDTH


def test_data_for_scripts_is_the_same_in_a_window_and_in_a_pipe(
    windows: Windows, finished: Path, command: Callable[..., Result]
) -> None:
    for arguments in (("results", finished), ("results", finished, "--format", "md"), ("watch", finished, "--json")):
        out, _ = windows(*arguments)
        piped = command(*arguments).stdout
        assert out.replace("\r\n", "\n") == piped
        assert "\x1b" not in piped


def test_nothing_drives_a_terminal_in_a_pipe(going_on: Path, finished: Path, command: Callable[..., Result]) -> None:
    for folder in (going_on, finished):
        result = command("watch", folder, "--once")
        assert result.exit_code == 0
        assert "\x1b" not in result.stdout + result.stderr
