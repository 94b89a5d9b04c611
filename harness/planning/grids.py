"""Grids: the combinations of the listed values of options, and the labels of what they make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ..contracts.config import NONE, Config, accepts

Axis = list[tuple[str, Any]]


def grid_axes(cls: type[Config], options: Mapping[str, Any], *, single: bool = False) -> list[Axis]:
    """The values of each option, as pairs with its name. A grid is their product.

    A list that the field accepts is one value, and with `single` any list is. Any other list is a grid over its
    elements.
    """
    axes: list[Axis] = []
    for key, value in options.items():
        is_grid = isinstance(value, list) and not single and not _is_value(cls, key, value)
        axes.append([(key, element) for element in (value if is_grid else [value])])
    return axes


def _is_value(cls: type[Config], key: str, value: Any) -> bool:
    field = cls.model_fields.get(key)
    # An unknown key counts, so that it is reported once, and not once for each element.
    return field is None or field.annotation is None or accepts(field.annotation, value)


def label(name: str, given: Mapping[str, Any]) -> str:
    """The label of a name with options, such as `heun(steps=18)`."""
    if not given:
        return name
    return f"{name}({', '.join(f'{key}={_short(value)}' for key, value in given.items())})"


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "x".join(_short(element) for element in value)
    if value is None:
        return NONE
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)


def planned_numbers(models: Iterable[Any], datasets: Iterable[Any], seeds: int) -> tuple[int, int]:
    """How many cells and evaluations the choices of a suite make, counted without making them."""
    named = Counter(dataset.name for dataset in datasets)
    cells = evaluations = 0
    for model in models:
        among = named if model.datasets is None else set(model.datasets)
        own = sum(named[name] for name in among) * seeds
        cells += own
        evaluations += own * (max(1, len(model.likelihoods)) + len(model.samplers))
    return cells, evaluations
