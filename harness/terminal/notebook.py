"""The progress of a run in a notebook, and the choice between notebook and terminal."""

from __future__ import annotations

import html
import io
import sys
import threading
import time
from typing import Any, Self

from rich.console import Console

from ..execution.live import Tracked
from ..text import printable
from .bars import Picture, duration
from .progress import RichProgress

SECONDS = 1.0  # between two pictures
WIDTH = 100


def progress_here() -> NotebookProgress | RichProgress:
    """What shows the progress of a run here: below the cell of a notebook, or on the terminal."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return RichProgress() if getattr(shell, "kernel", None) is None else NotebookProgress()


class NotebookProgress(Tracked):
    """The progress of a run as text below the cell of a notebook, which is replaced every second."""

    def __init__(self) -> None:
        super().__init__()
        self._handle: Any = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._show_on, name="trilemma-notebook", daemon=True)

    def __enter__(self) -> Self:
        from IPython.display import display

        self._handle = display(self._picture(), display_id=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._handle.update(self._picture(ended=True))

    def _show_on(self) -> None:
        while not self._stop.wait(SECONDS):
            self._handle.update(self._picture())

    def _picture(self, ended: bool = False) -> Any:
        """The state of the run as HTML, in which all text is escaped."""
        from IPython.display import HTML

        with self.lock:
            lines = [*self.state.messages, *self.state.failures]
            if not ended:
                console = Console(file=io.StringIO(), width=WIDTH, color_system=None, legacy_windows=False)
                with console.capture() as capture:
                    console.print(Picture(self.state))
                lines.append(capture.get().rstrip())
            elif self.state.count:
                counts = ", ".join(f"{count} {outcome}" for outcome, count in self.state.outcomes.items())
                lines.append(f"{counts or 'no cell ended'}, in {duration(time.time() - self.state.begun)}")
        text = printable("\n".join(lines))
        return HTML(f'<pre style="white-space: pre-wrap">{html.escape(text)}</pre>')
