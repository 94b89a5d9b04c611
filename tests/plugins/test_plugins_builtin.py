"""The plugin module: what it registers, how light it is, and how well its neural models train in seconds."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.harness.plugins import Registry


def test_models_are_registered_under_distinct_names() -> None:
    models = list(Registry(builtin_only=True).classes("models").values())
    names = [model.name for model in models]
    assert {"oracle", "memorizer", "gaussian", "gmm", "kde", "realnvp", "vp-sde"} <= set(names)
    assert len(set(names)) == len(names)
    for model in models:
        assert issubclass(model, trilemma.Model)
        assert model.__doc__
        assert all(field.description for field in model.Config.model_fields.values())
        assert all(field.description for field in model.Likelihood.model_fields.values())
        assert all(field.description for sampler in model.samplers for field in sampler.model_fields.values())


def test_the_plugin_module_is_light() -> None:
    code = "import sys; import trilemma.plugins.builtin; sys.exit(any(m in sys.modules for m in ('torch', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


ANGLES = torch.arange(8) * math.pi / 4
SCALE = 1.428  # standard deviation of a coordinate of the ring: sqrt(2^2 / 2 + .2^2)
CENTERS = 2 * torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1) / SCALE


def ring(n: int, seed: int) -> Tensor:
    """Eight Gaussians (radius 2, sigma .2), standardized."""
    generator = torch.Generator().manual_seed(seed)
    noise = 0.2 / SCALE * torch.randn((n, 2), generator=generator)
    return CENTERS[torch.randint(8, (n,), generator=generator)] + noise


def ring_log_prob(x: Tensor) -> Tensor:
    variance = (0.2 / SCALE) ** 2
    squared = torch.cdist(x.double(), CENTERS.double()).square()
    return torch.logsumexp(-squared / (2 * variance), dim=1) - math.log(8 * 2 * math.pi * variance)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "steps", "gap"), [("realnvp", 2_000, 0.2), ("vp-sde", 4_500, 0.1)])
def test_training_on_the_ring_comes_close_to_the_entropy(name: str, steps: int, gap: float) -> None:
    kind = Registry(builtin_only=True).get("models", name)
    assert issubclass(kind, trilemma.NeuralModel)
    model, x = kind(), ring(3_000, 3)
    ctx = trilemma.Context(
        info=trilemma.DataInfo(name="ring8", kind="vector", shape=(2,), n_train=50_000),
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(0),
        likelihood=kind.Likelihood(),
        recipe=kind.recipe,
        valid=trilemma.Split(ring(2_000, 2)),
        clock=trilemma.Clock(trilemma.Budget(steps=steps)),
    )
    model.fit(trilemma.Split(ring(50_000, 1)), ctx)
    assert -0.01 < float((ring_log_prob(x) - model.log_prob(x, ctx)).mean()) < gap
