"""The record of one number with everything needed to read it, and the description of the quantities of a metric."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from .config import Config

Outcome = Literal["ok", "error", "diverged", "timeout", "out-of-memory", "killed", "unsupported", "interrupted"]
"""The outcomes of a cell or of an evaluation."""

LikelihoodKind = Literal["exact", "ode", "map", "bound", "estimate", "none"]
"""The kinds of likelihood. Numbers of different kinds are never ranked against each other.

- `exact`: the density of the model itself.
- `ode`: the density from integrating a probability-flow ODE.
- `map`: the change of variables by a map from data to noise that is not invertible by construction. It is a density
  only where the map is invertible, and then its mass is 1.
- `bound`: a variational bound on the density.
- `estimate`: a number from a method that is right only in the limit of unlimited samples.
- `none`: the model has no likelihood.
"""

LIKELIHOOD_KINDS: dict[str, str] = {
    "exact": "exact",
    "ode": "ODE",
    "map": "map",
    "bound": "bound",
    "estimate": "estimate",
}
"""The kinds of likelihood that give a number, in the order of tables, with their titles."""

Direction = Literal["lower", "higher", "none"]
"""Which of two values is better, the lower or the higher one."""

Group = Literal["quality", "coverage", "further", "likelihood", "sampling", "training"]
"""The groups of numbers in tables. `sampling` and `training` are costs."""

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
"""The place of a number in reports. `main` numbers are in the main table. A `first` number is in the main table too,
and stands for its group where only one number is shown. `more` numbers are in a further table, which is folded."""


class Result(Config):
    """One number: metric, value, unit, 95 % confidence interval, noise floor, sample size, likelihood kind.

    `title`, `group`, `place`, `ranks`, `least` and `unbiased` say how to show and rank it. `Quantity.result` sets them.

    A metric that finds that a model cannot be ranked gives the reason in `marks`. A mark of a number of the group
    `training` concerns the whole model, a mark of a metric of samples the sampler setting, and any other mark the
    likelihood of the model.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=True)

    metric: str
    value: float
    unit: str = ""
    better: Direction = "lower"
    ci_low: float | None = None
    ci_high: float | None = None
    floor: float | None = Field(None, description="the value for two independent draws of real data of the same sizes")
    n: int | None = Field(None, description="sample size behind the value")
    likelihood: str | None = Field(None, description="likelihood kind, for metrics that use a likelihood")
    title: str = Field("", description="heading of its column; by default the name of the metric")
    group: Group = "further"
    place: Place = "main"
    ranks: bool = Field(True, description="whether models may be ranked by this number on this dataset")
    least: float | None = Field(None, description="lower limit of the true value; an interval below it is an error")
    unbiased: bool = Field(False, description="whether values of different sample sizes may be compared")
    noise: float | None = Field(
        None, gt=0, description="about how large the value of the true distribution is by chance, at these sizes"
    )
    marks: tuple[str, ...] = Field((), description="why what this number is about must not be ranked, in a few words")
    details: dict[str, Any] = {}


class Quantity(Config):
    """The description of one number of a metric: title, unit, group, direction, and where models are ranked by it.

    A metric lists its quantities in `quantities` and makes results with `result`. Tables, figures and statistics use
    only this description, so they treat built-in metrics and metrics of plugins alike.
    """

    name: str = Field(description="the name in the results, unique among all metrics")
    title: str = Field("", description="heading of its column; by default the name")
    unit: str = ""
    group: Group = "further"
    better: Direction = "lower"
    place: Place = Field("main", description="its place between least_dim and most_dim; outside it is `more`")
    ranks: bool = Field(True, description="whether models may be ranked by it, if it has a direction")
    least_dim: int = Field(1, description="fewest dimensions in which it may be read")
    most_dim: int | None = Field(None, description="most dimensions in which it may be read")
    least: float | None = Field(None, description="lower limit of the true value")
    unbiased: bool = Field(False, description="whether its mean does not depend on the sample size")

    def readable(self, dim: int) -> bool:
        """Whether the number may be read in `dim` dimensions."""
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
        """Make a result of this quantity for points of `dim` coordinates, with the 95 % interval `low` to `high`.

        `fields` sets other fields of `Result` (`floor`, `n`, `likelihood`, `noise`, `marks`, `details`), or replaces
        fields of the quantity (`unit`, `place`).
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
            "unbiased": self.unbiased,
        }
        return Result(metric=self.name, value=value, ci_low=low, ci_high=high, **(about | fields))
