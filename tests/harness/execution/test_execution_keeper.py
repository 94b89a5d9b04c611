"""What a cell starts ends with it, whatever it does to its keeper; and its log is short."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from trilemma.harness.execution.processes.log_file import LOG_BYTES
from trilemma.harness.execution.processes.supervisor import Ending
from trilemma.harness.store.store import Store

Do = Callable[..., Ending]
Gone = Callable[[int], bool]

DAEMON = """
there, here = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        with open({file!r}, "a") as stream:
            stream.write(str(os.getpid()) + "\\n")
        os.write(here, b".")
        time.sleep(600)
    os._exit(0)
os.read(there, 1)
"""
ONCE = """
try:
    os.close(os.open({file!r}, os.O_CREAT | os.O_EXCL))
except FileExistsError:
    pass
else:
"""


def pids(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().split()]


def test_a_daemon_ends_with_its_cell(tmp_path: Path, do: Do) -> None:
    file = tmp_path / "pids"
    assert do(DAEMON.format(file=str(file))).cause == "exit"
    assert not Path(f"/proc/{pids(file)[0]}").exists()


def test_a_daemon_that_keeps_the_output_open_delays_nothing(tmp_path: Path, do: Do) -> None:
    file = tmp_path / "pids"
    ending = do(DAEMON.format(file=str(file)) + "print('last words', flush=True); os.kill(os.getpid(), 9)", seconds=60)
    assert (ending.cause, ending.code) == ("signal", 9)
    assert "last words" in Store(tmp_path).log_tail("j")
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids(file))


def test_a_daemon_ends_when_its_cell_passes_a_limit(tmp_path: Path, do: Do) -> None:
    file = tmp_path / "pids"
    assert do(DAEMON.format(file=str(file)) + "time.sleep(600)", seconds=1).cause == "timeout"
    assert not Path(f"/proc/{pids(file)[0]}").exists()


def test_a_job_whose_keeper_is_killed_is_tried_again(tmp_path: Path, do: Do, has_gone: Gone) -> None:
    file = tmp_path / "pids"
    once = ONCE.format(file=str(tmp_path / "once")) + "    os.kill(os.getppid(), 9); time.sleep(600)"
    assert do(DAEMON.format(file=str(file)) + once).cause == "exit"
    assert len(pids(file)) == 2
    assert all(has_gone(pid) for pid in pids(file))
    assert Store(tmp_path).record("data", "j") is not None


def test_a_job_that_kills_its_keeper_is_blamed(tmp_path: Path, do: Do, has_gone: Gone) -> None:
    file = tmp_path / "pids"
    ending = do(DAEMON.format(file=str(file)) + "os.kill(os.getppid(), 9); time.sleep(600)")
    assert (ending.cause, ending.alone) == ("keeper", True)
    assert len(pids(file)) == 3
    assert all(has_gone(pid) for pid in pids(file))


def test_a_job_that_stops_its_keeper_ends_all_the_same(do: Do) -> None:
    assert do("os.kill(os.getppid(), 19)").cause == "exit"
    stops = "while True: os.kill(os.getppid(), 19)"
    assert do(stops, seconds=1).cause == "timeout"


def test_limits_do_not_follow_the_clock_of_the_machine(do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: 1e5 * next(jumps))
    assert do("time.sleep(0.5)").cause == "exit"


def test_a_long_log_keeps_its_two_ends(tmp_path: Path, do: Do) -> None:
    code = "for n in range(1000): print(n, 'x' * 65536)\nprint('the end')"
    assert do(code).cause == "exit"
    text = (tmp_path / "logs" / "j.log").read_text()
    assert len(text) <= LOG_BYTES
    assert text.startswith("0 xxx")
    assert "bytes were left out here" in text
    assert Store(tmp_path).log_tail("j", 1) == "the end"
    left_out = int(text.partition("\n[... ")[2].split()[0])
    note = len(f"\n[... {left_out} bytes were left out here ...]\n")
    assert len(text) - note + left_out == sum(len(str(n)) + 2 + 65536 for n in range(1000)) + len("the end\n")


def test_a_loader_that_was_killed_is_tried_again(tmp_path: Path, do: Do) -> None:
    assert do(ONCE.format(file=str(tmp_path / "once")) + "    os.kill(os.getpid(), 9)").cause == "exit"
    ending = do(f"open({str(tmp_path / 'times')!r}, 'a').write('.'); os.kill(os.getpid(), 9)")
    assert (ending.cause, ending.code) == ("signal", 9)
    assert (tmp_path / "times").read_text() == "..."
