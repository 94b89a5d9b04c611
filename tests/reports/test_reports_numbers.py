"""How numbers are written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trilemma.reports import numbers


@pytest.mark.parametrize(
    ("value", "half", "shown"),
    [
        (0.061234, 0.0021, ("0.0612", "0.0021")),
        (0.061234, 0.0046, ("0.061", "0.005")),
        (123.456, 2.2, ("123.5", "2.2")),
        (1234.4, 45.0, ("1,234", "45")),
        (-0.00004, 0.0021, ("0.0000", "0.0021")),
        (-1.5, 0.2, ("\N{MINUS SIGN}1.50", "0.20")),
        (1.5, math.nan, ("1.50", "")),
        (2.0, 0.0, ("2", "")),
    ],
)
def test_digits_follow_the_interval(value: float, half: float, shown: tuple[str, str]) -> None:
    assert numbers.with_interval(value, half) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (35.0, "35"),
        (1000.0, "1,000"), (0.123456, "0.123"), (12345.6, "12,346"), (0.0, "0"),
        (math.nan, "\N{EN DASH}"),
        (math.inf, "∞"), (-math.inf, "\N{MINUS SIGN}∞"), (1.5e-7, "1.50e\N{MINUS SIGN}7"), (3.2e9, "3.20e9"),
    ],
)  # fmt: skip
def test_plain_numbers(value: float, shown: str) -> None:
    assert numbers.plain(value) == shown


@pytest.mark.parametrize(
    ("unit", "values", "factor", "shown"),
    [
        ("s", [0.001, 0.002, 5.0], 1e3, "ms"),
        ("s", [1.0, 20.0], 1.0, "s"),
        ("ms", [1500.0], 1e-3, "s"),
        ("MiB", [2048.0], 1 / 1024, "GiB"),
        ("bytes", [3 * 2**20], 2.0**-20, "MiB"),
        ("FLOP", [2.5e6], 1e-6, "MFLOP"),
        ("nats", [0.02, 1e-9], 1.0, "nats"),
        ("nats", [4e-4], 1e3, "10⁻³ nats"),
        ("", [9.4e-5], 1e6, "10⁻⁶"),
        ("", [1e-30], 1e12, "10⁻¹²"),
        ("data units^2", [1.0], 1.0, "data units²"),
        ("s", [math.nan, math.inf, 0.0], 1.0, "s"),
    ],
)
def test_a_column_has_one_readable_unit(unit: str, values: list[float], factor: float, shown: str) -> None:
    found, name = numbers.scale(unit, values)
    assert (found, name) == (pytest.approx(factor), shown)


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e6))
def test_rounding_stays_within_a_quarter_of_the_interval(value: float, half: float) -> None:
    shown, _ = numbers.with_interval(value, half)
    assert abs(float(shown.replace(",", "").replace(numbers.MINUS, "-")) - value) <= half / 4 + 1e-9 * abs(value)


def test_spread_has_the_decimals_of_its_value() -> None:
    assert [numbers.like(s, "0.120") for s in (0.0312, 0.0001, 0.0, math.nan)] == ["0.031", "<0.001", "0.000", ""]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.42, "0.42 s"), (12.3, "12 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert numbers.duration(seconds) == shown
