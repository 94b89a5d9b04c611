"""Whatever happens to the zygote, jobs go on, nothing waits for ever, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from trilemma.harness.execution.processes import forks, supervisor
from trilemma.harness.execution.processes.forks import Zygote, ZygoteProcess
from trilemma.harness.execution.processes.supervisor import Ending, Supervisor
from trilemma.harness.planning.suite import Limits

Do = Callable[..., Ending]
Gone = Callable[[int], bool]
SLEEPS = "open({file!r}, 'a').write(str(os.getpid()) + ' '); time.sleep({seconds})"


@pytest.fixture
def victim(zygote: Zygote) -> psutil.Process:
    """The process of the shared zygote, which gets another one if it ends."""
    return process_of(zygote)


def process_of(zygote: Zygote) -> psutil.Process:
    zygote.ready(threading.Event())
    return psutil.Process(zygote.warm_up().pid)


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 60
    while not (file.exists() and file.read_text().endswith(" ")):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def in_thread(work: Callable[[], Ending]) -> Callable[[], Ending]:
    """Start to do something, and return what waits for its result."""
    found: list[Ending] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()

    def result() -> Ending:
        thread.join(120)
        return found[0]

    return result


def test_an_idle_zygote_that_is_stopped_or_killed(victim: psutil.Process, do: Do) -> None:
    victim.suspend()
    assert do("pass").cause == "exit"
    victim.kill()
    assert do("pass").cause == "exit"


def test_a_running_job_does_not_notice_a_stopped_zygote(victim: psutil.Process, do: Do, tmp_path: Path) -> None:
    file = tmp_path / "file"
    result = in_thread(lambda: do(SLEEPS.format(file=str(file), seconds=1)))
    wait_for(file)
    victim.suspend()
    assert result().cause == "exit"
    assert len(file.read_text().split()) == 1


def test_a_job_whose_zygote_is_killed_is_tried_again(
    victim: psutil.Process, do: Do, tmp_path: Path, has_gone: Gone
) -> None:
    file = tmp_path / "file"
    result = in_thread(lambda: do(SLEEPS.format(file=str(file), seconds=2)))
    wait_for(file)
    victim.kill()
    assert result().cause == "exit"
    first, second = map(int, file.read_text().split())
    assert first != second
    assert has_gone(first)


@pytest.mark.slow
def test_a_zygote_that_is_killed_while_it_starts_and_prints(
    do: Do, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text("print('R{\"ready\": 1}\\n' * 1000, flush=True)")
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    zygote = Zygote(1)
    process = zygote.warm_up()
    while process.pid is None:
        time.sleep(0.01)
    process.kill()
    try:
        assert do("pass", zygote).cause == "exit"
        stopped = process_of(zygote)
        stopped.suspend()
    finally:
        zygote.close()
    assert not stopped.is_running()


def test_a_zygote_can_begin_before_it_is_known_what_its_jobs_need(do: Do, tmp_path: Path) -> None:
    zygote = Zygote(1)
    begun = zygote.begin()
    try:
        assert zygote.warm_up([("models", "realnvp")]) is begun
        module = "trilemma.plugins.flows.realnvp"
        do(f"import sys; open({str(tmp_path / 'file')!r}, 'w').write(str({module!r} in sys.modules))", zygote)
        assert (tmp_path / "file").read_text() == "True"
        assert zygote.begin() is begun
    finally:
        zygote.close()


def test_a_zygote_that_is_never_told_what_its_jobs_need_ends_with_its_handle() -> None:
    zygote = Zygote(1)
    begun = zygote.begin()
    while begun.pid is None:
        time.sleep(0.01)
    zygote.close()
    assert begun.ended.is_set()


def test_a_zygote_that_loads_for_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "LOAD_SECONDS", 0.1)
    monkeypatch.setattr(forks, "CLOSE_SECONDS", 0.1)
    assert Zygote(1).ready(threading.Event()) is None


LOADS = "import socket, sys, time; s = socket.socket(fileno=int(sys.argv[1])); time.sleep(0.2); s.send(b'R'); s.recv(9)"


def test_few_zygotes_load_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    start = subprocess.Popen
    monkeypatch.setattr(
        forks.subprocess, "Popen", lambda command, **more: start([sys.executable, "-c", LOADS, command[4]], **more)
    )
    zygotes = [Zygote(1) for _ in range(7)]
    processes = [zygote.warm_up() for zygote in zygotes]
    most = 0
    while not all(process.ready.is_set() for process in processes[:5]):
        most = max(most, sum(p.pid is not None and not p.ready.is_set() for p in processes))
        time.sleep(0.002)
    for zygote in zygotes:  # also those that wait for their turn
        zygote.close()
    assert most == forks.MOST_LOADING
    assert all(process.ended.is_set() for process in processes)


@pytest.mark.slow
def test_a_zygote_that_hangs_is_replaced(victim: psutil.Process, do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "START_SECONDS", 0.5)
    monkeypatch.setattr(ZygoteProcess, "nudge", lambda self: None)  # as if it did not heed CONT
    victim.suspend()
    assert do("pass").cause == "exit"
    assert not victim.is_running()


def test_a_stop_ends_a_start_that_is_pending(zygote: Zygote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    victim = process_of(zygote)
    monkeypatch.setattr(ZygoteProcess, "nudge", lambda self: None)
    victim.suspend()
    stopped = Supervisor(zygote)
    result = in_thread(lambda: stopped.supervise(tmp_path / "job", tmp_path / "log", tmp_path / "events", Limits()))
    time.sleep(0.3)
    stopped.stop.set()
    assert result().cause == "interrupted"
    victim.resume()


PARENT = """
import sys, threading
from pathlib import Path
sys.path.insert(0, {here!r})
from conftest import do_job
from trilemma.harness.execution.processes.forks import Zygote
do_job({code!r}, Path({out!r}), Zygote(1))
"""


@pytest.mark.parametrize("stopped", [(), ("zygote",), ("keeper",), ("zygote", "keeper", "worker")])
def test_nothing_outlives_a_parent_that_is_killed(stopped: tuple[str, ...], tmp_path: Path, has_gone: Gone) -> None:
    file = tmp_path / "file"
    code = "os.fork() or os.setsid()\n" + SLEEPS.format(file=str(file), seconds=600)
    script = PARENT.format(here=str(Path(__file__).parent), code=code, out=str(tmp_path / "out"))
    parent = subprocess.Popen([sys.executable, "-c", script])
    wait_for(file)
    worker = psutil.Process(int(file.read_text().split()[0]))
    family = psutil.Process(parent.pid).children(recursive=True)
    assert len(family) == 4
    named = dict(zip(("worker", "keeper", "zygote"), [worker, *worker.parents()], strict=False))
    for name in stopped:
        named[name].send_signal(signal.SIGSTOP)
    parent.kill()
    parent.wait()
    assert all(has_gone(process.pid) for process in family)


def test_a_zygote_that_is_not_needed_any_more_ends_at_once_and_silently() -> None:
    code = "from trilemma.harness.execution.processes.forks import Zygote; z = Zygote(1); z.warm_up(); z.close()"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60)
    # With Python 3.13, nanobind lists what the extensions of others have not freed.
    said = [line for line in done.stderr.splitlines() if "nanobind" not in line and not line.startswith(" - ")]
    assert (done.returncode, done.stdout, said) == (0, "", [])
