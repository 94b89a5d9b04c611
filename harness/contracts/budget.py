"""Training budgets in steps or seconds, and the clock that spends them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import Field, model_validator

from ..errors import TrilemmaError
from .config import Record


class Budget(Record):
    """What a model may spend on training: a number of optimizer steps, or a number of seconds, but not both.

    On a CPU they are CPU seconds of the training process, so that other processes do not change them. On a GPU they are
    synchronized wall seconds.
    """

    steps: int | None = Field(None, ge=1, description="optimizer steps")
    seconds: float | None = Field(None, gt=0, description="CPU seconds on a CPU, wall seconds on a GPU")

    @model_validator(mode="after")
    def _exactly_one(self) -> Budget:
        if (self.steps is None) == (self.seconds is None):
            raise ValueError("give either steps or seconds, such as steps = 2000")
        return self

    def __str__(self) -> str:
        return f"{self.steps} steps" if self.steps is not None else f"{self.seconds:g} s"


def parse_budget(text: str) -> dict[str, Any]:
    """Parse `10s` or `10 seconds` as seconds, and `2000steps` as steps. Raises TrilemmaError, also without a unit."""
    match = re.fullmatch(r"\s*([0-9.]+)\s*(s|sec|seconds|steps?)?\s*", str(text))
    try:
        if match and not match.group(2):
            number = match.group(1)
            raise TrilemmaError(
                f"budget '{number}' has no unit: write {number}s for seconds of training, or {number}steps for steps"
            )
        if match and match.group(2).startswith("step"):
            return {"steps": int(match.group(1))}
        if match:
            return {"seconds": float(match.group(1))}
    except ValueError:
        pass
    raise TrilemmaError(f"budget '{text}' cannot be read: give seconds such as 10s, or steps such as 2000steps")


class Clock:
    """An iterator over training steps that ends when a budget is spent.

    `progress` runs from 0 to 1 and drives learning-rate schedules. Under a budget in seconds it is piecewise linear in
    the step number, and its slope is estimated again at intervals from the time that has passed. `trace` stores these
    estimates. A rerun with the same trace repeats the same steps with the same schedule exactly, at any speed of the
    machine.
    """

    REFRESHES = 100  # how many times the slope is estimated within a budget in seconds

    def __init__(
        self,
        budget: Budget,
        *,
        now: Callable[[], float] = time.process_time,
        replay: dict[str, Any] | None = None,
    ) -> None:
        self.budget = budget
        self.step = 0
        self.progress = 0.0
        self._begun = 0  # steps that were handed out, with those of the processes before this one
        self._now = now
        self._start: float | None = None
        self._replay = replay if budget.seconds is not None else None
        self._trace: list[tuple[int, float, float]] = []
        self._refreshed = 0.0  # the share of the seconds that was spent when the slope was last estimated

    def start(self) -> None:
        """Start to count seconds. Otherwise, they count from the first step on."""
        self._start = self._now()

    @property
    def expired(self) -> bool:
        """Whether the budget is spent, so that no step follows the present one."""
        if self.budget.steps is not None:
            return self._begun >= self.budget.steps
        if self._replay is not None:
            return bool(self._begun >= self._replay["steps"])
        return self._begun > 0 and self.seconds >= (self.budget.seconds or 0.0)

    @property
    def taken(self) -> int:
        """How many steps were handed out, also if a loop ended before the clock did."""
        return self._begun

    @property
    def seconds(self) -> float:
        """Seconds since the start, with those of the processes before this one if the training was resumed."""
        return self._now() - self._start if self._start is not None else 0.0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the seconds within the `with` block, because they are no training."""
        before = self._now()
        try:
            yield
        finally:
            if self._start is not None:
                self._start += self._now() - before

    @property
    def trace(self) -> dict[str, Any]:
        """The record that a rerun repeats: `steps`, and `segments` of (step, progress at it, progress per step)."""
        return {"steps": self.taken, "segments": [list(segment) for segment in self._trace]}

    def state(self) -> dict[str, Any]:
        """The state after the present step, as JSON values. A clock that gets it goes on with the next step."""
        return {
            "step": self.step + 1,
            "progress": self.progress,
            "seconds": self.seconds,
            "segments": self.trace["segments"],
            "refreshed": self._refreshed,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state. The seconds that it has spent count, those of this clock so far do not."""
        self.step, self.progress, self._refreshed = state["step"], state["progress"], state["refreshed"]
        self._begun = self.step
        self._trace = [(step, at, slope) for step, at, slope in state["segments"]]
        self._start = self._now() - state["seconds"]

    def __iter__(self) -> Iterator[int]:
        if self._start is None:
            self.start()
        while True:
            if self.budget.steps is not None:
                if self.step >= self.budget.steps:
                    return
                self.progress = self.step / self.budget.steps
            elif self._replay is not None:
                if self.step >= self._replay["steps"]:
                    return
                for step, at, slope in self._replay["segments"][len(self._trace) :]:
                    if step <= self.step:
                        self._trace.append((step, at, slope))
                self.progress = self._on_line()
            else:
                assert self.budget.seconds is not None
                spent = self.seconds / self.budget.seconds  # read once: time goes on
                if spent >= 1.0 and self.step > 0:
                    return
                if self.step > 0 and spent - self._refreshed >= 1 / self.REFRESHES:
                    # With this slope, progress reaches 1 when the time is up, if the speed since the last estimate
                    # continues. The average speed so far would include a first step that loads or compiles.
                    last = self._trace[-1][0] if self._trace else 0
                    remaining_steps = (self.step - last) * (1.0 - spent) / (spent - self._refreshed)
                    here = max(spent, self.progress)
                    self._trace.append((self.step, here, (1.0 - here) / max(remaining_steps, 1.0)))
                    self._refreshed = spent
                self.progress = self._on_line()
            self._begun = self.step + 1
            yield self.step
            self.step += 1

    def _on_line(self) -> float:
        """Progress by the latest segment of the trace.

        Between two estimates it gains at most twice their distance: after a slow step the slope is far too large, and
        progress would reach 1 before the next estimate.
        """
        step, at, slope = self._trace[-1] if self._trace else (0, 0.0, 0.0)
        return min(1.0, at + min(slope * (self.step - step), 2 / self.REFRESHES))
