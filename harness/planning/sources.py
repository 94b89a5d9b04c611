"""The hash of the source code that each stage of a cell reaches, as a part of its identity."""

from __future__ import annotations

from typing import Any

from ..identity import Reach

TRAINING = ("trilemma.harness.execution.stages:prepare", "trilemma.harness.execution.stages:train")
EVALUATION = ("trilemma.harness.execution.stages:restore", "trilemma.harness.evaluation.evaluation:Evaluation")

_hashes: dict[tuple[str, type[Any], type[Any] | None], str] = {}


def training_source(model: type[Any]) -> str:
    """Hash of the code that the training of `model` reaches.

    It covers the model, its networks and schedules, the training loop, data preparation and seeding. It does not cover
    samplers and the likelihood, unless training uses them.
    """
    key = ("training", model, None)
    if key not in _hashes:
        _hashes[key] = _training(model).hash()
    return _hashes[key]


def evaluation_source(model: type[Any], sampler: type[Any] | None) -> str:
    """Hash of the code that an evaluation reaches besides its metrics: training, the likelihood, and one sampler."""
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
    """Hash of the code of a dataset or a metric, and of the code that it reaches."""
    key = ("class", cls, None)
    if key not in _hashes:
        _hashes[key] = Reach({_package(cls)}).add(cls, whole=True).hash()
    return _hashes[key]


def forget() -> None:
    """Clear the cache, so that every hash is computed again."""
    _hashes.clear()


def _training(model: type[Any]) -> Reach:
    reach = Reach({_package(model)}).add(model)
    for where in TRAINING:
        reach.add_name(where)
    return reach


def _package(cls: type[Any]) -> str:
    return cls.__module__.split(".")[0]
