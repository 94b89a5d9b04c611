"""The descendants of a process, whose memory counts, include the children of its threads."""

from __future__ import annotations

import subprocess
import sys

import psutil

from trilemma.harness.execution.processes.family import descendants, resident_bytes

FAMILY = """
import subprocess, sys, threading
child = "x = bytearray(40 * 2**20); print('ready', flush=True); input()"
def start():
    global process
    process = subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE)
thread = threading.Thread(target=start)
thread.start()
thread.join()
input()
process.communicate()
"""


def test_the_children_of_a_thread_are_descendants() -> None:
    with subprocess.Popen([sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (expected,) = psutil.Process(process.pid).children(recursive=True)
        (child,) = descendants(process.pid)
        assert child == expected
        assert resident_bytes([child]) > 40 * 2**20
        process.communicate()
    assert descendants(process.pid) == []
