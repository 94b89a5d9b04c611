"""The denoising diffusion GAN and the plain GAN: their steps, networks, penalty, training and samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trilemma
from trilemma.harness.evaluation.cost import training_step_flops
from trilemma.plugins.diffusion.ode import ddim_step
from trilemma.plugins.gan.ddgan import Ddgan
from trilemma.plugins.gan.gan import Gan, GanUnet
from trilemma.plugins.gan.losses import discriminator_loss, generator_loss, with_squared_gradient
from trilemma.plugins.gan.networks import LevelwiseMLP, log_spaced, per_block
from trilemma.plugins.gan.unet import DdganUnet
from trilemma.plugins.metrics.modes import mode_statistics

IMAGE = (1, 8, 8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def context(shape: tuple[int, ...] = (2,), **fields: object) -> trilemma.Context:
    kind = "image" if len(shape) == 3 else "vector"
    info = trilemma.DataInfo(name="toy", kind=kind, shape=shape, n_train=2_000)  # type: ignore[arg-type]
    return trilemma.Context(info=info, device=torch.device("cpu"), generator=generator(3), **fields)  # type: ignore[arg-type]


def built(model: Ddgan, shape: tuple[int, ...] = (2,)) -> Ddgan:
    torch.manual_seed(0)
    model.build(context(shape).info)
    return model


def train(model: Ddgan, x: Tensor, steps: int) -> trilemma.Context:
    ctx = context(
        tuple(x.shape[1:]),
        clock=trilemma.Clock(trilemma.Budget(steps=steps)),
        recipe=model.recipe,
        valid=trilemma.Split(x),
    )
    model.fit(trilemma.Split(x), ctx)
    return ctx


# The diffusion


def test_levels_are_geometric_from_the_detail_to_the_start() -> None:
    four = built(Ddgan())
    torch.testing.assert_close(four.high, torch.tensor([0.0704, 0.31, 1.363, 6.0]).double(), atol=1e-3, rtol=0)
    assert torch.equal(four.low[1:], four.high[:-1])
    assert float(four.low[0]) == 0
    assert torch.equal(four.finest[1:], four.high[:-1])
    assert float(four.finest[0]) == pytest.approx(0.016)
    eight = built(Ddgan(Ddgan.Config(steps=8)))
    torch.testing.assert_close(eight.high[1::2], four.high)
    assert built(Ddgan(Ddgan.Config(steps=1))).high.tolist() == pytest.approx([6.0])


def test_pairs_have_the_covariance_of_the_diffusion() -> None:
    model, n = built(Ddgan()), 100_000
    x = torch.full((4 * n, 2), 0.5)
    x_t, x_next = (points.reshape(4, -1) for points in model.pairs(x, generator()))
    torch.testing.assert_close((x_t - 0.5).square().mean(1), (model.low**2).float(), rtol=0.02, atol=1e-9)
    torch.testing.assert_close((x_next - 0.5).square().mean(1), (model.high**2).float(), rtol=0.02, atol=0)
    shared = ((x_t - 0.5) * (x_next - 0.5)).mean(1) / (model.low * model.high).clamp(min=1e-9)
    torch.testing.assert_close(shared, (model.low / model.high), rtol=0.05, atol=0.01, check_dtype=False)


def test_step_draws_from_the_posterior() -> None:
    # (x_t, x_{t+1}) given x_0 is Gaussian with covariance [[s^2, s^2], [s^2, t^2]]; levels differ by row.
    n, clean, seen = 200_000, 0.4, 1.5
    low = torch.tensor([0.0, 0.3, 1.3], dtype=torch.float64).repeat_interleave(n)
    high = torch.tensor([0.07, 1.3, 6.0], dtype=torch.float64).repeat_interleave(n)
    x_next, x_0 = (torch.full((3 * n, 1), value, dtype=torch.float64) for value in (seen, clean))
    drawn = ddim_step(x_0, x_next, high, low, 1.0, generator()).reshape(3, n)
    for row, s, t in zip(drawn, (0.0, 0.3, 1.3), (0.07, 1.3, 6.0), strict=True):
        covariance = np.array([[s**2, s**2], [s**2, t**2]])
        mean = clean + covariance[0, 1] / covariance[1, 1] * (seen - clean)
        variance = covariance[0, 0] - covariance[0, 1] ** 2 / covariance[1, 1]
        assert float(row.mean()) == pytest.approx(mean, abs=0.01)
        assert float(row.var()) == pytest.approx(variance, rel=0.01, abs=1e-12)


class GaussianPosterior(nn.Module):
    """Draws x_0 given x_0 + s n for x_0 ~ N(0, C) exactly, by the latent; without it, the posterior mean."""

    def __init__(self, covariance: Tensor, sigmas: Tensor, noisy: bool) -> None:
        super().__init__()
        self.covariance, self.sigmas, self.noisy = covariance, sigmas, noisy

    def forward(self, x: Tensor, z: Tensor, at: slice) -> Tensor:
        (s,) = self.sigmas[at].float()
        gain = self.covariance @ torch.linalg.inv(self.covariance + s**2 * torch.eye(2))
        factor = torch.linalg.cholesky(self.covariance - gain @ self.covariance)
        drawn: Tensor = x @ gain.T + float(self.noisy) * z @ factor.T
        return drawn


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_chain_reproduces_the_distribution_under_the_exact_posterior_and_not_under_its_mean(steps: int) -> None:
    covariance = torch.tensor([[1.0, 0.8], [0.8, 1.0]])
    model, found = built(Ddgan(Ddgan.Config(steps=steps, latent=2))), []
    for noisy in (True, False):
        model.generator = GaussianPosterior(covariance, model.high, noisy)  # type: ignore[assignment]
        found.append(model.sample(60_000, context()).T.cov())
    torch.testing.assert_close(found[0], covariance, atol=0.025, rtol=0)
    assert float(found[1].det()) < 0.8 * float(covariance.det())


# Losses and penalty


def test_losses_are_the_cross_entropies_of_the_game() -> None:
    real, fake = torch.tensor([-2.0, 0.0, 3.0]), torch.tensor([1.0, -4.0, 0.5])
    by_hand = -(real.sigmoid().log() + (1 - fake.sigmoid()).log())
    torch.testing.assert_close(discriminator_loss(real, fake), by_hand)
    torch.testing.assert_close(generator_loss(fake), -fake.sigmoid().log())


def test_penalty_and_its_own_gradient_by_hand() -> None:
    # D(x) = a . sin(W x): its gradient is W^T (a cos(W x)), and d|grad|^2 / da = 2 cos(W x) * (W grad).
    weight, x = (torch.randn(shape, generator=generator(), dtype=torch.float64) for shape in ((3, 2), (5, 2)))
    a = torch.randn(3, generator=generator(1), dtype=torch.float64).requires_grad_()
    logits, squared = with_squared_gradient(lambda points: (points @ weight.T).sin() @ a, x)
    torch.testing.assert_close(logits, (x @ weight.T).sin() @ a)
    gradient = ((x @ weight.T).cos() * a) @ weight
    torch.testing.assert_close(squared, gradient.square().sum(1))
    (slope,) = torch.autograd.grad(squared.sum(), a)
    by_hand = 2 * ((x @ weight.T).cos() * (gradient @ weight.T)).sum(0)
    torch.testing.assert_close(slope, by_hand.detach())


def test_lazy_penalty_is_taken_now_and_then_at_equal_weight_in_all() -> None:
    every = {}
    for r1_every in (1, 2):
        model = built(Ddgan(Ddgan.Config(hidden=(16,), r1_every=r1_every)))
        clock, terms = trilemma.Clock(trilemma.Budget(steps=2)), []
        for _ in clock:
            ctx = context(clock=clock)
            terms.append(float(model.training_step(torch.ones(64, 2), ctx, lambda loss, group="all": None)["penalty"]))
        every[r1_every] = terms
    assert every[2] == pytest.approx([2 * every[1][0], 0.0])
    assert min(every[1]) > 0


def test_the_gradient_at_drawn_points_is_penalized_where_asked() -> None:
    found = {}
    for r2 in (False, True):
        model = built(Ddgan(Ddgan.Config(hidden=(16,), r2=r2)))
        found[r2] = model.training_step(torch.ones(64, 2), context(), lambda loss, group="all": None)
    torch.testing.assert_close(found[True]["fake_logit"], found[False]["fake_logit"])
    assert found[True]["penalty"] > 1.1 * found[False]["penalty"]


@pytest.mark.parametrize("step", [0, 7, 10])
def test_penalty_weighs_less_later(step: int) -> None:
    model = built(Ddgan(Ddgan.Config(hidden=(16,), r1=0.4, r1_final=0.1)))
    clock, losses = trilemma.Clock(trilemma.Budget(steps=10)), {}

    def update(loss: Tensor, group: str = "all") -> None:
        losses[group] = float(loss.detach())

    for _ in clock:
        if clock.step == step:
            break
    ctx = context(clock=clock)
    logs = model.training_step(torch.ones(64, 2), ctx, update)
    assert set(losses) == {"discriminator", "generator"}
    gamma = {0: 0.4, 7: 0.1, 10: 0.1}[step]
    silent = built(Ddgan(Ddgan.Config(hidden=(16,), r1=0.0)))
    bare = silent.training_step(torch.ones(64, 2), context(clock=clock), update)
    assert float(logs["loss"] - bare["loss"]) == pytest.approx(gamma * float(logs["penalty"]), rel=1e-3)


@pytest.mark.parametrize("kind", [Ddgan, DdganUnet])
def test_operations_of_a_training_step_can_be_counted(kind: type[Ddgan]) -> None:
    shape = IMAGE if kind is DdganUnet else (2,)
    model = built(kind(), shape)
    flops = training_step_flops(model, torch.randn((8, *shape)), context(shape))[0]
    # Every weight is used forward and backward by both players, at each of its rows.
    assert flops > 2 * sum(parameter.numel() for parameter in model.parameters())


# Networks


def test_blocks_of_rows_go_through_networks_of_their_own() -> None:
    torch.manual_seed(0)
    network, x = LevelwiseMLP(3, (2, 8, 8, 2)), torch.randn(3, 5, 2)
    together = network(x, slice(None))
    for level in range(3):
        torch.testing.assert_close(together[level : level + 1], network(x[level : level + 1], slice(level, level + 1)))
    assert not torch.allclose(network(x[:1], slice(0, 1)), network(x[:1], slice(1, 2)))


@pytest.mark.parametrize("kind", [Ddgan, DdganUnet])
def test_generator_gives_the_same_at_one_level_and_at_all(kind: type[Ddgan]) -> None:
    shape = IMAGE if kind is DdganUnet else (2,)
    model = built(kind(), shape)
    x, z = torch.randn((12, *shape)), torch.randn((12, 4, *shape[1:]))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    with torch.no_grad():
        together = model.generator(x, z, slice(None))
        for level in range(4):
            rows = slice(3 * level, 3 * level + 3)
            alone = model.generator(x[rows], z[rows], slice(level, level + 1))
            torch.testing.assert_close(together[rows], alone, rtol=1e-3, atol=1e-4)


def test_frequencies_and_blocks() -> None:
    table = log_spaced(torch.tensor([1.0, 2.0]), torch.tensor([8.0, 2.0]), 4)
    torch.testing.assert_close(table, torch.tensor([[1.0, 2.0, 4.0, 8.0], [2.0, 2.0, 2.0, 2.0]]))
    assert per_block(torch.tensor([1.0, 2.0]), torch.zeros(4, 3)).flatten().tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (Ddgan, (2,)),
        (Gan, (2,)),
        (DdganUnet, IMAGE),
        (GanUnet, IMAGE),
        (DdganUnet, (3, 32, 32)),
        (GanUnet, (3, 12, 16)),
    ],
)
def test_discriminator_of_the_plain_gan_sees_data_alone(kind: type[Ddgan], shape: tuple[int, ...]) -> None:
    model = built(kind(), shape)
    x, one, other = (torch.randn((8, *shape), generator=generator(seed)) for seed in range(3))
    changed = not torch.allclose(model.discriminator(x, one), model.discriminator(x, other))
    assert model.discriminator(x, one).shape == (8,)
    assert changed == kind.conditional == kind.name.startswith("ddgan")


@pytest.mark.parametrize("kind", [Ddgan, DdganUnet, Gan, GanUnet])
def test_a_new_discriminator_tells_points_apart_at_every_level(kind: type[Ddgan]) -> None:
    # Logits that hardly depend on the point give the generator no slope to follow.
    shape = IMAGE if "image" in kind.accepts else (2,)
    model = built(kind(), shape)
    x_t, x_next = model.pairs(torch.randn((400, *shape), generator=generator()), generator(1))
    spread = model.discriminator(x_t, x_next).detach().reshape(len(model.high), -1).std(1)
    assert 0.1 < float(spread.min()) <= float(spread.max()) < 2


# Sampling and training


@pytest.mark.parametrize(
    ("model", "evaluations"),
    [(Ddgan(), 4), (Ddgan(Ddgan.Config(steps=2)), 2), (Gan(), 1), (DdganUnet(), 4), (GanUnet(), 1)],
)
def test_a_sample_costs_one_evaluation_a_step(model: Ddgan, evaluations: int) -> None:
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


def test_there_is_no_loss_to_keep_weights_by() -> None:
    for model in (Ddgan(), GanUnet()):
        with pytest.raises(trilemma.UnsupportedError, match="validations"):
            model.validation_loss(torch.zeros(2, 2), context())


ANGLES = torch.arange(8) * math.pi / 4
SCALE = 1.428
CENTERS = 2 * torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1) / SCALE
SPREAD = 0.2 / SCALE


def ring(n: int, seed: int) -> Tensor:
    """Eight Gaussians (radius 2, sigma .2), standardized."""
    noise = SPREAD * torch.randn((n, 2), generator=generator(seed))
    return CENTERS[torch.randint(8, (n,), generator=generator(seed + 50))] + noise


def statistics(model: Ddgan) -> dict[str, float]:
    return mode_statistics(
        generated=model.sample(20_000, context()).double().numpy(),
        centers=CENTERS.double().numpy(),
        weights=np.full(8, 1 / 8),
        covariances=np.tile(SPREAD**2 * np.eye(2), (8, 1, 1)),
    )


def test_training_on_the_ring_improves_and_leaves_its_curves() -> None:
    model = Ddgan(Ddgan.Config(hidden=(64, 64)))
    ctx = train(model, ring(20_000, 1), 700)
    found = statistics(model)
    untrained = statistics(built(Ddgan(Ddgan.Config(hidden=(64, 64)))))
    assert found["modes_covered"] == 8
    assert found["within_3_sigma"] > 0.75 > untrained["within_3_sigma"]
    assert found["mode_mass_kl"] < 0.06
    lengths = {len(values) for values in ctx.curves.values()}
    assert len(lengths) == 1
    assert set(ctx.curves) == {"step", "loss", "generator_loss", "real_logit", "fake_logit", "penalty", "spread"}
    assert 0.7 < ctx.curves["spread"][-1] < 1.2


@pytest.mark.slow
def test_the_ring_is_reached_in_half_a_minute() -> None:
    model = Ddgan()
    train(model, ring(50_000, 1), 5_500)
    found = statistics(model)
    assert found["modes_covered"] == 8
    assert found["within_3_sigma"] > 0.94
    assert found["mode_mass_kl"] < 0.006
    assert 0.88 < found["mode_spread"] < 1.03


@pytest.mark.parametrize("kind", [DdganUnet, GanUnet])
def test_images_train(kind: type[Ddgan]) -> None:
    model = kind()
    x = torch.randn((64, *IMAGE), generator=generator())
    ctx = train(model, x, 3)
    assert torch.isfinite(model.sample(2, context(IMAGE))).all()
    assert ctx.curves["generator_loss"]
