"""A clock of the day that jumps: `time.time` adds the seconds that a file holds. It also prints in helper processes."""

import os
import sys
import time

_true_time = time.time


def _jumping_time():
    try:
        with open(os.environ["TRILEMMA_SOAK_CLOCK"]) as file:
            return _true_time() + float(file.read() or 0)
    except (OSError, KeyError, ValueError):
        return _true_time()


time.time = _jumping_time
if any("zygote" in word for word in sys.orig_argv):
    print("a line that some site prints at the start of a process")
