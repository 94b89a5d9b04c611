"""A synthetic run that looks like a real one: two datasets, seven models, five controls, two seeds, some failures."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import trilemma
from trilemma.harness.plugins import Registry

METRICS = list(Registry(builtin_only=True).classes("metrics").values())

CARDS: dict[str, dict[str, Any]] = {
    "ring8": {
        "name": "ring", "title": "Eight Gaussians on a ring", "kind": "vector", "shape": [2], "n_train": 20_000,
        "n_valid": 5_000, "n_test": 10_000, "source": "synthetic", "license": "CC0-1.0", "entropy": 1.5304,
        "entropy_error": 0.0008, "sha256": "9f2c5a7be0d14c55a1b2" + "0" * 44, "parameters": {"modes": 8},
    },
    "digits": {
        "name": "digits", "title": "Handwritten digits, 8 x 8", "kind": "image", "shape": [1, 8, 8], "levels": 17,
        "n_train": 1_200, "n_valid": 300, "n_test": 297, "source": "UCI optdigits", "license": "CC-BY-4.0",
        "citation": "Alpaydin and Kaynak (1998)", "sha256": "41d7c0ffee" + "1" * 54,
    },
}  # fmt: skip
ENVIRONMENT: dict[str, Any] = {
    "versions": {"trilemma": "0.1.0", "torch": "2.9.1", "numpy": "2.3.4", "python": "3.11.9"},
    "cpu": "AMD EPYC 7763", "gpus": [], "threads": 1, "platform": "Linux-6.1-x86_64", "git": {"commit": "a1b2c3d"},
}  # fmt: skip
SUITE: dict[str, Any] = {"name": "first look", "seeds": [0, 1, 2], "budget": {"seconds": 60}, "device": "cpu"}

# label -> (kind, {sampler: (nfe, w2 factor)}, nll gap, generalization gap, seconds per 1k at one evaluation)
MODELS: dict[str, tuple[str, dict[str, tuple[float, float]], float, float, float]] = {
    "spline": ("exact", {"direct": (1, 1.15)}, 0.021, 0.004, 0.011),
    "realnvp(transforms=8)": ("exact", {"direct": (1, 2.1)}, 0.118, 0.009, 0.006),
    "edm": ("ode", {f"heun(steps={n})": (2 * n - 1, 1.06 + 14 / n**1.7) for n in (4, 8, 18, 40)}, 0.034, 0.03, 0.004),
    "score-sde-vp": (
        "ode",
        {f"predictor-corrector(steps={n})": (2 * n, 1.12 + 90 / n**1.3) for n in (50, 200, 500)}
        | {f"ode(steps={n})": (n, 1.2 + 16 / n) for n in (10, 30, 100)},
        0.052, 0.02, 0.0041,
    ),
    "ddpm": ("bound", {f"ddim(steps={n})": (n, 1.3 + 30 / n**1.2) for n in (10, 50, 250)}, 0.31, 0.05, 0.0042),
    "ddgan": ("none", {"direct(steps=4)": (4, 1.9)}, math.nan, math.nan, 0.007),
    "cold-diffusion": ("none", {"algorithm-2": (20, 4.6)}, math.nan, math.nan, 0.004),
}  # fmt: skip
CONTROLS: dict[str, tuple[str, float, float, float]] = {
    "oracle": ("exact", 1.0, 0.0, 0.0),
    "memorizer": ("none", 1.02, math.nan, math.nan),
    "gaussian": ("exact", 9.5, 1.31, 0.0),
    "gmm(components=10)": ("exact", 1.3, 0.06, 0.01),
    "kde": ("exact", 1.25, 0.09, 0.4),
}
FLOORS = {"ring8": 0.0503, "digits": 1.408}


QUANTITIES = {quantity.name: quantity for metric in METRICS for quantity in metric.quantities}


def synthetic_frame(seeds: tuple[int, ...] = (0, 1, 2)) -> pd.DataFrame:
    """The long frame of the synthetic run."""
    return _frame(seeds).copy()


@cache
def _frame(seeds: tuple[int, ...]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for dataset, floor in FLOORS.items():
        for seed in seeds:
            for label, (kind, samplers, gap, overfit, pace) in MODELS.items():
                cell = _cell(label, dataset, seed, control=False)
                if dataset == "digits" and label == "realnvp(transforms=8)":
                    rows.append(_failure(cell, "diverged", "training", 3.2, "loss is NaN at step 214"))
                    continue
                if dataset == "digits" and label == "ddgan" and seed == 1:
                    message = "memory limit of 2 GiB passed by networks <generator> & <discriminator>"
                    rows.append(_failure(cell, "out-of-memory", "training", 41.7, message))
                    continue
                stretch = 1 if dataset == "ring8" else 0.25
                rows += _density(cell, kind, gap * (1 if dataset == "ring8" else 9), overfit, dataset, rng)
                for sampler, (nfe, factor) in samplers.items():
                    if dataset == "ring8" and sampler == "ddim(steps=10)":
                        rows.append(
                            _failure({**cell, "sampler": sampler}, "diverged", "sampling", 1.1, "3 samples NaN")
                        )
                        continue
                    w2 = floor * (1 + (factor - 1) * stretch) * (1 + 0.03 * rng.standard_normal())
                    rows += _sampling(cell, sampler, nfe, w2, floor, pace * max(nfe, 1), label == "ddpm", rng)
            for label, (kind, factor, gap, overfit) in CONTROLS.items():
                cell = _cell(label, dataset, seed, control=True)
                if dataset == "digits" and label == "oracle":
                    kind = "none"
                if dataset == "digits" and label == "gaussian":
                    factor = 3.1
                rows += _density(cell, kind, gap, overfit, dataset, rng)
                w2 = floor * factor * (1 + 0.03 * rng.standard_normal())
                rows += _sampling(cell, "direct", math.nan, w2, floor, 0.0004, False, rng)
    return pd.DataFrame([{**row, **_about(row)} for row in rows])


def _about(row: dict[str, Any]) -> dict[str, Any]:
    """What the built-in metrics say of a number, as for points of few coordinates."""
    quantity = QUANTITIES.get(row["metric"])
    if quantity is None:
        return {}
    place = "more" if row["metric"] == "nll" and row["dataset_id"] == "ring8" else quantity.place
    said = quantity.result(1.0, 2, place=place).model_dump(include={"title", "group", "place", "ranks", "least"})
    return {**said, "unit": row.get("unit") if quantity.unit else ""}


def _cell(label: str, dataset: str, seed: int, control: bool) -> dict[str, Any]:
    model = label.split("(")[0]
    return {
        "cell": f"{label}-{dataset}-{seed}", "evaluation": None, "model": model, "label": label, "control": control,
        "plugin": "trilemma", "plugin_version": "0.1.0", "config": "{}", "dataset": CARDS[dataset]["name"],
        "dataset_id": dataset, "seed": seed, "budget": "60 s", "device": "cpu", "steps": 2_000, "sampler": None,
        "nfe": math.nan, "outcome": "ok", "phase": None, "elapsed": 63.0, "message": None, "details": "{}",
    }  # fmt: skip


def _failure(cell: dict[str, Any], outcome: str, phase: str, elapsed: float, message: str) -> dict[str, Any]:
    ended = {"outcome": outcome, "phase": phase, "elapsed": elapsed, "message": message}
    return {**cell, **ended, "metric": None, "value": math.nan}


def _density(
    cell: dict[str, Any], kind: str, gap: float, overfit: float, dataset: str, rng: np.random.Generator
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    if kind == "none":
        rows.append(_failure(cell, "unsupported", "nll", 0.0, f"model '{cell['model']}' has no likelihood"))
    else:
        value = gap + 0.004 * rng.standard_normal()
        unit, entropy = ("nats", 1.5304) if dataset == "ring8" else ("bits/dim", 1.7)
        shrink = 1 if dataset == "ring8" else 1 / 4
        names = {"nll": entropy + value * shrink}
        if dataset == "ring8":
            names["nll_gap"] = value
        names["generalization_gap"] = overfit + 0.002 * rng.standard_normal()
        rows += [
            {**cell, "metric": name, "value": number, "unit": unit, "better": "lower", "ci_low": number - 0.006,
             "ci_high": number + 0.006, "n": 10_000, "likelihood": kind,
             "details": json.dumps({"memorizes": name == "generalization_gap" and number > 0.1})}
            for name, number in names.items()
        ]  # fmt: skip
    costs = {"train_seconds": (60.2, "s"), "train_steps": (2000, ""), "train_peak_memory": (391.0, "MiB"),
             "parameters": (132_354, "")}  # fmt: skip
    if not cell["control"]:
        rows += [
            {**cell, "metric": name, "value": v, "unit": unit, "better": "lower"} for name, (v, unit) in costs.items()
        ]
    return rows


def _sampling(
    cell: dict[str, Any],
    sampler: str,
    nfe: float,
    w2: float,
    floor: float,
    seconds: float,
    contended: bool,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    base = {**cell, "sampler": sampler, "evaluation": f"{cell['cell']}-{sampler}", "nfe": nfe, "better": "lower"}
    half = 0.025 * w2
    timing = {"details": json.dumps({"contended": contended})}
    rows = [
        {
            **base,
            "metric": "w2",
            "value": w2,
            "ci_low": w2 - half,
            "ci_high": w2 + half,
            "floor": floor,
            "n": 5_000,
            "unit": "data units",
            "details": json.dumps(
                {
                    "floor_ci": [0.97 * floor, 1.03 * floor],
                }
            ),
        },
        {
            **base,
            "metric": "w2_excess",
            "value": w2 - floor,
            "ci_low": w2 - floor - half,
            "ci_high": w2 - floor + half,
            "unit": "data units^2",
        },
        {**base, **timing, "metric": "seconds_per_1k", "value": seconds * (1 + 0.02 * rng.random()), "unit": "s"},
        {**base, **timing, "metric": "latency_p50", "value": 1.1 * max(1.0, nfe or 1), "unit": "ms"},
        {**base, **timing, "metric": "latency_p90", "value": 1.3 * max(1.0, nfe or 1), "unit": "ms"},
        {**base, "metric": "peak_memory", "value": 343.0, "unit": "MiB"},
    ]
    if math.isfinite(nfe):
        rows += [
            {**base, "metric": "nfe", "value": nfe, "unit": "evaluations/sample"},
            {**base, "metric": "flops_per_sample", "value": 2.6e5 * nfe, "unit": "FLOP"},
        ]
    return rows


def ring(n: int, width: float, rng: np.random.Generator) -> np.ndarray:
    """Draws of eight Gaussians on a circle of radius 4."""
    angle = rng.integers(0, 8, n) * math.pi / 4
    return 4 * np.column_stack([np.cos(angle), np.sin(angle)]) + width * rng.standard_normal((n, 2))


class SyntheticView(trilemma.RunView):
    """A view that makes its arrays up instead of reading a store."""

    def samples(self, evaluation: str) -> np.ndarray | None:
        """Ring or digits, the worse the longer the name of the evaluation."""
        rng = np.random.default_rng(len(evaluation))
        if "digits" in evaluation:
            return self._digits(rng, 0.02 * (len(evaluation) % 12))
        return ring(2_000, 0.25 + 0.03 * (len(evaluation) % 17), rng)

    def curves(self, cell: str) -> dict[str, list[float]]:
        """A loss that falls, and a validation loss that rises again."""
        if cell.startswith(tuple(CONTROLS)):
            return {}
        x = np.linspace(0.1, 1, 150)
        loss = 1 / x + 0.05 * np.random.default_rng(len(cell)).standard_normal(150)
        late = np.linspace(0.1, 1, 10)
        return {
            "step": (2_000 * x).round().tolist(),
            "loss": loss.tolist(),
            "validation_step": (2_000 * late).round().tolist(),
            "validation": (0.1 + 1 / late + late**4).tolist(),
        }

    def log_tail(self, cell: str) -> str:
        """Two made-up lines."""
        return f"step 200 loss 3.1\nstep 210 loss 1.2e+09 in <{cell}>"

    def data(self, dataset: str) -> np.ndarray | None:
        """Test points."""
        rng = np.random.default_rng(1)
        return self._digits(rng, 0.0) if dataset == "digits" else ring(2_000, 0.25, rng)

    def _digits(self, rng: np.random.Generator, noise: float) -> np.ndarray:
        from sklearn.datasets import load_digits

        images = load_digits().images[rng.permutation(1_700)[:100]][:, None]
        return np.clip(np.round(images + 16 * noise * rng.standard_normal(images.shape)), 0, 16).astype(np.uint8)


def synthetic_view(path: Path, frame: pd.DataFrame | None = None) -> SyntheticView:
    """A view of the synthetic run, or of another frame with the same cards."""
    frame = synthetic_frame() if frame is None else frame
    return SyntheticView(path=path, frame=frame, suite=SUITE, environment=ENVIRONMENT, cards=CARDS)
