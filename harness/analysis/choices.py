"""What a reader may choose: what the best models cost, and cheaper models that are nearly as good."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from .arenas import CONTENDED
from .moderated import LEAST_SEEDS
from .summary import usual_first
from .verdicts import Verdict
from .wording import Number, Part, span

NEARLY = 2.0
"""A model is nearly as good as the leader if its value plus the floor is at most this many times that of the leader."""

CHEAPER = 0.5
"""A model is worth naming beside the best if its cost is at most this share of that of the cheapest of these."""


class Costs:
    """The costs of the rows of one dataset, budget and device, in words."""

    def __init__(self, verdicts: Sequence[Verdict], rows: pd.DataFrame) -> None:
        """`verdicts` are those of costs, and `rows` the rows of the summary."""
        self.disturbed = [verdict for verdict in verdicts if verdict["note"] == CONTENDED]
        self.judged = [verdict for verdict in verdicts if verdict["leader"] is not None]
        training = rows[(rows["group"] == "training") & (rows["unit"] == "s") & (rows["place"] != "more")]
        first: Any = training.sort_values("order", kind="stable").head(1)["metric"].tolist()
        training = usual_first(training[training["metric"].isin(first)]).drop_duplicates("label")
        self._training = dict(zip(training["label"], training["value"].astype(float), strict=True))

    @property
    def deciding(self) -> Verdict | None:
        """The cost that decides what is fastest: a time if one is judged, else the first cost."""
        return next((v for v in self.judged if v["unit"] == "s"), next(iter(self.judged), None))

    @property
    def timed(self) -> bool:
        """Whether the cost that decides is a time."""
        return self.deciding is not None and self.deciding["unit"] == "s"

    def value(self, line: Verdict, verdict: Verdict) -> float | None:
        """The cost of a line, if it has one."""
        return next((other["value"] for other in verdict["lines"] if is_among(other, [line])), None)

    def of(self, lines: Sequence[Verdict]) -> list[Part]:
        """The costs of some lines, each a value with its interval, or the range of several."""
        said: list[list[Part]] = []
        for verdict in self.judged:
            own = [line for line in verdict["lines"] if is_among(line, lines)]
            said += [[_cost(own, verdict)]] if own else []
        trained = [self._training[line["label"]] for line in lines if line["label"] in self._training]
        said += [[f"trained in {span(trained, 's')}"]] if trained else []
        return list(chain.from_iterable([", ", *each] for each in said))[1:]


def _cost(lines: Sequence[Verdict], verdict: Verdict) -> Number:
    text = f"{verdict['title']} {span([line['value'] for line in lines], verdict['unit'])}"
    low, high = lines[0]["low"], lines[0]["high"]
    if len(lines) > 1 or low is None or high is None or not high > low:
        return Number(text)
    interval = span([low, high], verdict["unit"])
    return Number(text, interval, f"{text}, 95 % interval: {interval}")


def is_among(line: Verdict, named: Sequence[dict[str, Any]]) -> bool:
    """Whether a line is one of those that are named by label and sampler setting."""
    return any(line["label"] == other["label"] and line["sampler"] == other["sampler"] for other in named)


def floor_of(verdict: Verdict, rows: pd.DataFrame) -> float | None:
    """The floor of a distance, which is what two draws of real data differ by: None if there is no positive one.

    For a distance without bias it is about the size of what chance does, because its mean over draws is 0.
    """
    own = rows[rows["metric"] == verdict["metric"]]
    if verdict["better"] != "lower" or own.empty or (not (own["least"] == 0).all() and not (own["floor"] > 0).any()):
        return None
    noise = own.loc[np.isfinite(own["noise"]), "noise"].quantile(interpolation="lower")
    if noise > 0:
        return float(noise)
    floor = own["floor"].mean()
    return float(floor) if floor > 0 else None


def alternatives(quality: Verdict, costs: Costs, floor: float | None) -> Verdict | None:
    """The line with the least cost among those that are nearly as good as the best and clearly cheaper than these."""
    cost = costs.deciding
    if quality["leader"] is None or cost is None or quality["scale"] != "ratio" or quality["better"] != "lower":
        return None
    lead = [line for line in quality["lines"] if is_among(line, quality["best"])]
    of_best = [value for line in lead if (value := costs.value(line, cost)) is not None]
    least = min(line["value"] for line in lead) + (floor or 0.0)
    if not of_best or least <= 0:
        return None
    found = []
    for line in quality["lines"]:
        few = line["seeds"] < LEAST_SEEDS
        if line["control"] or line["marked"] or few or is_among(line, lead):
            continue
        value = costs.value(line, cost)
        near = line["value"] + (floor or 0.0) <= NEARLY * least
        if near and value is not None and value <= CHEAPER * min(of_best):
            found.append((value, line["value"], line))
    return min(found, key=lambda each: each[:2])[2] if found else None
