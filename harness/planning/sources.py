"""The hash of the source code that each stage of a cell reaches, as a part of its identity."""

from __future__ import annotations

from typing import Any

from ..identity import Reach

TRAINING = ("trilemma.harness.execution.stages:prepare", "trilemma.harness.execution.stages:train")
GLUE = tuple(f"trilemma.harness.execution.worker:{name}" for name in ("work", "CellWorker._model", "CellWorker._train"))
"""Code that hands a job to the stages. It counts itself, but not what it reaches, such as the store."""
EVALUATION_GLUE = (
    *(f"trilemma.harness.execution.worker:CellWorker.{name}" for name in ("_evaluate", "_evaluation", "_results")),
    "trilemma.harness.execution.gathered:Gathered",
)
TIMING = (
    "trilemma.harness.execution.worker:CellWorker.time",
    "trilemma.harness.execution.worker:CellWorker._visit",
    "trilemma.harness.execution.visits:merged",
)
EVALUATION = ("trilemma.harness.execution.stages:restore", "trilemma.harness.evaluation.evaluation:Evaluation")

_hashes: dict[tuple[Any, ...], str] = {}
_wholes: dict[type[Any], tuple[str, frozenset[str]]] = {}


def training_source(model: type[Any]) -> str:
    """Hash of the code that the training of `model` reaches.

    It covers the model, its networks and schedules, the training loop, data preparation and seeding. It does not cover
    samplers and the likelihood, unless training uses them.
    """
    key = ("training", model, None)
    if key not in _hashes:
        _hashes[key] = _training(model).hash()
    return _hashes[key]


def evaluation_source(model: type[Any], sampler: type[Any] | None, used: frozenset[str] = frozenset()) -> str:
    """Hash of the code that an evaluation reaches besides its metrics: training, the likelihood, and one sampler.

    `used` are the names of members of models that metrics use.
    """
    key = ("evaluation", model, sampler, used)
    if key not in _hashes:
        reach = _training(model).add_attributes(used)
        for where in EVALUATION:
            reach.add_name(where, whole=True)
        for where in EVALUATION_GLUE:
            reach.add_code(where)
        if sampler is not None:
            reach.add(sampler, whole=True)
        _hashes[key] = reach.hash()
    return _hashes[key]


def timing_source() -> str:
    """Hash of the code that times are measured and put together with, besides the metrics and the evaluation."""
    key = ("timing", None, None)
    if key not in _hashes:
        reach = Reach({"trilemma"})
        for where in TIMING:
            reach.add_code(where)
        _hashes[key] = reach.hash()
    return _hashes[key]


def class_source(cls: type[Any]) -> str:
    """Hash of the code of a dataset or a metric, and of the code that it reaches."""
    return _whole(cls)[0]


def members_used(metrics: tuple[type[Any], ...]) -> frozenset[str]:
    """The names of the members of models that metrics use themselves, such as `evaluation.model.encode`."""
    return frozenset().union(*(_whole(cls)[1] for cls in metrics))


def forget() -> None:
    """Clear the cache, so that every hash is computed again."""
    _hashes.clear()
    _wholes.clear()


def _whole(cls: type[Any]) -> tuple[str, frozenset[str]]:
    if cls not in _wholes:
        reach = Reach({_package(cls)}).add(cls, whole=True)
        _wholes[cls] = reach.hash(), reach.of_model
    return _wholes[cls]


def _training(model: type[Any]) -> Reach:
    reach = Reach({_package(model)}).add(model)
    for where in TRAINING:
        reach.add_name(where)
    for where in GLUE:
        reach.add_code(where)
    return reach


def _package(cls: type[Any]) -> str:
    return cls.__module__.split(".")[0]
