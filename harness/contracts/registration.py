"""Checks of classes at registration. A mistake in a class attribute raises an error with its place and a suggestion."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, get_args

from ..errors import PluginError, did_you_mean
from ..text import LONGEST_NAME, brief, unfit
from .config import Config
from .options import check_options
from .recipe import Recipe
from .result import LikelihoodKind, Quantity

BASES = {
    "models": "model:Model",
    "datasets": "dataset:Dataset",
    "metrics": "metric:Metric",
    "report_sections": "section:ReportSection",
    "observers": "observer:Observer",
}
"""The module and name of the base class of each kind. Those of models and datasets load torch, so a report does not."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
LONGEST_TITLE = 40
_KINDS = ("vector", "image")


def check_class(cls: Any, kind: str) -> str:
    """Check a class that a plugin registers as one of the kinds in `BASES`.

    Returns its name. Raises PluginError if the class is of another kind or abstract, or if a class attribute has a
    value that the contract does not allow.
    """
    module, _, name = BASES[kind].partition(":")
    base, made = getattr(import_module(f".{module}", __package__), name), cls
    if not inspect.isclass(cls) or not issubclass(cls, base):
        raise PluginError(f"{cls!r} is not a subclass of trilemma.{base.__name__}")
    try:
        if inspect.isabstract(cls):
            raise PluginError(f"it does not define {', '.join(sorted(getattr(cls, '__abstractmethods__', ())))}")
        _require_name(getattr(cls, "name", None), "name")
        _CHECKS[kind](cls)
    except PluginError as error:
        raise PluginError(f"class {cls.__qualname__}{_place(cls)}: {error}") from None
    return str(made.name)


def _check_model(cls: Any) -> None:
    from .model import Model, Sampler

    _one_of("likelihood", cls.likelihood, get_args(LikelihoodKind))
    _some_of("accepts", cls.accepts, _KINDS)
    _one_of("image_space", cls.image_space, ("affine", "logit"))
    _typed(cls, bool, "control", "pictured")
    _plain(cls, "title", "family")
    _records(cls, "Config", "Likelihood")
    if not isinstance(getattr(cls, "recipe", Recipe()), Recipe):
        raise PluginError(f"recipe is {cls.recipe!r}, not a trilemma.Recipe")
    if cls.likelihood != "none" and cls.log_prob is Model.log_prob:
        raise PluginError(f"likelihood is '{cls.likelihood}', but there is no log_prob; define it, or set 'none'")
    samplers = _tuple("samplers", cls.samplers)
    if not samplers:
        raise PluginError("samplers is empty; leave it out for a model with one way to draw")
    for sampler in samplers:
        if not inspect.isclass(sampler) or not issubclass(sampler, Sampler):
            raise PluginError(f"{sampler!r} in samplers is not a subclass of trilemma.Sampler")
        _require_name(getattr(sampler, "name", None), f"name of sampler {sampler.__name__}")
        check_options(f"sampler {sampler.__name__}", sampler)
    _distinct("samplers", [sampler.name for sampler in samplers])
    for setting in _tuple("always_samplers", cls.always_samplers):
        if type(setting) not in samplers:
            raise PluginError(f"{setting!r} in always_samplers is not an instance of a class in samplers")
    _expectations(cls)


def _check_dataset(cls: Any) -> None:
    _one_of("kind", cls.kind, _KINDS)
    _plain(cls, "title", "source", "license", "citation")
    _records(cls, "Config")
    if cls.levels is not None and (not isinstance(cls.levels, int) or cls.levels < 2):
        raise PluginError(f"levels is {cls.levels!r}; give the number of intensity levels, or None for continuous data")
    if not isinstance(cls.logit_alpha, float) or not 0 <= cls.logit_alpha < 0.5:
        raise PluginError(f"logit_alpha is {cls.logit_alpha!r}, not a number in [0, 0.5)")
    _expectations(cls)


