"""The card of a metric: which defects it sees and how well, which it prefers to the truth, and what it costs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ..contracts.result import Direction

Pair = tuple[float | None, float | None]
"""The values of a weak and of a strong defect; None where there is none."""


@dataclass(frozen=True)
class Reading:
    """What a quantity says of one defect, weak and strong.

    - `medians`: the median values over the repeats.
    - `power`: the share of repeats whose value is worse than nearly all values of the truth.
    - `wins`: the number of repeats in which the defect is better than the truth; None without a direction.
    - `monotone`: whether the medians get worse from the truth to the weak and to the strong defect.
    - `prefers`: what it prefers more often than chance allows, such as `strong over truth` or `strong over weak`.
    """

    defect: str
    amounts: tuple[float, float]
    medians: Pair
    power: Pair
    wins: tuple[int, int] | None
    monotone: bool
    prefers: tuple[str, ...] = ()


@dataclass(frozen=True)
class QuantityCard:
    """What the panel found of one quantity in one space.

    `truth` holds the 5 %, 50 % and 95 % quantiles of its values for the true distribution, and `ranks` says whether
    models are ranked by it in this space.
    """

    quantity: str
    better: Direction
    ranks: bool
    n: int | None
    truth: tuple[float, float, float]
    readings: tuple[Reading, ...]

    @property
    def prefers(self) -> tuple[str, ...]:
        """What it prefers, such as `wider: strong over truth`."""
        return tuple(f"{reading.defect}: {what}" for reading in self.readings for what in reading.prefers)

    @property
    def may_rank(self) -> bool:
        """Whether it has a direction, and prefers no defect to the truth and no strong defect to a weak one."""
        return self.better != "none" and not self.prefers


@dataclass(frozen=True)
class SpaceCard:
    """What the panel found in one space, or in `why` the reason why it found nothing.

    `level` is the share of true samples that `power` counts as found. `seconds` is the mean CPU time of an evaluation,
    where all evaluations of a repeat share the floors of a metric that keeps them, as the cells of a run do.
    """

    space: str
    title: str
    dim: int
    options: dict[str, Any]
    repeats: int = 0
    level: float | None = None
    seconds: float | None = None
    quantities: tuple[QuantityCard, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Card:
    """The card of a metric.

    `source` is the hash of its code and of the panel, `request` holds the settings that it was made with, and `why`
    says why the metric has no panel.
    """

    metric: str
    stage: str
    source: str
    request: dict[str, Any]
    spaces: tuple[SpaceCard, ...] = ()
    why: str = ""

    def record(self) -> dict[str, Any]:
        """The card as JSON values, with null for values that are not finite."""
        record: dict[str, Any] = _plain(asdict(self))
        return record

    @classmethod
    def of(cls, record: dict[str, Any]) -> Card:
        """The card of a record. Raises TypeError or KeyError for a record of something else."""
        spaces = []
        for space in record["spaces"]:
            quantities = [
                QuantityCard(**quantity | {"readings": tuple(Reading(**one) for one in quantity["readings"])})
                for quantity in space["quantities"]
            ]
            spaces.append(SpaceCard(**space | {"quantities": tuple(quantities)}))
        return cls(**record | {"spaces": tuple(spaces)})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(element) for element in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value
