"""The runs of several run directories as the runs of one: shards of one suite become one run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

Run = dict[str, Any]
Cells = list[dict[str, Any]]


@dataclass(frozen=True)
class Part:
    """A run of a whole suite or of one of its shards, with the cells and evaluations that no later run selected."""

    record: Run
    cells: Cells

    @property
    def identity(self) -> str:
        """What two copies of the same run have in common: everything."""
        return json.dumps(self.record, sort_keys=True)

    @property
    def shard(self) -> dict[str, Any] | None:
        """The number of the shard, how many there are, and the places of its cells in the suite."""
        shard = self.record.get("shard")
        whole = isinstance(shard, dict) and {"number", "of", "places"} <= shard.keys()
        return shard if whole else None

    @property
    def whole(self) -> str:
        """What the shards of one suite have in common. A run of a whole suite has nothing in common with others."""
        if self.shard is None:
            return self.identity
        return json.dumps([self.record["suite"], self.record.get("device"), self.shard["of"]], sort_keys=True)


@dataclass
class Merge:
    """A run to be written, of one part or of the shards of one suite."""

    parts: list[Part]

    @property
    def record(self) -> Run:
        """The record of the run. Shards are listed as `merged`, without the suite that they share."""
        first, last = self.parts[0], max(self.parts, key=lambda part: str(part.record.get("time")))
        if first.shard is None:
            return first.record
        each = [{key: value for key, value in part.record.items() if key != "suite"} for part in self.parts]
        return {**first.record, "shard": None, "time": last.record.get("time"), "merged": each}

    @property
    def cells(self) -> Cells:
        """The cells in the order of the suite."""
        found = [(part.shard["places"].get(cell["id"], 0) if part.shard else 0, cell)
                 for part in self.parts for cell in part.cells]  # fmt: skip
        return [cell for _, cell in sorted(found, key=lambda pair: pair[0])]


def parts_of(record: Run) -> Iterator[Part]:
    """The runs that run.json lists, the first one first. A merged run gives each of its shards."""
    for number, run in enumerate(record["runs"]):
        cells = [
            {**cell, "evaluations": chosen}
            for cell in record["cells"]
            if (chosen := [planned for planned in cell["evaluations"] if planned["run"] == number])
            or cell["run"] == number
        ]
        merged = run.get("merged")
        if not isinstance(merged, list) or not merged:
            yield Part(run, cells)
            continue
        for each in merged:
            part = Part({"suite": run["suite"], **each}, [])
            places = part.shard["places"] if part.shard else {}
            part.cells.extend(cell for cell in cells if cell["id"] in places)
            yield part


def missing_shards(record: Run) -> list[str]:
    """For each suite of which a run directory has some shards and not all: a sentence that names those missing."""
    there: dict[str, dict[int, Part]] = {}
    for part in parts_of(record):
        if part.shard:
            there.setdefault(part.whole, {})[part.shard["number"]] = part
    said = []
    for parts in there.values():
        first = next(iter(parts.values()))
        of = first.shard["of"] if first.shard else 0
        lacking = [str(n) for n in islice((n for n in range(1, of + 1) if n not in parts), 6)]
        if more := of - len(parts) - len(lacking):
            lacking.append(f"{more} more")
        if lacking:
            said.append(f"of the {of} shards of suite {first.record['suite'].get('name')}, these are not there: "
                        + ", ".join(lacking))  # fmt: skip
    return said


def merges(before: Run | None, sources: Sequence[Run]) -> list[Merge]:
    """The runs that have to be added to a run directory, in the order of the sources.

    `before` is what run.json holds there, if there is one. What it lists already is not added again. The shards of one
    suite become one run, also with those that the directory has. When one shard has run several times into one
    directory, because it was interrupted, its latest run belongs to the shards, and the others stay by themselves.
    """
    old = list(parts_of(before)) if before else []
    known = {part.identity for part in old}
    groups: dict[str, dict[int, Part]] = {}
    for part in old:
        if part.shard:
            groups.setdefault(part.whole, {})[part.shard["number"]] = part
    added: dict[str, dict[int, Part]] = {}
    for source in sources:
        parts = list(parts_of(source))
        latest = {(part.whole, part.shard and part.shard["number"]): index for index, part in enumerate(parts)}
        for index, part in enumerate(parts):
            if part.identity in known:
                continue
            known.add(part.identity)
            if part.shard is None or latest[part.whole, part.shard["number"]] != index:
                added[part.identity] = {0: part}
                continue
            group = added.pop(part.whole, None) or dict(groups.get(part.whole, {}))
            added[part.whole] = {**group, part.shard["number"]: part}  # the run comes where its last shard comes
    return [Merge([group[number] for number in sorted(group)]) for group in added.values()]
