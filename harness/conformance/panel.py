"""The panel of defects: metrics are computed for the true distribution and for each defect, again and again.

Nothing is trained. In each repeat the splits, the reference and all samples are drawn anew, so values of different
repeats are independent. Within a repeat, the truth and all defects are compared with the same reference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..contracts.config import Config
from ..contracts.metric import Metric
from ..contracts.model import Context, DataInfo, Model, Split
from ..contracts.result import Result
from ..errors import PluginError, TrilemmaError, UnsupportedError, did_you_mean
from ..evaluation.evaluation import Evaluation, TrainingRecord
from ..evaluation.spaces import Space
from ..evaluation.truth import seeded
from .defects import IMAGES, TRUTH, VECTORS, Defect
from .panel_data import PanelDataset, PanelDigits, PanelMixture16, PanelRing, Supply

LEVEL = 0.01
"""The probability with which a number that orders everything correctly is said to prefer some defect, at most."""

Strength = Literal["truth", "weak", "strong"]
STRENGTHS: tuple[Strength, ...] = ("weak", "strong")


@dataclass(frozen=True)
class Plan:
    """One of the spaces of the panel: its data, its defects, and the draws that its data is enough for."""

    name: str
    data: type[PanelDataset]
    defects: tuple[Defect, ...]
    most_draws: int | None = None

    def load(self, repeat: int, n_test: int | None = None) -> PanelDataset:
        """The dataset of a repeat, with at least `n_test` test points if they can be drawn."""
        known = self.data.Config.model_fields["n_test"].default
        sizes = {} if n_test is None or self.data.kind == "image" else {"n_test": max(n_test, _LEAST_TEST)}
        sizes = sizes or {"n_test": known}
        return self.data(self.data.Config.model_validate({"data_seed": repeat + 1, **sizes}))

    def options(self, cls: type[Metric], config: Config | None, **sizes: int | None) -> Config:
        """The options of a metric: the given ones or the defaults, with `sizes` that it has and that the data allows.

        Raises pydantic.ValidationError for sizes that the metric does not accept.
        """
        values = (config or cls.Config()).model_dump()
        values |= {key: size for key, size in sizes.items() if size is not None and key in values}
        if self.most_draws is not None and "draws" in values:
            values["draws"] = min(values["draws"], self.most_draws)
        return cls.Config.model_validate(values)


_LEAST_TEST = 1000  # test points of distributions, so that a metric that uses all of them has enough

PLANS = {
    plan.name: plan
    for plan in (
        Plan("2d", PanelRing, VECTORS),
        Plan("16d", PanelMixture16, VECTORS),
        Plan("digits", PanelDigits, IMAGES, most_draws=2),
    )
}
"""The spaces of the panel by name."""


def plans(names: Iterable[str] | None = None) -> list[Plan]:
    """The spaces of these names, by default all. Raises PluginError for an unknown name."""
    chosen = list(PLANS if names is None else dict.fromkeys(names))
    for name in chosen:
        if name not in PLANS:
            raise PluginError(f"the panel has no space '{name}' ({did_you_mean(name, PLANS)})")
    return [PLANS[name] for name in chosen]


class Planted(Model):
    """A model that draws points of the true distribution with a defect. It needs no training."""

    name = "planted"

    def __init__(self, defect: Defect, amount: float, supply: Supply, space: Space) -> None:
        super().__init__()
        self._defect, self._amount, self._supply, self._space = defect, amount, supply, space

    def fit(self, train: Split, ctx: Context) -> None:
        return None

    def sample(self, n: int, ctx: Context) -> Tensor:
        x = self._defect.plant(n, self._supply, self._amount, ctx.generator)
        x = x[torch.randperm(n, generator=ctx.generator)]
        levels = self._supply.data.levels
        if levels is not None:
            x = x.round().clamp(0, levels - 1) + 0.5  # the middle of the interval that is mapped back to this level
        return self._space.to_model(x)[0]


class PanelEvaluation(Evaluation):
    """An evaluation whose real points differ from repeat to repeat, also those that are drawn afresh."""

    repeat = 0

    def real(self, n: int, draw: int = 0) -> NDArray[np.float64]:
        if draw and self.dataset.has_density:
            points = self.dataset.sample(n, seeded(torch.device("cpu"), 37, self.repeat, draw))
            return self._space.comparable(points).numpy()
        return super().real(n, draw)


class Bench:
    """One repeat of the panel in one space: its dataset, and an evaluation of each defect."""

    def __init__(self, plan: Plan, repeat: int, n_test: int | None = None) -> None:
        self.plan, self.repeat = plan, repeat
        self.data = plan.load(repeat, n_test)
        self._space = Space.fit(self.data, flatten=False)
        self._info = DataInfo(
            self.data.name, self.data.kind, self.data.shape, len(self.data.splits.train), self.data.levels
        )

    def evaluation(self, defect: Defect = TRUTH, strength: Strength = "truth") -> PanelEvaluation:
        """An evaluation of one defect. Its samples are independent of those of other evaluations."""
        index = 0 if defect is TRUTH else 1 + 2 * self.plan.defects.index(defect) + STRENGTHS.index(strength)
        seed = 1000 * self.repeat + index
        amount = defect.amounts[strength == "strong"]
        evaluation = PanelEvaluation(
            Planted(defect, amount, self.data.supply(seed), self._space),
            self.data,
            self._space,
            self._info,
            seed=seed,
            device=torch.device("cpu"),
            training=TrainingRecord(seconds=1.0, wall_seconds=1.0, steps=1, peak_memory=1, parameters=1),
        )
        evaluation.repeat = self.repeat
        return evaluation

    def results(self, metric: Metric, defect: Defect = TRUTH, strength: Strength = "truth") -> dict[str, Result]:
        """The results of a metric by name, without values that are not numbers.

        Raises UnsupportedError if the metric is not defined in this space, and PluginError if it fails. A metric that
        refuses a defect with an error of trilemma gives no results.
        """
        try:
            found = metric.compute(self.evaluation(defect, strength))
        except UnsupportedError:
            raise
        except TrilemmaError:
            if defect is TRUTH:
                raise
            return {}
        except Exception as error:
            raise PluginError(
                f"metric '{metric.name}' fails for defect '{defect.name}' ({strength}) in space '{self.plan.name}': "
                f"{type(error).__name__}: {error}"
            ) from error
        return {result.metric: result for result in found if not math.isnan(result.value)}


def no_panel(cls: type[Metric]) -> str:
    """Why a metric has no panel, in words; "" if it has one."""
    if cls.stage != "sampling":
        return f"It is a metric of the stage '{cls.stage}' and does not use samples alone: the panel has samples only."
    return "" if cls.compares else "It does not compare samples of a model with real data."


def badness(result: Result) -> float:
    """A number that is higher for worse results of a quantity with a direction."""
    return -result.value if result.better == "higher" else result.value


@cache
def wins_needed(repeats: int, comparisons: int) -> int:
    """The wins of a defect over the truth, of `repeats`, that chance gives in fewer than LEVEL / `comparisons` cases.

    By chance a defect wins a repeat with probability 1/2 at most (a sign test, corrected by Bonferroni). The number is
    larger than `repeats` if no number of wins is enough.
    """
    tail = 0.0
    for wins in range(repeats, -1, -1):
        tail += math.comb(repeats, wins) / 2**repeats
        if tail > LEVEL / comparisons:
            return wins + 1
    return 0


def least_repeats(comparisons: int) -> int:
    """The fewest repeats in which a preference can be found: as many wins as repeats."""
    return math.ceil(math.log2(comparisons / LEVEL))


@dataclass(frozen=True)
class Preference:
    """A defect that a quantity prefers to the truth, with the median values of both."""

    quantity: str
    defect: str
    amount: float
    space: str
    dim: int
    truth: float
    found: float
    repeats: int

    def __str__(self) -> str:
        return (
            f"{self.quantity} prefers '{self.defect}' ({self.amount:g}) to the truth in space '{self.space}' "
            f"({self.dim} dimensions): {self.found:.4g} against {self.truth:.4g}, in {self.repeats} of "
            f"{self.repeats} repeats"
        )


def preferences(metric: Metric, plan: Plan, n_test: int | None = None) -> tuple[list[str], list[Preference]]:
    """The quantities by which models are ranked in a space, and the strong defects that they prefer to the truth.

    A defect is preferred if it is better in all of the fewest repeats that can show it. It drops out at its first
    loss, so that most defects cost one or two evaluations.
    """
    repeats = least_repeats(len(plan.defects))
    ranked: list[str] = []
    rivals: dict[tuple[str, Defect], list[tuple[Result, Result]]] = {}
    for repeat in range(repeats):
        bench = Bench(plan, repeat, n_test)
        known = bench.results(metric)
        if not repeat:
            ranked = [name for name, result in known.items() if result.ranks and result.better != "none"]
            rivals = {(name, defect): [] for name in ranked for defect in plan.defects}
        for defect in {defect: None for _, defect in rivals}:
            found = bench.results(metric, defect, "strong")
            for name in ranked:
                pairs = rivals.get((name, defect))
                if pairs is None:
                    continue
                if name in found and name in known and badness(found[name]) < badness(known[name]):
                    pairs.append((known[name], found[name]))
                else:
                    del rivals[name, defect]
        if not rivals:
            break
    dim = Bench(plan, 0, n_test).evaluation().dim
    return ranked, list(_preferences(rivals, plan, dim))


def _preferences(rivals: dict[tuple[str, Defect], Any], plan: Plan, dim: int) -> Iterator[Preference]:
    for (name, defect), pairs in rivals.items():
        truth, found = (float(np.median([pair[side].value for pair in pairs])) for side in (0, 1))
        yield Preference(name, defect.name, defect.amounts[1], plan.name, dim, truth, found, len(pairs))
