"""The source behind each stage of a cell: what its identity covers beside options, data, seed and budget."""

from __future__ import annotations

from typing import Any

from ..identity import Reach

TRAINING = ("trilemma.harness.execution.stages:prepare", "trilemma.harness.execution.stages:train")
EVALUATION = ("trilemma.harness.execution.stages:restore", "trilemma.harness.evaluation.evaluation:Evaluation")

_hashes: dict[tuple[str, type[Any], type[Any] | None], str] = {}


def training_source(model: type[Any]) -> str:
    """Hash of the code that a training of `model` reaches: its own, networks, schedules, the loop, data preparation and
    seeding; not its samplers, nor its likelihood, unless training uses them.
    """
    key = ("training", model, None)
    if key not in _hashes:
        _hashes[key] = _training(model).hash()
    return _hashes[key]


def evaluation_source(model: type[Any], sampler: type[Any] | None) -> str:
    """Hash of the code that an evaluation reaches beside its metrics: training, the likelihood, one sampler."""
    key = ("evaluation", model, sampler)
    if key not in _hashes:
        reach = _training(model)
        for where in EVALUATION:
            reach.add_name(where, whole=True)
        if sampler is not None:
            reach.add(sampler, whole=True)
        _hashes[key] = reach.hash()
    return _hashes[key]


def class_source(cls: type[Any]) -> str:
    """Hash of the code of a dataset or a metric, and of what it reaches."""
    key = ("class", cls, None)
    if key not in _hashes:
        _hashes[key] = Reach({_package(cls)}).add(cls, whole=True).hash()
    return _hashes[key]


def forget() -> None:
    """Compute every hash anew from now on."""
    _hashes.clear()


def _training(model: type[Any]) -> Reach:
    reach = Reach({_package(model)}).add(model)
    for where in TRAINING:
        reach.add_name(where)
    return reach


def _package(cls: type[Any]) -> str:
    return cls.__module__.split(".")[0]
