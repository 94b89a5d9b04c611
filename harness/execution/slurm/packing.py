"""Packing of cells into parts: as many as are of use, of 10 to 60 minutes each."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

SHORTEST, LONGEST = 600.0, 3600.0  # seconds of a part
START_SECONDS = 180.0  # of a job before its first cell, on a slow file system
MARGIN = 2.0  # of the time limit over the estimate, doubled at each further attempt

Item = TypeVar("Item")


@dataclass(frozen=True)
class Bounds:
    """How long a part should take, in seconds."""

    shortest: float = SHORTEST
    longest: float = LONGEST


USUAL = Bounds()


def pack(
    items: Sequence[tuple[Item, float]], slots: int, most: int, bounds: Bounds = USUAL
) -> list[list[tuple[Item, float]]]:
    """Pack items, each with its seconds, into parts that run `slots` items at a time. Longest first, in a part too.

    There are `most` parts, fewer if parts would be shorter than the bounds, more if parts would be longer. A part is
    longer than the bounds only if its only item is. A part is shorter only if it fits into no other part.
    """
    shortest, longest = bounds.shortest * slots, bounds.longest * slots
    ordered = sorted(items, key=lambda item: item[1], reverse=True)
    total = sum(seconds for _, seconds in ordered)
    count = min(max(math.ceil(total / longest), min(most, int(total // shortest)), 1), len(ordered))
    parts: list[list[tuple[Item, float]]] = [[] for _ in range(count)]
    loads = [(0.0, number) for number in range(count)]
    for item in ordered:
        load, number = loads[0]
        if load and load + item[1] > longest:
            number = len(parts)
            parts.append([item])
            heapq.heappush(loads, (item[1], number))
        else:
            parts[number].append(item)
            heapq.heapreplace(loads, (load + item[1], number))
    _join_short(parts, loads, shortest, longest)
    return sorted(filter(None, parts), key=lambda part: sum(seconds for _, seconds in part), reverse=True)


def _join_short(
    parts: list[list[tuple[Item, float]]], loads: list[tuple[float, int]], shortest: float, longest: float
) -> None:
    """Put the two shortest parts together, as long as one is too short and there is room for both."""
    while len(loads) > 1 and loads[0][0] < shortest:
        load, number = heapq.heappop(loads)
        other, into = loads[0]
        if load + other > longest:
            return
        parts[into] = sorted(parts[into] + parts[number], key=lambda item: item[1], reverse=True)
        parts[number] = []
        heapq.heapreplace(loads, (load + other, into))


def duration(seconds: Sequence[float], slots: int) -> float:
    """The most seconds that cells take that start longest first, `slots` at a time."""
    longest = max(seconds, default=0.0)
    return sum(seconds) / slots + longest * (1 - 1 / slots)


def limit_minutes(seconds: float, timing: float, attempt: int) -> int:
    """The time limit of a job in minutes: with a margin over the estimate, and a larger one after each failed attempt.

    `seconds` are estimated for its cells, `timing` is the limit of its timing phase.
    """
    return math.ceil((START_SECONDS + (seconds + timing) * MARGIN ** (attempt + 1)) / 60)
