"""Training budgets in steps or seconds, and the clock that spends them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import Field, model_validator

from .config import Config


class Budget(Config):
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
        self.seconds = 0.0
        self._now = now
        self._start: float | None = None
        self._replay = replay if budget.seconds is not None else None
        self._trace: list[tuple[int, float, float]] = []

    def start(self) -> None:
        """Start to count seconds. Otherwise, they count from the first step on."""
        self._start = self._now()

    @property
    def trace(self) -> dict[str, Any]:
        """The record that a rerun repeats: `steps`, and `segments` of (step, progress at it, progress per step)."""
        return {"steps": self.step, "segments": [list(segment) for segment in self._trace]}

    def __iter__(self) -> Iterator[int]:
        start = self._now() if self._start is None else self._start
        segments = iter(self._replay["segments"]) if self._replay else iter(())
        upcoming = next(segments, None)
        current = (0, 0.0, 0.0)
        refreshed = 0.0
        while True:
            self.seconds = self._now() - start
            if self.budget.steps is not None:
                if self.step >= self.budget.steps:
                    return
                self.progress = self.step / self.budget.steps
            elif self._replay is not None:
                if self.step >= self._replay["steps"]:
                    return
                while upcoming is not None and upcoming[0] <= self.step:
                    current = tuple(upcoming)
                    self._trace.append(current)
                    upcoming = next(segments, None)
                self.progress = min(1.0, current[1] + current[2] * (self.step - current[0]))
            else:
                assert self.budget.seconds is not None
                spent = self.seconds / self.budget.seconds
                if spent >= 1.0 and self.step > 0:
                    return
                if self.step > 0 and spent - refreshed >= 1 / self.REFRESHES:
                    # With this slope, progress reaches 1 when the time is up, if the average speed so far continues.
                    remaining_steps = self.step * (1.0 - spent) / spent
                    here = max(spent, self.progress)
                    current = (self.step, here, (1.0 - here) / max(remaining_steps, 1.0))
                    self._trace.append(current)
                    refreshed = spent
                self.progress = min(1.0, current[1] + current[2] * (self.step - current[0]))
            yield self.step
            self.step += 1
