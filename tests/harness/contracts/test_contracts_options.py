"""Options that a run cannot store and build again are refused when their class is registered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, computed_field, field_validator

import trilemma
from trilemma.harness.contracts.options import check_options
from trilemma.harness.contracts.registration import check_class


class Renamed(trilemma.Config):
    """An alias."""

    width: int = Field(3, alias="w")


class Computed(trilemma.Config):
    """A computed field."""

    width: int = 3

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        """The area."""
        return self.width**2


class Excluded(trilemma.Config):
    """An option that is not stored."""

    width: int = Field(3, exclude=True)


class Required(trilemma.Config):
    """An option without a default."""

    width: int


class Unordered(trilemma.Config):
    """A set."""

    names: tuple[frozenset[str], ...] | None = None


class Nested(trilemma.Config):
    """A mistake in a part."""

    part: Renamed | None = None


class Opaque(trilemma.Config):
    """A value that JSON cannot hold."""

    thing: Any = object()


class Listed(trilemma.Config):
    """A tuple that comes back as a list."""

    sizes: Any = (1, 2)


class Narrow(trilemma.Config):
    """A default that its own limits refuse."""

    width: int = Field(3, gt=5)


class Grows(trilemma.Config):
    """A validator that changes the value each time."""

    width: int = 3

    @field_validator("width")
    @classmethod
    def wider(cls, width: int) -> int:
        """One more."""
        return width + 1


class Part(trilemma.Config):
    """Some options."""

    sizes: tuple[int, ...] = (1, 2)


class Fine(trilemma.Config):
    """Options of every kind that may be used."""

    file: Path = Path("data.csv")
    part: Part = Part()
    scale: float | None = None
    weights: dict[str, float] = {"a": 1.0}


class Way(trilemma.Sampler):
    """A sampler with an option without a default."""

    name = "way"
    steps: int


WRONG = [
    (Renamed, "option 'width' of Config has an alias; remove it"),
    (Computed, "'area' of Config is a computed field, .* make it a plain property"),
    (Excluded, "option 'width' of Config is excluded from the stored options; remove exclude=True"),
    (Required, "option 'width' of Config has no default; give it one"),
    (Unordered, "option 'names' of Config is a set, .* use a tuple"),
    (Nested, r"option 'width' of Config \(Renamed\) has an alias"),
    (Opaque, "option 'thing' of Config cannot be stored as JSON: .*; use numbers"),
    (Listed, r"option 'sizes' of Config is \(1, 2\), but \[1, 2\] when it is built again"),
    (Narrow, "Config cannot be built again from its JSON: width: .* greater than 5"),
    (Grows, "option 'width' of Config is 3, but 4 when"),
]


@pytest.mark.parametrize(("record", "message"), WRONG)
def test_options_that_a_run_cannot_keep_are_refused(record: type[trilemma.Config], message: str) -> None:
    with pytest.raises(trilemma.PluginError, match=message):
        check_options("Config", record)


def test_options_that_json_keeps_are_right() -> None:
    check_options("Config", Fine)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"Config": Required}, "option 'width' of Config has no default"),
        ({"Likelihood": Required}, "option 'width' of Likelihood has no default"),
        ({"samplers": (Way,)}, "option 'steps' of sampler Way has no default"),
    ],
)
def test_a_model_is_checked_with_its_likelihood_and_samplers(wrong: dict[str, Any], message: str) -> None:
    methods = {"name": "good", "fit": lambda *_: None, "sample": lambda *_: None}
    cls = type("Mistaken", (trilemma.Model,), {"__module__": __name__, **methods, **wrong})
    with pytest.raises(trilemma.PluginError, match=f"class Mistaken.*: {message}"):
        check_class(cls, "models")
