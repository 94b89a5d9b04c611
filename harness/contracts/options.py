"""Checks of the options of a class: a run stores them as JSON and builds them again in the process of a cell."""

from __future__ import annotations

import json
from collections.abc import Iterator, Set
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ..errors import PluginError
from .tunable import declared, parse_range


def check_options(what: str, record: type[BaseModel]) -> None:
    """Check a class of options, which `what` names in messages.

    Raises PluginError for options that have no default, whose range to tune cannot be read, that are left out of their
    JSON or have another name there, whose JSON is not the same each time, or that do not come back from JSON as they
    were.
    """
    for option, field in record.model_fields.items():
        if field.is_required():
            raise PluginError(f"option '{option}' of {what} has no default; give it one")
    for part in _records_in(record, set()):
        _check_fields(what if part is record else f"{what} ({part.__qualname__})", part)
    try:
        options = record()
    except Exception as error:
        raise PluginError(f"{what} cannot be built from its defaults: {_short(error)}; correct the defaults") from None
    stored = {}
    for option in record.model_fields:
        try:
            stored[option] = json.loads(json.dumps(options.model_dump(mode="json", include={option})[option]))
        except Exception as error:
            raise PluginError(
                f"option '{option}' of {what} cannot be stored as JSON: {_short(error)};"
                " use numbers, text, tuples or a nested trilemma.Config"
            ) from None
    try:
        back = record.model_validate(stored)
    except Exception as error:
        raise PluginError(f"{what} cannot be built again from its JSON: {_short(error)}; correct that option") from None
    for option in record.model_fields:
        before, after = getattr(options, option), getattr(back, option)
        if not _same(before, after):
            raise PluginError(
                f"option '{option}' of {what} is {before!r}, but {after!r} when it is built again from its JSON;"
                " use a type that JSON keeps, and a default that its validators do not change"
            )


def _check_fields(what: str, record: type[BaseModel]) -> None:
    """Check how the options of one class are stored and tuned, which their declaration says."""
    for option, text in declared(record).items():
        try:
            parse_range(text)
        except ValueError as error:
            raise PluginError(f"the range of option '{option}' of {what}: {error}") from None
    for option in record.model_computed_fields:
        raise PluginError(f"'{option}' of {what} is a computed field, which is no option; make it a plain property")
    for option, field in record.model_fields.items():
        where = f"option '{option}' of {what}"
        if field.alias or field.validation_alias or field.serialization_alias:
            raise PluginError(f"{where} has an alias; remove it, and name the option as it is to be written")
        if field.exclude:
            raise PluginError(f"{where} is excluded from the stored options; remove exclude=True")
        if any(isinstance(kind, type) and issubclass(kind, Set) for kind in _types_in(field.annotation)):
            raise PluginError(f"{where} is a set, whose JSON has no fixed order; use a tuple")


def _records_in(record: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """The class of options and the classes of options in it."""
    if record not in seen:
        seen.add(record)
        yield record
        for field in record.model_fields.values():
            for kind in _types_in(field.annotation):
                if isinstance(kind, type) and issubclass(kind, BaseModel):
                    yield from _records_in(kind, seen)


def _types_in(annotation: Any) -> Iterator[Any]:
    """The types in an annotation."""
    yield get_origin(annotation) or annotation
    for part in get_args(annotation):
        yield from _types_in(part)


def _same(before: Any, after: Any) -> bool:
    """Whether two values are equal, also in type. Values that cannot be compared, such as arrays, are not."""
    try:
        return type(before) is type(after) and bool(before == after)
    except Exception:
        return False


def _short(error: Exception) -> str:
    """An error in one line, with the option that it is about."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return ": ".join(filter(None, (".".join(str(part) for part in first["loc"]), first["msg"])))
    return f"{type(error).__name__}: {error}".split("\n")[0]
