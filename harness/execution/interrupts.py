"""What Ctrl-C and SIGTERM do to a run."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from .supervisor import Supervisor


@contextlib.contextmanager
def stop_on_signals(supervisor: Supervisor, stopping: Callable[[], None]) -> Iterator[None]:
    """At the first Ctrl-C or SIGTERM, end the running cells and start no more. At the second, kill them at once.

    `stopping` is called at each. Outside the main thread, which alone receives signals, nothing changes.
    """

    def handle(number: int, frame: Any) -> None:
        if supervisor.stop.is_set():
            supervisor.kill.set()
        supervisor.stop.set()
        stopping()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
