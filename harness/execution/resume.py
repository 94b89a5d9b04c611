"""The stored state of a training that was interrupted: `partial/<cell id>.safetensors` of the run directory.

There is at most one for each cell. It is replaced at intervals while the cell trains, and removed when the cell is
stored. A training goes on from it only if it is the same one on the same kind of machine (`identity`), because only
then is the result the same, bit for bit, as without the interruption.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ..contracts.checkpoints import State
from ..evaluation.cost import peak_memory
from ..store.store import Store
from .environment import cpu_name
from .state_file import DamagedError, read_about, read_state, write_state

FOLDER = "partial"
FORMAT = 1
SHARE = 0.02
"""The largest share of the wall time that checkpoints take. If one takes long, the next one comes later."""


def identity(job: dict[str, Any]) -> dict[str, Any]:
    """What has to be equal for a training to go on from a stored state. `job` is the job of a cell."""
    cuda = job["device"].startswith("cuda")
    return {
        "format": FORMAT,
        "cell": job["id"],
        "replay": job.get("replay"),
        "threads": job["threads"],
        "torch": torch.__version__,
        "machine": torch.cuda.get_device_name() if cuda else cpu_name(),
    }


def partial_file(store: Store, cell: str) -> Path:
    """The file of the state of a cell that is not yet trained."""
    return store.path / FOLDER / f"{cell}.safetensors"


def resumable_step(store: Store, cell: str, replay: dict[str, Any] | None) -> int | None:
    """The step from which the training of a cell would go on; None if it starts anew. Only the file's head is read."""
    try:
        about = read_about(partial_file(store, cell))
        same = about["identity"]["cell"] == cell and about["identity"]["replay"] == replay
        return int(about["step"]) if same else None
    except (OSError, DamagedError, LookupError, TypeError, ValueError):
        return None


def discard(store: Store, cell: str) -> None:
    """Remove the state of a cell, and what a kill has left of one that was being written."""
    file = partial_file(store, cell)
    for path in (file, *file.parent.glob(f".{file.name}.*")):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


class PartialTraining:
    """The stored state of one training, which is written about every `seconds` of wall time, and at SIGTERM.

    `say` gets messages for the user; others go to the log of the cell. `resumed` lists the steps from which the
    training went on, once for each interruption. `wall_seconds` and `peak_memory` are those of the processes before
    this one.
    """

    def __init__(self, file: Path, identity: dict[str, Any], seconds: float, say: Callable[[str], None]) -> None:
        self._file, self._identity, self._seconds, self._say = file, identity, seconds, say
        self.resumed: list[int] = []
        self.wall_seconds = 0.0
        self.peak_memory = 0
        self._started = time.perf_counter()
        self._next = time.monotonic() + seconds
        self._declined = self._ending = False

    def load(self) -> State | None:
        """The stored state, if it is one of this training and not damaged."""
        if not os.path.lexists(self._file):
            return None
        try:
            about, state = read_about(self._file), read_state(self._file)
            if about["identity"] != self._identity:
                changed = sorted(name for name, value in self._identity.items() if about["identity"].get(name) != value)
                self.reject(f"it is of another {' and '.join(changed)}")
                return None
            self.resumed = [*about["resumed"], about["step"]]
            self.wall_seconds, self.peak_memory = about["wall_seconds"], about["peak_memory"]
        except (OSError, DamagedError, LookupError, TypeError, ValueError) as error:
            self.reject(f"it cannot be read ({error})")
            return None
        self._say(f"training resumed at step {about['step']}")
        return dict(state)

    def reject(self, why: str) -> None:
        """Report why the state that was loaded is not used."""
        self.resumed, self.wall_seconds, self.peak_memory = [], 0.0, 0
        self._say(f"training starts anew, because its checkpoint is not used: {why}")

    def due(self) -> bool:
        """Whether it is time to store a state."""
        return self._ending or (time.monotonic() >= self._next and not self._declined)

    def save(self, state: State) -> None:
        """Store a state. A failure is reported, and never ends the training."""
        begun = time.monotonic()
        clock = state["parts"]["clock"]
        about = {
            "identity": self._identity,
            "step": clock["step"],
            "resumed": self.resumed,
            "wall_seconds": self.wall_seconds + time.perf_counter() - self._started,
            "peak_memory": max(self.peak_memory, peak_memory()),
        }
        if not self._declined:
            try:
                self._file.parent.mkdir(exist_ok=True)
                write_state(self._file, about, state)
            except OSError as error:
                print(f"the checkpoint could not be stored: {error}", flush=True)
            except (TypeError, ValueError):
                self.decline(traceback.format_exc(limit=-1))
        now = time.monotonic()
        self._next = now + max(self._seconds, (now - begun) / SHARE)
        self._end()

    def decline(self, why: str) -> None:
        """Report why this training cannot be stored, and store no more of it."""
        if not self._declined:
            print(f"this training stores no checkpoints: {why}", flush=True)
        self._declined = True
        self._end()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """While the block runs, SIGTERM makes a state due. The process ends after it is stored."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals reach the main thread only
            return

        def ask(number: int, frame: Any) -> None:
            self._ending = True

        before = signal.signal(signal.SIGTERM, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
        self._end()

    def _end(self) -> None:
        if self._ending:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
