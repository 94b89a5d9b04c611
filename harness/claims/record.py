"""The record of a claim: what a paper reports, where, and the experiment that tests it here."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ..contracts.config import Record
from .evidence import LEAST_SEEDS, Expect

Effort = Literal["quick", "full"]
EFFORTS: tuple[Effort, ...] = ("quick", "full")
NAME = r"^[a-z0-9][a-z0-9-]*$"
Checked = Literal["", "abstract", "full text", "secondary source"]
"""The text that a claim was compared with. Only the full text tells for sure whether the place is right."""


class Sizes(Record):
    """A whole number for each effort."""

    quick: int = Field(ge=1)
    full: int = Field(ge=1)

    def of(self, effort: Effort) -> int:
        """The number for an effort."""
        return self.quick if effort == "quick" else self.full


class Arm(Record):
    """One side of a comparison: a line of the table of results, named as tables name it."""

    model: str = Field(description="label of the model, such as `planar(transforms=8)`")
    sampler: str = Field("", description="label of the sampler setting; empty for numbers of the trained model")
    dataset: str = Field("", description="label of the dataset, if the claim has several")
    metric: str = Field("", description="quantity, if it is not that of the comparison")

    @property
    def label(self) -> str:
        """The text that names the arm."""
        return ", ".join(filter(None, (self.model, self.sampler)))


class Comparison(Record):
    """A quantity of two arms, the direction in which the claim says that they differ, and what is of interest."""

    metric: str = Field("", description="name of the quantity")
    a: Arm
    b: Arm
    expect: Expect = Field(description="what the claim says of a: lower or higher than b, or equal")
    scale: Literal["ratio", "difference"] = "ratio"
    interest: float = Field(
        gt=0, description="smallest effect of interest: a factor above 1, or a difference in the unit of the quantity"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.scale == "ratio" and self.interest <= 1:
            raise ValueError(f"the smallest effect of interest is a factor above 1, not {self.interest:g}")
        if not all(arm.metric or self.metric for arm in (self.a, self.b)):
            raise ValueError("this comparison has no metric")
        return self

    def quantity(self, arm: Arm) -> str:
        """The quantity of one of the arms."""
        return arm.metric or self.metric


class NoLeader(Record):
    """The statement that no arm is best by every criterion. Criteria are quantities that rank models."""

    arms: list[Arm] = Field(min_length=2)
    criteria: list[str] = Field(min_length=2)
    interest: float = Field(1.2, gt=1, description="smallest factor that counts as worse, by each criterion")


class Claim(Record):
    """A published claim and its experiment, which is a part of a suite and the comparisons of its results.

    A claim holds if all its comparisons come out as claimed. The experiment is fixed before it is run. The sentence,
    its place and what it was `checked` against may be corrected later, because they change no verdict.
    """

    name: str = Field(pattern=NAME, max_length=60)
    family: str = Field(pattern=NAME, max_length=30)
    claim: str = Field(min_length=1, description="what the paper says, in one sentence of our own")
    citation: str = Field(min_length=1, description="authors and year")
    link: str = Field("", description="address of the paper")
    place: str = Field(min_length=1, description="section, table or figure")
    checked: Checked = Field("", description="the text that claim and place were compared with; empty if with none")
    score: Literal["", "exact", "learned"] = Field("", description="for claims about samplers: the score that they use")
    about: str = Field("", description="what the experiment changes, and its pitfalls")
    steps: Sizes = Field(Sizes(quick=1500, full=20_000), description="training steps of each model")
    seeds: Sizes = Field(Sizes(quick=5, full=10), description="training seeds")
    datasets: list[dict[str, Any]] = Field(min_length=1, description="datasets, as in a suite")
    models: list[dict[str, Any]] = Field(min_length=1, description="models, as in a suite")
    metrics: dict[str, dict[str, Any]] = Field({}, description="metrics besides those of all claims")
    comparisons: list[Comparison] = []
    no_leader: NoLeader | None = None

    @model_validator(mode="after")
    def _testable(self) -> Self:
        if bool(self.comparisons) == (self.no_leader is not None):
            raise ValueError("a claim has either comparisons or no_leader")
        if min(self.seeds.quick, self.seeds.full) < LEAST_SEEDS:
            raise ValueError(f"a verdict needs at least {LEAST_SEEDS} seeds")
        return self

    @property
    def arms(self) -> list[tuple[Arm, str]]:
        """All arms, each with the quantity that is compared."""
        if self.no_leader is not None:
            return [(arm, metric) for metric in self.no_leader.criteria for arm in self.no_leader.arms]
        return [(arm, c.quantity(arm)) for c in self.comparisons for arm in (c.a, c.b)]

    def suite(self, effort: Effort, seeds: list[int]) -> dict[str, Any]:
        """The suite of the claim, as a mapping."""
        return {
            "name": "claims",
            "description": self.claim,
            "seeds": seeds,
            "budget": {"steps": self.steps.of(effort)},
            "limits": {"seconds": 3600, "memory_gib": 6},
            "datasets": self.datasets,
            "models": self.models,
            "metrics": {**METRICS, **self.metrics},
        }

    def seed_list(self, effort: Effort, first: int = 0) -> list[int]:
        """The training seeds, from `first` on."""
        return list(range(first, first + self.seeds.of(effort)))


METRICS: dict[str, dict[str, Any]] = {
    "witness_energy": {},
    "modes": {"n": 5000, "draws": 2},
    "sampling_cost": {},
}
"""The metrics of samples of every claim. They are the same, so that claims share their cells."""
