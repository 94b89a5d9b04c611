"""Formatting of numbers: significant digits follow the interval, and a column has one unit."""

from __future__ import annotations

import math
from collections.abc import Iterable

MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EN DASH}"
MAX_DECIMALS = 8

_SECONDS = {"s": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6}
_BYTES = {"b": 1.0, "bytes": 1.0, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
_FLOPS = {"flop": 1.0, "flops": 1.0}
_SMALL = ("", "10⁻³", "10⁻⁶", "10⁻⁹", "10⁻¹²")
_COUNTS = {"parameters": 1.0}


def decimals_of(half: float) -> int:
    """The decimals for an interval of half-width `half`: two digits of it if its first digit is 1 or 2, else one."""
    exponent = math.floor(math.log10(half))
    leading = half / 10**exponent
    return min(MAX_DECIMALS, max(0, (1 if leading < 3 else 0) - exponent))


def fixed(value: float, decimals: int) -> str:
    """`value` with a fixed number of decimals and a typographic minus, but never as a negative zero."""
    text = f"{value:,.{decimals}f}"
    if text.startswith("-"):
        text = text[1:] if float(text.replace(",", "")) == 0 else MINUS + text[1:]
    return text


def plain(value: float, digits: int = 3, *, whole: bool = True) -> str:
    """`value` with `digits` significant digits. With `whole`, whole numbers below 10,000 have all digits."""
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "\N{INFINITY}" if value > 0 else MINUS + "\N{INFINITY}"
    if value == 0 or (whole and value == round(value) and abs(value) < 10_000):
        return fixed(value, 0)
    exponent = math.floor(math.log10(abs(value)))
    if not -5 < exponent < 6:
        mantissa, power = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa.replace('-', MINUS)}e{int(power)}".replace("e-", "e" + MINUS)
    return fixed(value, min(MAX_DECIMALS, max(0, digits - 1 - exponent)))


def with_interval(value: float, half: float) -> tuple[str, str]:
    """`(value, half-width)` with the digits that the half-width supports. The second is "" without an interval."""
    if not (math.isfinite(value) and math.isfinite(half) and half > 0):
        return plain(value), ""
    decimals = decimals_of(half)
    if decimals >= MAX_DECIMALS:
        return plain(value), plain(half, 2)
    return fixed(value, decimals), fixed(half, decimals)


def like(value: float, shown: str) -> str:
    """A positive `value` with as many decimals as the number `shown`; "" if it is not finite."""
    if not math.isfinite(value):
        return ""
    if "e" in shown:
        return plain(value, 2)
    decimals = len(shown.partition(".")[2])
    least = 10.0**-decimals
    return f"<{fixed(least, decimals)}" if 0 < value < least / 2 else fixed(value, decimals)


def scale(unit: str, values: Iterable[float]) -> tuple[float, str]:
    """`(factor, unit)`, with which a column of `values` has one readable unit."""
    finite = sorted(abs(v) for v in values if math.isfinite(v) and v != 0)
    middle = finite[len(finite) // 2] if finite else 1.0
    known = unit.lower()
    if known in _SECONDS:
        seconds = _SECONDS[known]
        return (seconds, "s") if middle * seconds >= 1 else (seconds * 1e3, "ms")
    for table, base, names in (
        (_BYTES, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB")),
        (_FLOPS, 1000.0, ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP")),
        (_COUNTS, 1000.0, ("", "thousand", "million", "billion")),
    ):
        if known in table:
            factor, name = _prefix(middle * table[known], base, names)
            return factor * table[known], name
    unit = unit.replace("^2", "²")
    thousandths = min(4, math.ceil((-math.log10(middle) - 1) / 3)) if middle < 2e-3 else 0
    return (1e3**thousandths, f"{_SMALL[thousandths]} {unit}".strip()) if thousandths else (1.0, unit)


def duration(seconds: float) -> str:
    """Elapsed time as text, such as `0.42 s`, `12 s`, `3 min 20 s` and `2 h 5 min`."""
    if not math.isfinite(seconds):
        return MISSING
    if seconds < 10:
        return f"{plain(seconds, 2)} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _prefix(middle: float, base: float, names: tuple[str, ...]) -> tuple[float, str]:
    power = 0
    while power + 1 < len(names) and middle >= base ** (power + 1):
        power += 1
    return base**-power, names[power]
