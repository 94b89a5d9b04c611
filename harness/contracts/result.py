"""The record of one number, with everything needed to read it, and what a metric says of its numbers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from .config import Config

Outcome = Literal["ok", "error", "diverged", "timeout", "out-of-memory", "killed", "unsupported", "interrupted"]
"""How a cell or one of its evaluations ended."""

Direction = Literal["lower", "higher", "none"]
"""Which of two values is better."""

Group = Literal["quality", "coverage", "further", "likelihood", "sampling", "training"]
"""What a number speaks of. `sampling` and `training` are costs."""

GROUPS: dict[str, str] = {
    "quality": "Quality",
    "coverage": "Coverage",
    "further": "Further metrics",
    "likelihood": "Likelihood",
    "sampling": "Sampling cost",
    "training": "Training",
}
"""The groups of numbers in the order of tables, with their headings."""

COSTS = ("sampling", "training")
"""The groups that hold costs."""

Place = Literal["first", "main", "more"]
"""Where a number stands: in the main table, and as the `first` of its group where one number is wanted; in the `main`
table; or folded away, with `more` numbers."""


class Result(Config):
    """One number: metric, value, unit, 95 % confidence interval, noise floor, sample size, likelihood kind.

    `title`, `group`, `place`, `ranks` and `least` say how it is read; `Quantity.result` fills them in.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=True)

    metric: str
    value: float
    unit: str = ""
    better: Direction = "lower"
    ci_low: float | None = None
    ci_high: float | None = None
    floor: float | None = Field(None, description="what two independent draws of real data give at the same sizes")
    n: int | None = Field(None, description="sample size behind the value")
    likelihood: str | None = Field(None, description="kind of likelihood, for metrics that rest on one")
    title: str = Field("", description="heading of its column; default: the name of the metric")
    group: Group = "further"
    place: Place = "main"
    ranks: bool = Field(True, description="whether models may be ranked by it, here")
    least: float | None = Field(None, description="the least that the true value can be: an interval below is an error")
    details: dict[str, Any] = {}


class Quantity(Config):
    """What a metric says of one of its numbers: its title, unit and group, its direction, and where it may rank.

    Metrics list theirs in `quantities` and make results of them by `result`, so that tables, figures, the terminal and
    the statistics treat every metric alike, whoever wrote it.
    """

    name: str = Field(description="the name in the results, unique among all metrics")
    title: str = Field("", description="heading of its column; default: the name")
    unit: str = ""
    group: Group = "further"
    better: Direction = "lower"
    place: Place = Field("main", description="where it stands in its dimensions; in others it is `more`")
    ranks: bool = Field(True, description="whether models may be ranked by it; never without a direction")
    least_dim: int = Field(1, description="fewest coordinates of a point in which it is to be read")
    most_dim: int | None = Field(None, description="most coordinates of a point in which it is to be read")
    least: float | None = Field(None, description="the least that the true value can be")

    def readable(self, dim: int) -> bool:
        """Whether the number is to be read in `dim` dimensions."""
        return self.least_dim <= dim and (self.most_dim is None or dim <= self.most_dim)

    @property
    def ranks_where(self) -> str:
        """In which dimensions models may be ranked by it, in words."""
        if not self.ranks or self.better == "none":
            return "nowhere"
        lower = f"from {self.least_dim} dimensions on" if self.least_dim > 1 else ""
        upper = f"up to {self.most_dim} dimensions" if self.most_dim is not None else ""
        return ", ".join(filter(None, (lower, upper))) or "everywhere"

    def result(
        self, value: float, dim: int, *, low: float | None = None, high: float | None = None, **fields: Any
    ) -> Result:
        """A result of this quantity for points of `dim` coordinates: `low` to `high` is its 95 % interval.

        `fields` are other fields of `Result` (`floor`, `n`, `likelihood`, `details`), or replace what the quantity says
        (`unit`, `place`).
        """
        here = self.readable(dim)
        about: dict[str, Any] = {
            "unit": self.unit,
            "title": self.title or self.name.replace("_", " "),
            "group": self.group,
            "better": self.better,
            "place": self.place if here else "more",
            "ranks": self.ranks and here and self.better != "none",
            "least": self.least,
        }
        return Result(metric=self.name, value=value, ci_low=low, ci_high=high, **(about | fields))
