"""The sampler settings of a trained model: those of its run, and others that a user asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ..contracts.config import Config
from ..contracts.model import Model, Sampler
from ..errors import TrilemmaError, did_you_mean
from ..planning.grids import label
from ..store.store import Store


@dataclass(frozen=True)
class Setting:
    """A sampler with its options. `batch` samples were drawn together in the evaluation of the run; 0 if unknown."""

    label: str
    sampler: Sampler
    batch: int = 0


Request = str | Mapping[str, Any] | Setting | None


def settings_of(store: Store, cell: Mapping[str, Any], model: Model) -> dict[str, Setting]:
    """The sampler settings that a cell was evaluated at, by label, those of its latest run first.

    Settings that the installed code of the model does not have any more are left out.
    """
    known = {sampler.name: sampler for sampler in model.samplers}
    found: dict[str, Setting] = {}
    for planned in sorted(cell["evaluations"], key=lambda planned: -int(planned["run"])):
        spec = planned["sampler"]
        if spec is None or planned.get("stage") != "sampling" or spec["name"] not in known or spec["label"] in found:
            continue
        try:
            sampler = known[spec["name"]].model_validate(spec["config"])
        except ValidationError:
            continue
        record = store.record("evaluations", planned["id"]) or {}
        found[spec["label"]] = Setting(spec["label"], sampler, int(record.get("batch", 0)))
    return found


def chosen_setting(asked: Request, of_run: Mapping[str, Setting], model: Model) -> Setting:
    """The setting that is asked for: by default the first of the run.

    It is the label of a setting of the run, or the name of a sampler, or a mapping with `name` and options, as in a
    suite. A setting with the options of one of the run is that one. Raises TrilemmaError with a suggestion.
    """
    if asked is None:
        return next(iter(of_run.values()), None) or _made(model, model.samplers[0].name, {})
    if isinstance(asked, Setting):
        return asked
    if isinstance(asked, str) and asked in of_run:
        return of_run[asked]
    options = {"name": asked} if isinstance(asked, str) else dict(asked)
    name = str(options.pop("name", ""))
    known = [sampler.name for sampler in model.samplers]
    if name not in known:
        hint = did_you_mean(name, {*known, *of_run})
        raise TrilemmaError(f"model '{model.name}' has no sampler '{name}' ({hint})")
    named = [setting for setting in of_run.values() if setting.sampler.name == name]
    if isinstance(asked, str) and len(named) == 1:
        return named[0]
    if isinstance(asked, str) and named:
        labels = ", ".join(setting.label for setting in named)
        raise TrilemmaError(f"the run has several settings of the sampler '{name}': {labels}; give one of them")
    made = _made(model, name, options)
    return next((setting for setting in named if setting.sampler == made.sampler), made)


def _made(model: Model, name: str, options: dict[str, Any]) -> Setting:
    cls = next(sampler for sampler in model.samplers if sampler.name == name)
    return Setting(label(name, options), validated(cls, options, f"sampler '{name}'"))


def validated(cls: type[Config], options: Any, what: str) -> Any:
    """A record of options. Raises TrilemmaError that names what is wrong with them."""
    try:
        return cls.model_validate(options)
    except ValidationError as error:
        wrong = [(".".join(map(str, each["loc"])), each["type"], each["msg"]) for each in error.errors()]
        said = [
            f"no option '{key}' ({did_you_mean(key, cls.model_fields)})"
            if kind == "extra_forbidden"
            else f"{key}: {text}"
            for key, kind, text in wrong
        ]
        raise TrilemmaError(f"options of {what}: {'; '.join(said)}") from None
