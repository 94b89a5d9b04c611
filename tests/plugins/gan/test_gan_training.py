"""Adversarial models in training, and their samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trilemma
from trilemma.plugins.gan.ddgan import Ddgan, DdganUnet
from trilemma.plugins.gan.game import AdversarialModel
from trilemma.plugins.gan.gan import Gan, GanUnet
from trilemma.plugins.metrics.modes import mode_statistics

IMAGE = (1, 8, 8)


@pytest.mark.parametrize(
    ("model", "evaluations"),
    [(Ddgan(), 4), (Ddgan(Ddgan.Config(steps=2)), 2), (Gan(), 1), (DdganUnet(), 4), (GanUnet(), 1)],
)
def test_a_sample_costs_one_evaluation_a_step(
    model: AdversarialModel,
    evaluations: int,
    context: Callable[..., trilemma.Context],
    built: Callable[..., AdversarialModel],
) -> None:
    shape = IMAGE if "image" in model.accepts else (2,)
    built(model, shape)
    rows = 0

    def count(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal rows
        rows += len(args[0])

    (network,) = model.networks()
    network.register_forward_pre_hook(count)
    assert model.sample(3, context(shape)).shape == (3, *shape)
    assert rows == 3 * evaluations


ANGLES = torch.arange(8) * math.pi / 4


SCALE = 1.428


CENTERS = 2 * torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1) / SCALE


SPREAD = 0.2 / SCALE


def ring(n: int, seed: int) -> Tensor:
    """Eight Gaussians (radius 2, sigma .2), standardized."""
    noise = SPREAD * torch.randn((n, 2), generator=torch.Generator().manual_seed(seed))
    return CENTERS[torch.randint(8, (n,), generator=torch.Generator().manual_seed(seed + 50))] + noise


def statistics(model: AdversarialModel, ctx: trilemma.Context) -> dict[str, float]:
    return mode_statistics(
        generated=model.sample(20_000, ctx).double().numpy(),
        centers=CENTERS.double().numpy(),
        weights=np.full(8, 1 / 8),
        covariances=np.tile(SPREAD**2 * np.eye(2), (8, 1, 1)),
    )


def test_training_on_the_ring_improves_and_leaves_its_curves(
    context: Callable[..., trilemma.Context],
    built: Callable[..., AdversarialModel],
    train: Callable[..., trilemma.Context],
) -> None:
    model = Ddgan(Ddgan.Config(hidden=(64, 64)))
    ctx = train(model, ring(20_000, 1), 700)
    found = statistics(model, context())
    untrained = statistics(built(Ddgan(Ddgan.Config(hidden=(64, 64)))), context())
    assert found["modes_covered"] == 8
    assert found["within_3_sigma"] > 0.75 > untrained["within_3_sigma"]
    assert found["mode_mass_kl"] < 0.06
    lengths = {len(values) for values in ctx.curves.values()}
    assert len(lengths) == 1
    assert set(ctx.curves) == {"step", "loss", "generator_loss", "real_logit", "fake_logit", "penalty", "diversity"}
    assert 0.7 < ctx.curves["diversity"][-1] < 1.2


def test_training_without_a_latent_draws_a_function_of_the_noised_point(
    context: Callable[..., trilemma.Context], train: Callable[..., trilemma.Context]
) -> None:
    model = Ddgan(Ddgan.Config(hidden=(16, 16), latent=0))
    train(model, ring(500, 1), 3)
    noised = torch.randn((40, 2))  # ten points for each of the four steps
    drawn = [model.game.draw_clean(noised, slice(None), torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    assert torch.equal(*drawn)
    assert torch.isfinite(model.sample(5, context())).all()


@pytest.mark.slow
def test_the_ring_is_reached_in_half_a_minute(
    context: Callable[..., trilemma.Context], train: Callable[..., trilemma.Context]
) -> None:
    model = Ddgan()
    train(model, ring(50_000, 1), 5_500)
    found = statistics(model, context())
    assert found["modes_covered"] == 8
    assert found["within_3_sigma"] > 0.94
    assert found["mode_mass_kl"] < 0.006
    assert 0.88 < found["mode_spread"] < 1.03


@pytest.mark.parametrize("kind", [DdganUnet, GanUnet])
def test_images_train(
    kind: type[AdversarialModel],
    generator: Callable[..., torch.Generator],
    context: Callable[..., trilemma.Context],
    train: Callable[..., trilemma.Context],
) -> None:
    model = kind()
    x = torch.randn((64, *IMAGE), generator=generator())
    ctx = train(model, x, 3)
    assert torch.isfinite(model.sample(2, context(IMAGE))).all()
    assert ctx.curves["generator_loss"]
