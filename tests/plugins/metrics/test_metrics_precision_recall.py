"""Precision, recall, density and coverage, by definition and against the prdc package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trilemma.plugins.metrics.precision_recall import precision_recall

Array = NDArray[np.float64]
Clouds = Callable[..., tuple[Array, Array]]


def test_precision_recall_by_definition(known: Any) -> None:
    rng = np.random.default_rng(9)
    real, generated, k = known.mixture(rng, 700), known.mixture(rng, 700, scale=0.8), 4

    def distances(a: Array, b: Array) -> Array:
        return np.linalg.norm(a[:, None] - b[None], axis=-1)

    real_radii, model_radii = (np.sort(distances(a, a), axis=1)[:, k] for a in (real, generated))
    cross = distances(real, generated)
    assert precision_recall(real=real, generated=generated, k=k) == pytest.approx(
        {
            "precision": (cross < real_radii[:, None]).any(0).mean(),
            "recall": (cross < model_radii[None]).any(1).mean(),
            "density": (cross < real_radii[:, None]).sum(0).mean() / k,
            "coverage": (cross.min(1) < real_radii).mean(),
        }
    )


def test_precision_recall_equals_the_prdc_package(clouds: Clouds) -> None:
    prdc = pytest.importorskip("prdc")
    real, generated = clouds(400, 4)
    peer = prdc.compute_prdc(real_features=real, fake_features=generated, nearest_k=5)
    assert precision_recall(real=real, generated=generated, k=5) == pytest.approx(
        {k: float(v) for k, v in peer.items()}
    )
