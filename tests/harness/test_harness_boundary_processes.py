"""Blocks of the boundary in forked processes, and beside other threads."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from trilemma.harness.boundary import boundary


def test_a_process_that_was_forked_in_a_block_guards_its_own_blocks() -> None:
    """It leaves the block of its parent, and then enters one of its own."""
    code = """
import os
from trilemma.harness.boundary import PluginExitError, boundary, end_process
def guarded():
    try:
        with boundary():
            os._exit(7)
    except PluginExitError:
        return True
with boundary():
    child = os.fork()
    if child == 0:
        assert guarded()
if child == 0:
    end_process(0 if guarded() else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_a_stream_that_was_put_in_place_inside_a_block_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may end a progress bar meanwhile, which restores the stream that it had replaced."""
    before, inside = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", before)
    with boundary():
        sys.stdout = inside
    assert sys.stdout is inside
