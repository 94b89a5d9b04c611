"""The clock: exact budgets, and reruns that repeat."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

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
    assert 2.0 <= clock.seconds <= 2.0 + 2 * max(durations) + 1e-9, "one step over, and this reading of the clock"
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


@pytest.mark.parametrize("slow", [0.5, 2.0, 6.0])
def test_a_slow_first_step_does_not_end_the_schedule_early(slow: float) -> None:
    now = 0.0
    clock = Clock(Budget(seconds=10.0), now=lambda: now)
    for step in clock:
        assert abs(clock.progress - now / 10) < 0.05
        now += slow if step == 0 else 0.002


def test_a_started_clock_counts_what_comes_before_the_first_step() -> None:
    clock = Clock(Budget(seconds=10.0), now=ticking([1.0]))
    clock.start()
    for _ in range(6):
        clock._now()  # six seconds of set-up
    # The seventh reading of the clock after the start is before the first step, so the tenth is before the fourth.
    assert len(list(clock)) == 3
    assert len(list(Clock(Budget(seconds=10.0), now=ticking([1.0])))) == 9


@given(st.integers(1, 40), st.integers(1, 59))
def test_a_clock_in_steps_goes_on_from_a_state(cut: int, steps: int) -> None:
    whole = [(step, clock.progress) for clock in [Clock(Budget(steps=steps))] for step in clock]
    first = Clock(Budget(steps=steps))
    before, state = until(first, cut)
    again = Clock(Budget(steps=steps))
    if state is not None:
        again.load_state(state)
        assert before + [(step, again.progress) for step in again] == whole


@given(st.integers(1, 40))
def test_a_clock_in_seconds_goes_on_from_the_seconds_spent(cut: int) -> None:
    first = Clock(Budget(seconds=10.0), now=ticking([0.125]))
    before, state = until(first, cut)
    assert state is not None
    again = Clock(Budget(seconds=10.0), now=ticking([0.125]))
    again.load_state(json.loads(json.dumps(state)))
    steps = before + [(step, again.progress) for step in again]
    assert [step for step, _ in steps] == list(range(again.step))
    # A step takes one reading of the clock. Storing the state and going on from it took two more.
    undisturbed = len(list(Clock(Budget(seconds=10.0), now=ticking([0.125]))))
    assert undisturbed - 2 <= again.step <= undisturbed
    replay = Clock(Budget(seconds=10.0), now=ticking([1.0]), replay=again.trace)
    assert [(step, replay.progress) for step in replay] == steps, "the trace is not that of the whole"


@given(st.integers(1, 40))
def test_a_repeated_clock_in_seconds_goes_on_from_a_state(cut: int) -> None:
    first = Clock(Budget(seconds=10.0), now=ticking([0.1, 0.3]))
    whole = [(step, first.progress) for step in first]
    interrupted = Clock(Budget(seconds=10.0), replay=first.trace)
    before, state = until(interrupted, cut)
    again = Clock(Budget(seconds=10.0), replay=first.trace)
    if state is not None:
        again.load_state(state)
        assert before + [(step, again.progress) for step in again] == whole
        assert again.trace == first.trace


def until(clock: Clock, cut: int) -> tuple[list[tuple[int, float]], dict[str, Any] | None]:
    """The first `cut` steps with their progress, and the state after them; None if there are no more steps."""
    seen = []
    for step in clock:
        seen.append((step, clock.progress))
        if len(seen) == cut:
            return seen, clock.state()
    return seen, None


@pytest.mark.parametrize(
    "clock",
    [
        Clock(Budget(steps=7)),
        Clock(Budget(seconds=3.0), now=ticking([0.25])),
        Clock(Budget(seconds=3.0), replay={"steps": 7, "segments": []}),
    ],
)
def test_a_clock_expires_within_its_last_step(clock: Clock) -> None:
    assert not clock.expired
    expired = [clock.expired for _ in clock]
    assert expired[-1:] == [True]
    assert expired.count(True) <= 2, "a reading of the clock may fall between two steps"
    assert not any(expired[:-2])


def test_a_clock_that_goes_on_expires_after_the_steps_that_are_left() -> None:
    first = Clock(Budget(steps=5))
    _, state = until(first, 3)
    assert state is not None
    again = Clock(Budget(steps=5))
    again.load_state(state)
    assert [again.expired for _ in again] == [False, True]


def test_a_foreign_loop_takes_its_steps_from_the_clock() -> None:
    clock = Clock(Budget(steps=25))
    steps = iter(clock)
    taken = 0
    for _epoch in range(10**6):
        for _batch in range(10):
            if next(steps, None) is None:
                break
            taken += 1
        if clock.expired:
            break
    assert taken == clock.step == 25


def test_a_loop_that_stops_when_the_budget_is_spent_is_repeated_with_all_its_steps() -> None:
    now = iter(range(10_000))
    clock = Clock(Budget(seconds=40), now=lambda: float(next(now)))
    taken = 0
    for _ in clock:
        taken += 1
        if clock.expired:
            break
    assert taken == clock.taken == clock.trace["steps"]
    assert len([*Clock(Budget(seconds=40), replay=clock.trace)]) == taken


def test_a_paused_clock_does_not_count() -> None:
    clock = Clock(Budget(seconds=10.0), now=ticking([1.0]))
    clock.start()
    with clock.paused():
        for _ in range(100):
            clock._now()
    assert clock.seconds <= 2.0


def test_at_least_one_step_is_taken() -> None:
    assert len(list(Clock(Budget(seconds=0.001), now=ticking([10.0])))) == 1


@pytest.mark.parametrize("values", [{}, {"steps": 5, "seconds": 1.0}, {"steps": 0}, {"seconds": 0.0}])
def test_a_budget_is_one_positive_number(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Budget(**values)  # type: ignore[arg-type]
