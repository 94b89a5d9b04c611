"""The base of every validated record."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Options of a model, dataset, metric or sampler: a frozen pydantic model that refuses unknown keys.

    Give each field a type, a default and a `Field(description=...)`; the description appears in `trilemma info NAME`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
