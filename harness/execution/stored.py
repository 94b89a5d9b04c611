"""Finds a cell in a run directory, says which of its code has changed, and makes the job that repeats it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import PluginError, TrilemmaError, did_you_mean
from ..planning.cell import TIMING, label_of
from ..planning.sources import class_source, evaluation_source, members_used, training_source
from ..plugins import Registry
from ..store.store import Store

if TYPE_CHECKING:
    from ..contracts.metric import Metric


def latest_run(folder: Path = Path("runs")) -> Path:
    """The run directory in `folder` that was written last. Raises TrilemmaError if there is none."""
    found = [(file.stat().st_mtime, file.parent) for file in folder.glob("*/run.json")]
    if not found:
        raise TrilemmaError(f"there is no run directory in {folder.resolve()}; name one with --run")
    return max(found)[1]


def find_cell(store: Store, wanted: str) -> dict[str, Any]:
    """The cell of run.json with this id, this unique start of an id, or this label; the options may be left out of it.

    If several cells have the label, it is that of the latest run. Raises TrilemmaError if there is not exactly one.
    """
    cells = store.run()["cells"]
    found = [cell for cell in cells if cell["id"].startswith(wanted)] if wanted else []
    if not found:
        named = [cell for cell in cells if cell["label"] == wanted] or [cell for cell in cells if _name(cell) == wanted]
        latest = max((cell["run"] for cell in named), default=0)
        found = [cell for cell in named if cell["run"] == latest]
    if len(found) == 1:
        return dict(found[0])
    if found:
        several = "; ".join(f"{cell['id']} ({cell['label']}, {_budget(cell)})" for cell in found[:5])
        raise TrilemmaError(f"'{wanted}' names {len(found)} cells of {store.path}: {several}; give one of the ids")
    labels = [cell["label"] for cell in cells]
    raise TrilemmaError(f"{store.path} has no cell '{wanted}' ({did_you_mean(wanted, labels)}); give a label or an id")


def threads_of(store: Store, cell: dict[str, Any]) -> int:
    """The number of threads that a stored cell was trained with, or else the run that selected it last."""
    record = store.record("cells", cell["id"]) or {}
    environment = record.get("environment") or store.run()["runs"][cell["run"]]["environment"]
    return int(environment.get("threads", 1))


def repeating_job(store: Store, cell: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """The job that trains a stored cell again with the same steps, and evaluates it, into the store `scratch`."""
    record = store.record("cells", cell["id"]) or {}
    run = store.run()["runs"][cell["run"]]
    return {
        **{key: cell[key] for key in ("id", "model", "dataset", "data_sha256", "seed", "budget")},
        "kind": "cell",
        "cell": cell,
        "train": True,
        "replay": record.get("trace"),
        "evaluations": [planned for planned in cell["evaluations"] if planned.get("stage") != TIMING],
        "store": str(scratch),
        "events": str(scratch / "events.jsonl"),
        "plugins": plugins_of(run, cell),
        "threads": threads_of(store, cell),
        "device": cell["device"].partition(":")[0],
    }


def plugins_of(run: dict[str, Any], cell: dict[str, Any]) -> list[str]:
    """The plugins that a cell of a run was loaded with, besides those that are installed."""
    own = cell["model"].get("plugin")
    return [*run.get("plugin_files", []), *([own] if own else [])]


def refuse_elsewhere(cell: dict[str, Any]) -> None:
    """Raise PluginError for a cell whose model runs in a Python environment of its own, which is not this one."""
    model = cell["model"]
    python = model.get("environment")
    if python and python != sys.executable:
        raise PluginError(
            f"model '{model['name']}' ran in another Python environment; do this there, "
            f"with `{python} -m trilemma` and --plugin {model['plugin']}"
        )


def changed_code(cell: dict[str, Any], registry: Registry) -> list[str]:
    """What of a stored cell is computed by code with another hash than then."""
    metrics = {metric["name"]: metric for planned in cell["evaluations"] for metric in planned["metrics"]}
    classes = _loaded(registry, metrics)
    found = [f"metric {name}, which is not there now" for name in metrics if name not in classes]
    found += [f"metric {name}" for name, cls in classes.items() if class_source(cls) != metrics[name]["source"]]
    return [*changed_stages(cell, registry), *found]


def changed_stages(cell: dict[str, Any], registry: Registry) -> list[str]:
    """What of the training, the dataset and the evaluations of a stored cell is computed by other code than then.

    The code of metrics does not count, but it decides which members of the model belong to an evaluation. Without a
    metric, an evaluation may be named needlessly.
    """
    model = registry.get("models", cell["model"]["name"])
    dataset = registry.get("datasets", cell["dataset"]["name"])
    found = [] if training_source(model) == cell["model"]["source"] else ["training"]
    found += [] if class_source(dataset) == cell["dataset"]["source"] else [f"dataset {dataset.name}"]
    latest = [planned for planned in cell["evaluations"] if planned["run"] == cell["run"]]
    names = {metric["name"]: None for planned in latest for metric in planned["metrics"]}
    used = members_used(tuple(_loaded(registry, names).values()))
    samplers = {sampler.name: sampler for sampler in model.samplers}
    for planned in latest:
        sampler = None if planned["sampler"] is None else samplers.get(planned["sampler"]["name"])
        if evaluation_source(model, sampler, used) != planned["source"]:
            found.append(f"evaluation {label_of(planned)}")
    return list(dict.fromkeys(found))


def _loaded(registry: Registry, metrics: Iterable[str]) -> dict[str, type[Metric]]:
    """The classes of these metrics, without those that are not there now or broken."""
    found: dict[str, type[Metric]] = {}
    for name in metrics:
        with contextlib.suppress(PluginError):
            found[name] = registry.get("metrics", name)
    return found


def _name(cell: dict[str, Any]) -> str:
    """The label without options."""
    return f"{cell['model']['name']} on {cell['dataset']['name']}, seed {cell['seed']}"


def _budget(cell: dict[str, Any]) -> str:
    budget = cell["budget"]
    return f"{budget['steps']} steps" if "steps" in budget else f"{budget['seconds']:g} s"
