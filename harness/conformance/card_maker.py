"""How the card of a metric is made: the panel of defects, repeated, and what its values say."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contracts.config import Config
from ..contracts.metric import Metric
from ..contracts.result import Direction, Result
from ..errors import UnsupportedError
from ..identity import Reach
from .card import Card, QuantityCard, Reading, SpaceCard
from .defects import TRUTH
from .panel import STRENGTHS, Bench, Plan, Strength, least_repeats, no_panel, plans, wins_needed

Array = NDArray[np.float64]
Progress = Callable[[int, int, str], None]
"""A function of evaluations done, evaluations in all, and a text."""

SECONDS, MOST_REPEATS = 120.0, 40
_POWER_LEVEL = 0.05


def make_card(
    cls: type[Metric],
    config: Config | None = None,
    *,
    spaces: Iterable[str] | None = None,
    repeats: int | None = None,
    seconds: float = SECONDS,
    n: int | None = None,
    draws: int | None = None,
    limit: float | None = None,
    progress: Progress = lambda done, total, text: None,
) -> Card:
    """The card of a metric.

    Args:
        cls: subclass of `trilemma.Metric`.
        config: its options; by default its defaults.
        spaces: names of spaces of the panel; by default all.
        repeats: repeats of the panel. By default as many as fit into `seconds`, but at least as many as can show a
            preference, and at most 40.
        seconds: CPU seconds for each space, if `repeats` is not given.
        n: points per sample set, for metrics with an option `n`.
        draws: sample sets, for metrics with an option `draws`.
        limit: leave out a space in which the panel would take more CPU seconds than this.
        progress: called after each evaluation.

    Raises PluginError for an unknown space, and if the metric fails with an error that is not trilemma's.
    """
    spaces = None if spaces is None else list(spaces)
    chosen = plans(spaces)
    request = request_of(config, spaces=spaces, repeats=repeats, seconds=seconds, n=n, draws=draws, limit=limit)
    why = no_panel(cls)
    found = []
    for plan in () if why else chosen:
        options = plan.options(cls, config, n=n, draws=draws)
        found.append(_Filler(cls(options), options, plan, progress).fill(repeats, seconds, limit))
    return Card(cls.name, cls.stage, source_of(cls), request, tuple(found), why)


def request_of(config: Config | None, **settings: Any) -> dict[str, Any]:
    """The settings of a card as JSON values, without those that are not given."""
    values = {key: value for key, value in settings.items() if value is not None}
    if "repeats" in values:
        values.pop("seconds", None)
    if "spaces" in values:
        values["spaces"] = list(values["spaces"])
    return values | ({} if config is None else {"options": config.model_dump(mode="json")})


def source_of(cls: type[Metric]) -> str:
    """The hash of the code of a metric and of the panel, which says whether a stored card still holds."""
    reach = Reach({cls.__module__.split(".")[0]}).add(cls, whole=True)
    return reach.add_name(f"{__name__}:make_card").add_name(f"{__name__}:_Filler", whole=True).hash()


class _Filler:
    """The panel of one metric in one space."""

    def __init__(self, metric: Metric, options: Config, plan: Plan, progress: Progress) -> None:
        self.metric, self.plan, self.progress = metric, plan, progress
        self.options = options.model_dump(mode="json")
        self.settings: list[tuple[str, Strength]] = [
            (defect.name, strength) for defect in plan.defects for strength in STRENGTHS
        ]
        self.comparisons = 3 * len(plan.defects)  # both strengths with the truth, and with each other
        self.first: dict[str, Result] = {}
        self.values: dict[str, dict[tuple[str, str], list[float]]] = {}
        self.done = 0

    def fill(self, repeats: int | None, seconds: float, limit: float | None) -> SpaceCard:
        """The card of the space."""
        points, known = self.options.get("n"), self.plan.data.Config.model_fields["n_test"].default
        n_test = max(points, known) if isinstance(points, int) else known
        bench = Bench(self.plan, 0, n_test)
        dim = bench.evaluation().dim
        total = repeats or least_repeats(self.comparisons)
        try:
            if limit is not None:
                self._check_cost(bench, total, limit)
            started = time.process_time()
            self._repeat(bench, total)
        except UnsupportedError as error:
            return SpaceCard(self.plan.name, bench.data.title, dim, self.options, why=str(error))
        if repeats is None:
            fitting = int(seconds / max(time.process_time() - started, 1e-3))
            total = min(max(total, fitting), MOST_REPEATS)
        for repeat in range(1, total):
            self._repeat(Bench(self.plan, repeat, n_test), total)
        spent = (time.process_time() - started) / self.done
        level = max(_POWER_LEVEL, 1 / (total + 1))
        cards = tuple(self._quantity(name, total) for name in self.first)
        return SpaceCard(self.plan.name, bench.data.title, dim, self.options, total, level, spent, cards)

    def _check_cost(self, bench: Bench, total: int, limit: float) -> None:
        """Raise UnsupportedError if the panel would take more than `limit` CPU seconds."""
        bench.results(self.metric)  # the first one also loads libraries, and the floors that all of a repeat share
        started = time.process_time()
        bench.results(self.metric)
        one = time.process_time() - started
        count = total * (1 + len(self.settings))
        if one * count > limit:
            raise UnsupportedError(f"left out: one evaluation takes {one:.2g} CPU s, and the panel needs {count}")

    def _repeat(self, bench: Bench, total: int) -> None:
        rows = [(TRUTH, "truth"), *((defect, strength) for defect in self.plan.defects for strength in STRENGTHS)]
        for defect, strength in rows:
            results = bench.results(self.metric, defect, strength)
            if not self.done:
                self.first = results
                self.values = {name: {} for name in results}
            for name in self.first:
                value = results[name].value if name in results else math.nan
                self.values[name].setdefault((defect.name, strength), []).append(value)
            self.done += 1
            text = f"{self.metric.name} in {self.plan.name}: {defect.name}"
            self.progress(self.done, total * len(rows), text)

    def _quantity(self, name: str, repeats: int) -> QuantityCard:
        first = self.first[name]
        values = {key: np.array(column) for key, column in self.values[name].items()}
        truth = values[TRUTH.name, "truth"]
        needed = wins_needed(repeats, self.comparisons)
        readings = []
        for defect in self.plan.defects:
            found = [values[defect.name, strength] for strength in STRENGTHS]
            bad = [_bad(column, truth, first.better) for column in (truth, *found)]
            wins = (_wins(bad[1], bad[0]), _wins(bad[2], bad[0]))
            prefers = {
                "weak over truth": wins[0],
                "strong over truth": wins[1],
                "strong over weak": _wins(bad[2], bad[1]),
            }
            directed = first.better != "none"
            steps = [_median(column) for column in bad]
            readings.append(
                Reading(
                    defect=defect.name,
                    amounts=defect.amounts,
                    medians=(_median(found[0]), _median(found[1])),
                    power=(_power(bad[0], bad[1]), _power(bad[0], bad[2])),
                    wins=wins if directed else None,
                    monotone=all(one is not None and two is not None and one < two for one, two in pairwise(steps)),
                    prefers=tuple(what for what, count in prefers.items() if directed and count >= needed),
                )
            )
        low, middle, high = (float(value) for value in np.nanquantile(truth, (0.05, 0.5, 0.95)))
        return QuantityCard(name, first.better, first.ranks, first.n, (low, middle, high), tuple(readings))


def _wins(one: Array, other: Array) -> int:
    """In how many repeats `one` is less bad than `other`. A missing value wins nothing."""
    return int((one < other).sum())


def _bad(values: Array, truth: Array, better: Direction) -> Array:
    """Numbers that are higher for worse values; without a direction, the distance from the truth's median is bad."""
    if better == "none":
        off: Array = np.abs(values - np.nanmedian(truth))
        return off
    return -values if better == "higher" else values


def _power(truth: Array, found: Array) -> float | None:
    """The share of values that are worse than the 95 % quantile of the truth, as an order statistic.

    Of R values of the truth, a further one is above the k-th smallest with probability 1 - k / (R + 1). With fewer than
    19 values the largest is taken, and the level is 1 / (R + 1).
    """
    truth, found = truth[~np.isnan(truth)], found[~np.isnan(found)]
    if not len(truth) or not len(found):
        return None
    k = min(len(truth), math.ceil((1 - _POWER_LEVEL) * (len(truth) + 1)))
    return float((found > np.sort(truth)[k - 1]).mean())


def _median(values: Array) -> float | None:
    values = values[~np.isnan(values)]
    return float(np.median(values)) if len(values) else None
