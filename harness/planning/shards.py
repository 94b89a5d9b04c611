"""Shards: the parts of a suite that run apart, on one machine or on several."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeVar

from ..errors import TrilemmaError

LOOKED_AT = 64
"""How many of the shards that may get a cell are looked at. It keeps thousands of shards fast."""


class _WithLabel(Protocol):
    @property
    def label(self) -> str: ...


class Part(Protocol):
    """What a partition reads of a cell."""

    @property
    def model(self) -> _WithLabel: ...

    @property
    def dataset(self) -> _WithLabel: ...

    @property
    def seed(self) -> int: ...


class Named(Part, Protocol):
    """A cell with its identity."""

    @property
    def id(self) -> str: ...


Item = TypeVar("Item", bound=Part)


@dataclass(frozen=True)
class Shard:
    """One of `of` parts of a suite, counted from 1."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise TrilemmaError(
                f"there is no shard {self.number}/{self.of}: shards are counted from 1, so the first of eight is 1/8 "
                "and the last is 8/8"
            )

    @classmethod
    def parse(cls, value: Shard | str | Sequence[int]) -> Shard:
        """Read `2/8` or `(2, 8)`. Raises TrilemmaError for anything else, and for a shard that does not exist."""
        if isinstance(value, Shard):
            return value
        if isinstance(value, str):
            match = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", value)
            numbers: Sequence[object] = [int(part) for part in match.groups()] if match else ()
        else:
            numbers = value if isinstance(value, list | tuple) else ()
        match numbers:
            case [int(number), int(of)] if type(number) is type(of) is int:
                return cls(number, of)
        raise TrilemmaError(f"shard {value!r} cannot be read: give its number and how many there are, such as 2/8")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def suffix(self) -> str:
        """What the name of its run directory ends with, so that shards on one disk never meet."""
        return f"-shard-{self.number}-of-{self.of}"


def select(cells: Sequence[Item], shard: Shard | None) -> list[Item]:
    """The cells of a shard, in their order; all cells if there is no shard. Every cell is in exactly one shard."""
    if shard is None:
        return list(cells)
    return [cell for cell, number in zip(cells, partition(cells, shard.of), strict=True) if number == shard.number]


def shard_record(cells: Sequence[Named], shard: Shard | None) -> dict[str, Any] | None:
    """What run.json says of the shard of a run: its number, how many there are, and where its cells are in the suite.

    `trilemma merge` puts the cells of several shards in the order of the suite by it.
    """
    if shard is None:
        return None
    numbers = partition(cells, shard.of)
    places = {cell.id: place for place, cell in enumerate(cells) if numbers[place] == shard.number}
    return {"number": shard.number, "of": shard.of, "places": places}


def partition(cells: Sequence[Part], of: int) -> list[int]:
    """The number of the shard, from 1 to `of`, of each of these cells of a suite.

    It depends on the models, datasets and seeds of the cells and on their order alone, so it is the same on every
    machine. The numbers of cells of two shards differ by at most one, and so do their numbers of cells of each model.
    Datasets and seeds are spread as evenly as that allows: each cell goes to the shard that has had the fewest cells of
    its dataset and of its seed.
    """
    of_model: dict[str, list[int]] = {}
    for place, cell in enumerate(cells):
        of_model.setdefault(cell.model.label, []).append(place)
    shards = range(min(of, len(cells)))  # no more can get a cell
    sizes = [0] * len(shards)
    seen: list[Counter[Hashable]] = [Counter() for _ in shards]
    numbers = [0] * len(cells)
    for places in of_model.values():
        waiting: dict[int, None] = {}
        for place in places:
            # In a round, each shard gets one cell of the model. The smallest shards come first.
            waiting = waiting or dict.fromkeys(sorted(shards, key=lambda k: (sizes[k], k)))
            about = [("dataset", cells[place].dataset.label), ("seed", cells[place].seed)]
            least = sizes[next(iter(waiting))]
            smallest = [k for k in islice(waiting, LOOKED_AT) if sizes[k] == least]
            chosen = min(smallest, key=lambda k: sum(seen[k][key] for key in about))
            del waiting[chosen]
            sizes[chosen] += 1
            seen[chosen].update(about)
            numbers[place] = chosen + 1
    return numbers
