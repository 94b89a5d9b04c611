"""The names of machines: what a time, or a training within a budget in seconds, depends on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_TIMES = {"ns", "us", "µs", "ms", "s", "min", "h", "ns/step", "us/step", "ms/step", "s/step"}


def machine_name(environment: Any, device: str) -> str:
    """A machine in a few words: the GPUs of a run on GPUs, the processor, and the threads; "" if nothing is known.

    `environment` is that of a record. Machines of one kind have one name.
    """
    if not isinstance(environment, dict):
        return ""
    gpus = environment.get("gpus") if device != "cpu" else None
    names = list(dict.fromkeys(str(gpu) for gpu in gpus)) if isinstance(gpus, list) else []
    names += [" ".join(str(environment["cpu"]).split())] if environment.get("cpu") else []
    threads = environment.get("threads")
    if names and isinstance(threads, int):
        names.append(f"{threads} thread{'' if threads == 1 else 's'}")
    return ", ".join(names)


def is_time(unit: Any) -> bool:
    """Whether numbers in a unit are times or rates, which depend on the machine."""
    return isinstance(unit, str) and (unit in _TIMES or unit.endswith(("/s", "/min", "/h")))


def environments(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The environments of all runs that run.json lists, and of the shards of merged runs, the latest last."""
    for run in record["runs"]:
        yield from (part["environment"] for part in run.get("merged") or [run] if part.get("environment"))


def planned_on(record: dict[str, Any], cell: dict[str, Any]) -> Any:
    """The environment of the run that last selected a cell of run.json; for merged runs, of the shard of the cell."""
    run = record["runs"][cell["run"]] if cell["run"] < len(record["runs"]) else {}
    for part in run.get("merged") or ():
        if cell["id"] in (part.get("shard") or {}).get("places", ()):
            return part.get("environment")
    return run.get("environment")


def differing(then: dict[str, Any], now: dict[str, Any]) -> dict[str, list[Any]]:
    """What differs between two environments, versions of packages included: the value then and now, by name."""
    flat = [{**record, **record.get("versions", {})} for record in (then, now)]
    names = [name for name in dict.fromkeys([*flat[0], *flat[1]]) if name != "versions"]
    return {name: [flat[0].get(name), flat[1].get(name)] for name in names if flat[0].get(name) != flat[1].get(name)}
