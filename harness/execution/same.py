"""Compares a cell in two stores, bit for bit: its outcome, weights, curves, results and samples, but not its times."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from ..planning.cell import TIMING, label_of
from ..store.store import Store

MEASURED = ("s", "ms", "MiB", "J")
"""The units of results that are measured anew in each process: times, memory and energy."""


@dataclass
class Comparison:
    """What was compared, as counts, and each difference in words."""

    counts: dict[str, int]
    differences: list[str]


def compare_cell(stored: Store, again: Store, cell: dict[str, Any]) -> Comparison:
    """Compare a stored cell with a repetition of it. Evaluations that are not stored are left out."""
    comparison = Comparison({"tensors": 0, "curves": 0, "results": 0, "samples": 0}, [])
    before, now = stored.record("cells", cell["id"]), again.record("cells", cell["id"])
    if before is None or now is None:
        where = "stored" if before is None else "repeated"
        comparison.differences.append(f"there is no {where} training to compare")
        return comparison
    comparison.differences += _outcomes("training", before, now)
    weights = [store.tensors("cells", cell["id"], "model") or {} for store in (stored, again)]
    _tensors(comparison, "tensors", "", *weights)
    curves = [record.get("curves", {}) for record in (before, now)]
    for name in _names(*curves):
        comparison.counts["curves"] += 1
        comparison.differences += _numbers(f"curve {name}", *(given.get(name, []) for given in curves))
    for planned in cell["evaluations"]:
        if planned.get("stage") != TIMING:
            _evaluation(comparison, stored, again, planned)
    return comparison


def _evaluation(comparison: Comparison, stored: Store, again: Store, planned: dict[str, Any]) -> None:
    where = label_of(planned)
    before, now = (store.record("evaluations", planned["id"]) for store in (stored, again))
    if before is None:
        return
    if now is None:
        comparison.differences.append(f"{where}: there is no repeated evaluation")
        return
    comparison.differences += _outcomes(where, before, now)
    results = [_results(record) for record in (before, now)]
    for name in _names(*results):
        comparison.counts["results"] += 1
        old, new = (given.get(name) for given in results)
        if old is None or new is None:
            comparison.differences.append(f"{where}: {name} is {'not stored' if old is None else 'not repeated'}")
            continue
        for key in ("value", "ci_low", "ci_high", "floor", "n"):
            label = f"{where}: {name}" + ("" if key == "value" else f" ({key})")
            comparison.differences += _numbers(label, [old.get(key)], [new.get(key)])
    samples = [store.tensors("evaluations", planned["id"], "samples") or {} for store in (stored, again)]
    _tensors(comparison, "samples", f"{where}: ", *samples)


def _results(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The results that are not measured anew in each process, by metric, numbered if there are several of a metric."""
    found: dict[str, dict[str, Any]] = {}
    for result in record["results"]:
        if result.get("unit") not in MEASURED:
            number = sum(result["metric"] == name.partition("#")[0] for name in found)
            found[f"{result['metric']}#{number + 1}" if number else result["metric"]] = result
    return found


def _outcomes(where: str, before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    said = [f"{record['outcome']} {record['message']}".strip() for record in (before, now)]
    if said[0] != said[1]:
        yield f"{where}: {said[0]} before, {said[1]} now"


def _tensors(
    comparison: Comparison, kind: str, where: str, before: Mapping[str, Tensor], now: Mapping[str, Tensor]
) -> None:
    for name in _names(before, now):
        comparison.counts[kind] += 1
        old, new = before.get(name), now.get(name)
        if old is None or new is None:
            comparison.differences.append(f"{where}{name} is {'not stored' if old is None else 'not repeated'}")
        elif (old.shape, old.dtype) != (new.shape, new.dtype):
            comparison.differences.append(f"{where}{name} has another shape or type")
        elif not torch.equal(_bits(old), _bits(new)):
            unequal = (_bits(old) != _bits(new)).reshape(old.numel(), -1).any(dim=1)
            gaps = (old.double() - new.double()).abs().reshape(-1)[unequal].nan_to_num(math.inf)
            comparison.differences.append(
                f"{where}{name}: {int(unequal.sum())} of {old.numel()} numbers differ, by up to {float(gaps.max()):.3g}"
            )


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _numbers(where: str, before: list[Any], now: list[Any]) -> Iterator[str]:
    pairs = [(old, new) for old, new in zip_longest(before, now) if repr(old) != repr(new)]
    if not pairs:
        return
    if len(before) == len(now) == 1:
        yield f"{where}: {before[0]} before, {now[0]} now"
    else:
        gaps = [abs(old - new) for old, new in pairs if old is not None and new is not None]
        most = f", by up to {max(gaps):.3g}" if gaps else ""
        yield f"{where}: {len(pairs)} of {max(len(before), len(now))} numbers differ{most}"


def _names(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys([*before, *now]))
