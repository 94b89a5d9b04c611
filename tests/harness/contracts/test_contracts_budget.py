"""The clock: exact budgets, and reruns that repeat."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trilemma import Budget, Clock


def ticking(seconds: list[float]) -> Callable[[], float]:
    """A clock that advances by the given seconds at each reading, over and over."""
    steps = itertools.cycle(seconds)
    now = 0.0

    def read() -> float:
        nonlocal now
        now += next(steps)
        return now

    return read


@given(st.integers(1, 300))
def test_steps_are_exact(steps: int) -> None:
    clock = Clock(Budget(steps=steps))
    progress = [clock.progress for _ in clock]
    assert len(progress) == clock.step == steps
    assert progress[0] == 0
    assert progress == sorted(progress)
    assert max(progress) < 1


@given(st.lists(st.floats(0.001, 0.05), min_size=1, max_size=5))
def test_seconds_are_spent_and_no_more_than_one_step_over(durations: list[float]) -> None:
    clock = Clock(Budget(seconds=2.0), now=ticking(durations))
    progress = [clock.progress for _ in clock]
    assert 2.0 <= clock.seconds <= 2.0 + max(durations) + 1e-9
    assert progress == sorted(progress)
    assert progress[-1] > 0.9
    assert max(progress) <= 1


@given(st.lists(st.floats(0.001, 0.05), min_size=1, max_size=5), st.floats(0.0001, 1.0))
def test_a_replay_repeats_steps_and_progress_at_any_speed(durations: list[float], other: float) -> None:
    first = Clock(Budget(seconds=1.0), now=ticking(durations))
    progress = [first.progress for _ in first]
    again = Clock(Budget(seconds=1.0), now=ticking([other]), replay=first.trace)
    assert [again.progress for _ in again] == progress
    assert again.trace == first.trace


def test_a_started_clock_counts_what_comes_before_the_first_step() -> None:
    clock = Clock(Budget(seconds=10.0), now=ticking([1.0]))
    clock.start()
    for _ in range(6):
        clock._now()  # six seconds of set-up
    # The seventh reading of the clock after the start is before the first step, so the tenth is before the fourth.
    assert len(list(clock)) == 3
    assert len(list(Clock(Budget(seconds=10.0), now=ticking([1.0])))) == 9


def test_at_least_one_step_is_taken() -> None:
    assert len(list(Clock(Budget(seconds=0.001), now=ticking([10.0])))) == 1


@pytest.mark.parametrize("values", [{}, {"steps": 5, "seconds": 1.0}, {"steps": 0}, {"seconds": 0.0}])
def test_a_budget_is_one_positive_number(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Budget(**values)  # type: ignore[arg-type]
