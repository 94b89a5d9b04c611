"""Packing of cells into parts, and time limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trilemma.harness.execution.slurm.packing import LONGEST, SHORTEST, limit_minutes, pack

LENGTHS = st.lists(st.floats(0.1, 2 * LONGEST), min_size=1, max_size=60)


@given(LENGTHS, st.integers(1, 4), st.integers(1, 20))
def test_every_cell_is_in_one_part_longest_first_and_parts_take_10_to_60_minutes(
    lengths: list[float], slots: int, most: int
) -> None:
    parts = pack(list(enumerate(lengths)), slots, most)
    assert sorted(item for part in parts for item in part) == sorted(enumerate(lengths))
    for part in parts:
        seconds = [length for _, length in part]
        assert seconds == sorted(seconds, reverse=True)
        assert sum(seconds) <= LONGEST * slots * (1 + 1e-9) or len(part) == 1
    loads = sorted(sum(length for _, length in part) for part in parts)
    assert len(loads) < 2 or loads[0] >= SHORTEST * slots or loads[0] + loads[1] > LONGEST * slots


@given(st.integers(1, 200), st.integers(1, 20))
def test_there_are_as_many_parts_as_are_of_use(cells: int, most: int) -> None:
    parts = pack([(number, 60.0) for number in range(cells)], 1, most)
    needed = -(-cells // 60)
    assert needed <= len(parts) <= max(needed, min(most, cells // 10), 1)
    if cells <= 10:
        assert len(parts) == 1
    if 10 * most <= cells <= 60 * most:
        assert len(parts) == most


@given(st.floats(1, 1e5), st.floats(0, 1e3), st.integers(0, 2))
def test_a_time_limit_has_a_margin_that_grows_with_each_attempt(seconds: float, timing: float, attempt: int) -> None:
    minutes = limit_minutes(seconds, timing, attempt)
    assert minutes * 60 >= 2 * (seconds + timing)
    assert limit_minutes(seconds, timing, attempt + 1) > minutes or seconds < 60