def _check_metric(cls: Any) -> None:
    _one_of("stage", cls.stage, ("likelihood", "training", "sampling", "timing"))
    _typed(cls, bool, "compares", "symmetric")
    _records(cls, "Config")
    quantities = _tuple("quantities", cls.quantities)
    for quantity in quantities:
        if not isinstance(quantity, Quantity):
            raise PluginError(f"{quantity!r} in quantities is not a trilemma.Quantity")
        require_plain(quantity.name, quantity.title)
        if held := unfit(quantity.unit):
            raise PluginError(f"the unit of quantity '{quantity.name}' holds {held}; use one line of plain text")
    _distinct("quantities", [quantity.name for quantity in quantities])
    _expectations(cls)


def _check_section(cls: Any) -> None:
    _typed(cls, int, "order")


_CHECKS: dict[str, Callable[[Any], None]] = {
    "models": _check_model,
    "datasets": _check_dataset,
    "metrics": _check_metric,
    "report_sections": _check_section,
    "observers": lambda cls: None,
}


def _require_name(name: Any, what: str) -> None:
    if not isinstance(name, str) or not name:
        raise PluginError(f"it has no `{what}`")
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise PluginError(
            f"{what} is {brief(repr(name))}; use letters, digits, '.', '_', '+' and '-',"
            f" at most {LONGEST_NAME} of them, such as my-model"
        )


def require_plain(name: str, title: str) -> None:
    """Check the name of a quantity, and its title if it has one. Tables, files and figures show them as they are."""
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise PluginError(
            f"a quantity is named {brief(repr(name))}; use letters, digits, '.', '_', '+' and '-', such as mean_error"
        )
    if title and (not title.strip() or not title.isprintable() or len(title) > LONGEST_TITLE):
        raise PluginError(
            f"quantity '{name}' has the title {title!r}; use one line of at most {LONGEST_TITLE} characters"
        )


def _one_of(what: str, value: Any, known: Iterable[str]) -> None:
    if value not in tuple(known):
        raise PluginError(f"{what} is {value!r} ({did_you_mean(str(value), known)})")


def _some_of(what: str, values: Any, known: Iterable[str]) -> None:
    if isinstance(values, str):
        raise PluginError(f'{what} is the text {values!r}; write a tuple, ("{values}",)')
    for value in _tuple(what, values) or (None,):
        _one_of(f"an entry of {what}", value, known)


def _tuple(what: str, values: Any) -> tuple[Any, ...]:
    if not isinstance(values, tuple):
        raise PluginError(f"{what} is {values!r}, not a tuple")
    return values


def _typed(cls: Any, wanted: type[Any], *names: str) -> None:
    for name in names:
        value = getattr(cls, name)
        if not isinstance(value, wanted):
            raise PluginError(f"{name} is {value!r}, not of type {wanted.__name__}")


def _plain(cls: Any, *names: str) -> None:
    """Texts that reports and tables show as they are."""
    _typed(cls, str, *names)
    for name in names:
        if held := unfit(getattr(cls, name)):
            raise PluginError(f"{name} holds {held}; use one line of plain text")


def _records(cls: Any, *names: str) -> None:
    for name in names:
        record = getattr(cls, name)
        if not inspect.isclass(record) or not issubclass(record, Config):
            raise PluginError(f"{name} is {record!r}, not a subclass of trilemma.Config")
        check_options(name, record)


def _distinct(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise PluginError(f"two of its {what} are named '{name}'")


def _expectations(cls: Any) -> None:
    if not isinstance(cls.expected_failures, Mapping):
        raise PluginError(f"expected_failures is {cls.expected_failures!r}; give a map from names of checks to reasons")


def _place(cls: type[Any]) -> str:
    """File and line of a class, if they are known."""
    try:
        return f" ({inspect.getsourcefile(cls)}:{inspect.getsourcelines(cls)[1]})"
    except (OSError, TypeError):
        return ""
