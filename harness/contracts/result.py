"""The record of one number, with everything needed to read it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from .config import Config

Outcome = Literal["ok", "error", "diverged", "timeout", "out-of-memory", "killed", "unsupported", "interrupted"]
"""How a cell or one of its evaluations ended."""


class Result(Config):
    """One number: metric, value, unit, 95 % confidence interval, noise floor, sample size, likelihood kind."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=True)

    metric: str
    value: float
    unit: str = ""
    better: Literal["lower", "higher", "none"] = "lower"
    ci_low: float | None = None
    ci_high: float | None = None
    floor: float | None = Field(None, description="what two independent draws of real data give at the same sizes")
    n: int | None = Field(None, description="sample size behind the value")
    likelihood: str | None = Field(None, description="kind of likelihood, for metrics that rest on one")
    details: dict[str, Any] = {}
