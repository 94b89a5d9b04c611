"""The base classes of options and of other validated records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

NONE = "none"
"""The text that means None in TOML, which has no null."""


_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Record(BaseModel):
    """Base class of validated records that are no options: a frozen pydantic model that refuses unknown keys."""

    model_config = _STRICT


class Config(BaseModel):
    """Base class of the options of models, datasets, metrics and samplers.

    It is a frozen pydantic model that refuses unknown keys.

    Give each field a type, a default and a `Field(description=...)`. The description appears in `trilemma info NAME`.
    The text `none` sets a field to None if its type allows None and does not allow that text, because TOML has no null.
    """

    model_config = _STRICT

    @model_validator(mode="before")
    @classmethod
    def _spelled_none(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        spelled = [key for key, value in values.items() if isinstance(value, str) and value == NONE]
        return {**values, **dict.fromkeys(key for key in spelled if may_be_none(cls, key))} if spelled else values


def may_be_none(cls: type[BaseModel], key: str) -> bool:
    """Whether the text `none` means None for a field: its type allows None, and does not allow the text."""
    field = cls.model_fields.get(key)
    return field is not None and accepts(field.annotation, None) and not accepts(field.annotation, NONE)


def accepts(annotation: Any, value: Any) -> bool:
    """Whether a value is valid for a type."""
    try:
        TypeAdapter[Any](annotation).validate_python(value)
    except ValidationError:
        return False
    return True
