"""Metrics of cost: network evaluations, FLOPs and memory of sampling, and the cost of training."""

from __future__ import annotations

from typing import Any

from pydantic import Field

import trilemma

_MIB = 2**20

_FLOPS_LEAVE_OUT = (
    "operations without a formula (listed as uncounted), such as elementwise functions and reductions; work outside "
    "torch, in other threads and in other processes"
)
_NOT_OF_MODELS = ("visits", "contended", "base", "conditions", "floor_ci")  # details that change what is compared
_MEMORY_LEAVES_OUT = {
    "cpu": "memory that the process held before and uses again; swapped pages; other processes",
    "cuda": "memory of the host; memory of the device outside torch's allocator, such as CUDA's own",
}


class SamplingCost(trilemma.Metric):
    """Cost of sampling: network evaluations, FLOPs and memory.

    Network evaluations are counted by the calls of the networks, or by the use of their weights where evaluations are
    no calls, and are compared with the FLOPs. The number is left out if it is not known. FLOPs are counted in a
    separate run. The details say what each number leaves out.
    """

    name = "sampling_cost"
    compares = False
    quantities = (
        trilemma.Quantity(name="nfe", title="NFE", group="sampling", place="first"),
        trilemma.Quantity(
            name="flops_per_sample", title="FLOP per sample", unit="FLOP", group="sampling", place="more"
        ),
        trilemma.Quantity(name="peak_memory", title="Sampling memory", unit="MiB", group="sampling", place="more"),
    )

    class Config(trilemma.Config):
        """Size of the measurement."""

        batch: int = Field(1000, ge=1, description="largest batch for which memory is measured; smaller if it is slow")
        work: float = Field(3e10, gt=0, description="FLOPs and written values that this batch may take, about")

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        nfe = evaluation.counted_nfe
        results = []
        if nfe.value is not None:
            told = {key: value for key, value in evaluation.sampling_details.items() if key not in _NOT_OF_MODELS}
            details = told | nfe.details
            results.append(_result(self, "nfe", nfe.value, details, evaluation.dim, nfe.marks))
        batch: int = self.config.batch
        about: dict[str, Any]
        try:
            flops, uncounted = evaluation.flops()
        except trilemma.UnsupportedError:
            pass
        else:
            batch = max(1, min(batch, int(self.config.work / max(1.0, evaluation.work))))
            about = {"uncounted": uncounted, "not_counted": _FLOPS_LEAVE_OUT}
            if nfe.value is None:
                about["nfe"] = nfe.details["unknown"]
            results.append(_result(self, "flops_per_sample", flops, about, evaluation.dim))
        peak, before = evaluation.peak_memory(batch)
        device = evaluation.device.type
        about = {"batch": batch, "before": before / _MIB, "of": device, "not_counted": _MEMORY_LEAVES_OUT.get(device)}
        results.append(_result(self, "peak_memory", peak / _MIB, about, evaluation.dim))
        return results


class TrainingCost(trilemma.Metric):
    """Cost of training: seconds by the clock of the budget, FLOPs, steps, peak memory and number of parameters.

    The details of the seconds say by how much a training passed a budget in seconds (`over_budget_seconds`). A model
    that is not a control and passed it by more than a fifth and more than a second is marked.
    """

    name = "training_cost"
    compares = False
    quantities = (
        trilemma.Quantity(name="train_seconds", title="Training time", unit="s", group="training", ranks=False),
        trilemma.Quantity(
            name="train_peak_memory",
            title="Training memory",
            unit="MiB",
            group="training",
            ranks=False,
            place="more",
        ),
        trilemma.Quantity(name="train_steps", title="Training steps", group="training", better="none", place="more"),
        trilemma.Quantity(
            name="parameters",
            title="Parameters",
            unit="parameters",
            group="training",
            better="none",
            place="more",
        ),
        trilemma.Quantity(
            name="train_flops", title="Training FLOP", unit="FLOP", group="training", ranks=False, place="more"
        ),
    )
    stage = "training"

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        record = evaluation.training
        over, marks = _over_budget(evaluation)
        found: list[tuple[str, float, dict[str, Any]]] = [
            ("train_seconds", record.seconds, {"wall_seconds": record.wall_seconds} | over),
            ("train_peak_memory", record.peak_memory / _MIB, {}),
        ]
        for name, count in (("train_steps", record.steps), ("parameters", record.parameters)):
            if count is not None:
                found.append((name, count, {}))
        if (flops := evaluation.training_flops()) is not None:
            details = {
                "uncounted": flops[1],
                "of": "FLOPs of one step times the number of steps; without the optimizer",
            }
            found.append(("train_flops", flops[0], details))
        return [
            _result(self, name, value, about, evaluation.dim, marks if name == "train_seconds" else ())
            for name, value, about in found
        ]


def _over_budget(evaluation: trilemma.Evaluation) -> tuple[dict[str, Any], tuple[str, ...]]:
    """By how many seconds a training passed its budget, as a detail, and the mark of a training that passed it far."""
    record, budget = evaluation.training, evaluation.budget
    if budget is None or budget.seconds is None:
        return {}, ()
    spent = record.seconds if record.charged is None else record.charged
    over = max(0.0, spent - budget.seconds)
    far = over > max(1.0, 0.2 * budget.seconds) and not evaluation.model.control
    return {"over_budget_seconds": over}, (f"over budget: {spent:.3g} s of {budget.seconds:g} s",) if far else ()


def _result(
    metric: trilemma.Metric,
    name: str,
    value: float,
    details: dict[str, Any],
    dim: int,
    marks: tuple[str, ...] = (),
) -> trilemma.Result:
    quantity = next(quantity for quantity in metric.quantities if quantity.name == name)
    return quantity.result(value, dim, details=details, marks=marks)
