"""The lists of planted defects and of their correct look-alikes, which the modules `planted_*` fill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

Class = TypeVar("Class", bound=type[Any])


@dataclass(frozen=True)
class Planted:
    """A class with a planted defect, the check that must fail and no other, and a part of the message: the remedy."""

    kind: str
    defect: str
    check: str
    remedy: str
    cls: type[Any]


PLANTED: list[Planted] = []
LOOK_ALIKES: list[tuple[str, type[Any]]] = []
"""Pairs of a defect, and of a class that looks like it and is correct."""


def planted(kind: str, defect: str, check: str, remedy: str) -> Callable[[Class], Class]:
    """Register a class with a defect."""

    def register(cls: Class) -> Class:
        PLANTED.append(Planted(kind, defect, check, remedy, cls))
        return cls

    return register


def look_alike(defect: str) -> Callable[[Class], Class]:
    """Register a correct class that looks as if it had a defect."""

    def register(cls: Class) -> Class:
        LOOK_ALIKES.append((defect, cls))
        return cls

    return register
