"""Where the state of a training is stored while it runs, so that an interrupted training can go on."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

State = dict[str, Any]
"""The state of a training: numbers, texts, None, tensors, and lists and dictionaries (with text keys) of them."""


class Checkpoints(Protocol):
    """The store of the states of one training. It keeps the latest one only."""

    wall_seconds: float
    """The wall seconds that processes before this one trained, up to the state that was loaded."""
    peak_memory: int
    """The peak bytes of processes before this one."""

    def load(self) -> State | None:
        """The latest stored state of this training; None if there is none that can be used."""

    def reject(self, why: str) -> None:
        """Report why the state that was loaded is not used, so that the training starts anew."""

    def due(self) -> bool:
        """Whether it is time to store a state."""

    def save(self, state: State) -> None:
        """Store a state. A failure, such as a full disk, is reported and never ends the training."""

    def decline(self, why: str) -> None:
        """Report why this training cannot be stored, and store no more of it."""

    def watching(self) -> AbstractContextManager[None]:
        """While the `with` block runs, a request to end the process makes a state due. It ends after it is saved."""
