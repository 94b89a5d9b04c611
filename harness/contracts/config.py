"""The base class of all options and validated records."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Base class of the options of models, datasets, metrics and samplers.

    It is a frozen pydantic model that refuses unknown keys.

    Give each field a type, a default and a `Field(description=...)`. The description appears in `trilemma info NAME`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
