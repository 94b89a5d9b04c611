"""The memory of a process counts what its children use, also those of a thread."""

from __future__ import annotations

import subprocess
import sys

import psutil

from trilemma.harness.execution.resident import resident_bytes

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


def test_memory_is_that_of_a_process_and_its_children() -> None:
    with subprocess.Popen([sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        assert len(family) == 2
        expected = sum(member.memory_info().rss for member in family)
        assert expected > 40 * 2**20
        assert abs(resident_bytes(process.pid) - expected) < 2**20
        process.communicate()
    assert resident_bytes(process.pid) == 0
