"""What the report of a large run takes: seconds, megabytes, and the memory of the process. On an idle machine."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trilemma
from trilemma.harness.execution.environment import run_record
from trilemma.harness.planning.cell import Cell, plan
from trilemma.harness.planning.cell import data_id as identity
from trilemma.harness.planning.resolve import resolve
from trilemma.harness.planning.suite import read_document
from trilemma.harness.plugins import Registry
from trilemma.harness.store.store import Store

pytestmark = pytest.mark.slow

EXACT = ("planar", "radial", "nice", "realnvp", "maf", "nsf-coupling", "nsf-autoregressive", "vae")
CHAINS = {"vp-sde": "heun", "ve-sde": "heun", "edm": "heun", "flow-matching": "heun", "rectified-flow": "heun",
          "ddpm": "ddim", "subvp-sde": "heun", "ot-flow-matching": "heun"}  # fmt: skip
CONTROLS = ("oracle", "memorizer", "gaussian", "gmm")
DATASETS = ("ring8", "grid25", "moons", "checkerboard")
METRICS = ("nll", "witness_energy", "wasserstein", "modes", "precision_recall", "sampling_cost", "sampling_time",
           "training_cost")  # fmt: skip

MEASURE = """
import resource, sys, time, trilemma
from trilemma.harness.api import end
from trilemma.harness.plugins import Registry
from trilemma.harness.store.store import Store
start = time.monotonic()
frame, written, problems = end(Store(sys.argv[1]), Registry())
print(len(frame), time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
assert not problems, problems
"""


def suite(datasets: tuple[str, ...], models: list[dict[str, Any]], metrics: tuple[str, ...], seeds: int) -> Any:
    return {"name": "large", "seeds": seeds, "budget": {"steps": 2000}, "datasets": [{"name": d} for d in datasets],
            "models": models, "metrics": {name: {} for name in metrics}}  # fmt: skip


def large(seeds: int = 3) -> dict[str, Any]:
    """Twenty models on four datasets: eight with several sampler settings, four of them controls."""
    steps = [5, 10, 20, 50]
    several = [{"name": name, "samplers": [{"name": own, "steps": steps}]} for name, own in CHAINS.items()]
    return suite(DATASETS, [{"name": name} for name in (*CONTROLS, *EXACT)] + several, METRICS, seeds)


def write(path: Path, document: dict[str, Any]) -> int:
    """Write the run directory of a suite with invented numbers, and return the number of its cells."""
    registry = Registry(builtin_only=True)
    resolved = resolve(read_document(document), registry)
    rng = np.random.default_rng(0)
    cards = {}
    for dataset in resolved.datasets:
        cards[identity(dataset)] = {
            "name": dataset.name, "title": dataset.name, "kind": "vector", "shape": [2], "n_train": 20_000,
            "n_valid": 5_000, "n_test": 10_000, "source": "synthetic", "license": "CC0-1.0", "sha256": "0" * 64,
        }  # fmt: skip
    cells = plan(resolved, cards, "cpu")
    store = Store(path)
    with store.writing():
        store.write_run(run_record(resolved.suite.model_dump(mode="json"), 1, "cpu"), (cell.record() for cell in cells))
        for id, card in cards.items():
            store.commit("data", id, {"card": card}, {"test": {"test": ring(rng, 0.25)}})
        for cell in cells:
            commit(store, cell, registry, rng)
    return len(cells)


def commit(store: Store, cell: Cell, registry: Registry, rng: np.random.Generator) -> None:
    loss = 1 / np.linspace(0.1, 1, 100) + 0.1 * rng.standard_normal(100)
    curves = {"step": list(range(0, 2000, 20)), "loss": loss.tolist()}
    training = {"steps": 2000, "wall_seconds": 10.0}
    ended = {"outcome": "ok", "phase": "evaluation", "elapsed": 12.0, "message": ""}
    store.commit("cells", cell.id, {**ended, "cell": cell.record(), "training": training, "curves": curves})
    skill = 1 + hash_of(cell.model.name) % 7
    for planned in cell.evaluations:
        steps = (planned.sampler.config.get("steps") or 1) if planned.sampler else 1
        results = [
            result for metric in planned.metrics for result in numbers(registry, metric.name, cell, skill, steps, rng)
        ]
        tensors = {"samples": {"samples": ring(rng, 0.2 + 0.1 * skill)}} if planned.stage == "sampling" else {}
        about = {"cell": cell.id, "nfe": float(steps), "results": results, "not_computed": []}
        store.commit("evaluations", planned.id, {**ended, **about}, tensors if cell.seed == 0 else {})


def numbers(
    registry: Registry, metric: str, cell: Cell, skill: int, steps: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Invented results of one metric: worse for models of little skill, and for few steps."""
    place = list(registry.classes("metrics")).index(metric)
    for number, quantity in enumerate(registry.get("metrics", metric).quantities):
        value = float((0.01 * skill + 0.3 / steps) * math.exp(0.1 * rng.standard_normal()))
        value *= steps if quantity.group in ("sampling", "training") else 1
        likelihood = {"likelihood": cell.model.likelihood} if quantity.group == "likelihood" else {}
        noise = {"noise": 0.002} if quantity.name == "witness_energy" else {}
        about = quantity.result(value, 2, low=0.95 * value, high=1.05 * value, n=5_000, **likelihood, **noise)
        yield {**about.model_dump(mode="json"), "computed_by": metric, "order": 100 * place + number}


def hash_of(name: str) -> int:
    return sum(map(ord, name))


def ring(rng: np.random.Generator, width: float) -> torch.Tensor:
    angle = rng.integers(0, 8, 1_000) * math.pi / 4
    points = 4 * np.column_stack([np.cos(angle), np.sin(angle)]) + width * rng.standard_normal((1_000, 2))
    return torch.tensor(points, dtype=torch.float32)


def measured(path: Path) -> tuple[int, float, float]:
    """Rows, seconds and MiB of loading the results and writing the report, in a process of its own."""
    env = {**os.environ, "MPLBACKEND": "Agg"}
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows, seconds, mib = done.stdout.split()
    return int(rows), float(seconds), float(mib)


def test_the_report_of_ten_thousand_results(tmp_path: Path) -> None:
    cells = write(tmp_path / "run", large())
    rows, seconds, mib = measured(tmp_path / "run")
    size = (tmp_path / "run" / "report.html").stat().st_size / 2**20
    print(f"\n{rows:,} results of {cells} cells: {seconds:.1f} s, {mib:.0f} MiB of memory, a page of {size:.2f} MiB")
    assert rows > 10_000
    assert seconds < 10
    assert size < 3


if __name__ == "__main__":
    path = Path(sys.argv[1])
    print(write(path, large()), trilemma.load_results(path).shape)
