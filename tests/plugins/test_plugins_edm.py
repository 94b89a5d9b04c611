"""EDM: its loss, its training on vectors and images, and the denoiser that knows the levels of images."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

import trilemma
from trilemma.plugins.diffusion.denoiser import Preconditioned
from trilemma.plugins.diffusion.edm import Edm, EdmUnet, edm_loss, stable_target
from trilemma.plugins.diffusion.level_head import LevelDenoiser, box_posterior_mean, log_boxes
from trilemma.plugins.diffusion.ode_samplers import DpmSolver2M, Heun
from trilemma.plugins.networks.unet import UNet

SPREAD = 0.3
STRIPES = (-2 / 1.15, 2 / 1.15)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def context(model: type[trilemma.Model], shape: tuple[int, ...] = (2,), **fields: object) -> trilemma.Context:
    levels = 4 if len(shape) == 3 else None
    kind = "image" if levels else "vector"
    info = trilemma.DataInfo(name="toy", kind=kind, shape=shape, n_train=2_000, levels=levels, support=STRIPES)  # type: ignore[arg-type]
    fields.setdefault("likelihood", model.Likelihood())
    return trilemma.Context(info=info, device=torch.device("cpu"), generator=generator(), **fields)  # type: ignore[arg-type]


def corners(n: int, seed: int) -> Tensor:
    """Four Gaussians at (+-1, +-1)."""
    signs = 2.0 * torch.randint(0, 2, (n, 2), generator=generator(seed)) - 1
    return signs + SPREAD * torch.randn((n, 2), generator=generator(seed + 100))


def corners_log_prob(x: Tensor) -> Tensor:
    one = torch.logaddexp(-0.5 * ((x - 1) / SPREAD) ** 2, -0.5 * ((x + 1) / SPREAD) ** 2)
    return one.sum(1) - 2 * math.log(2 * SPREAD * math.sqrt(2 * math.pi))


@pytest.fixture(scope="module")
def trained() -> Edm:
    model = Edm(Edm.Config(hidden=(64, 64)))
    recipe = Edm.recipe.model_copy(update={"batch_size": 256})
    clock = trilemma.Clock(trilemma.Budget(steps=2_000))
    model.fit(trilemma.Split(corners(5_000, 1)), context(Edm, clock=clock, recipe=recipe))
    return model


def test_loss_is_one_for_unit_normal_data_before_training() -> None:
    # F = 0 is the exact denoiser then, whose weighted error is 1 at every noise level.
    class Silent(nn.Module):
        def forward(self, x: Tensor, label: Tensor) -> Tensor:
            return torch.zeros_like(x)

    x = torch.randn((40_000, 2), generator=generator())
    assert float(edm_loss(Preconditioned(Silent()), x, -0.8, 1.6, generator())) == pytest.approx(1, abs=0.02)


def test_stable_targets_are_posterior_means_of_the_batch() -> None:
    x, sigma = corners(50, 7).double(), torch.linspace(0.05, 2, 50).double()
    noised = x + sigma[:, None] * torch.randn((50, 2), generator=generator(), dtype=torch.float64)
    for i in (0, 20, 49):
        distribution = torch.distributions.MultivariateNormal(noised[i], sigma[i] ** 2 * torch.eye(2).double())
        weights = distribution.log_prob(x).exp()
        expected = (weights[:, None] * x).sum(0) / weights.sum()
        assert torch.allclose(stable_target(x, noised, sigma)[i], expected)


def test_stable_targets_are_for_plenty_of_points() -> None:
    for n_train, expected in ((2_000, True), (150, False)):
        model = Edm()
        model.build(dataclasses.replace(context(Edm).info, n_train=n_train))
        assert model.stable_targets is expected


def test_stable_targets_train_towards_the_same_denoiser() -> None:
    # The gradient in the denoiser's output is the same in the mean, up to the finite batch: compare at F = a x.
    x = torch.randn((4_000, 2), generator=generator())
    slope = torch.tensor(0.3, requires_grad=True)
    found = []
    for stable in (False, True):
        loss = edm_loss(lambda y, s: slope * y, x, -0.8, 1.2, generator(3), stable=stable)
        found.append(float(torch.autograd.grad(loss, slope)[0]))
    assert found[1] == pytest.approx(found[0], rel=0.1)


def test_training_reaches_the_distribution(trained: Edm) -> None:
    x = corners(2_000, 3)
    ratio = trained.log_prob(x, context(Edm)) - corners_log_prob(x)
    assert ratio.exp().mean() == pytest.approx(1, abs=0.03)
    assert -0.02 < -ratio.mean() < 0.06


def test_bound_is_not_above_the_ode_likelihood(trained: Edm) -> None:
    ctx = context(Edm, likelihood=Edm.Likelihood(bound_draws=20))
    trained.log_prob(corners(3_000, 4), ctx)
    assert -0.02 < ctx.details["bound_excess"] < 0.2


def test_samples_follow_the_distribution(trained: Edm) -> None:
    for sampler in (Heun(), DpmSolver2M(steps=15)):
        x = trained.sample(4_000, context(Edm, sampler=sampler))
        torch.testing.assert_close((x > 0).float().mean(0), torch.full((2,), 0.5), atol=0.05, rtol=0)
        torch.testing.assert_close(x.abs().mean(0), torch.ones(2), atol=0.05, rtol=0)
        torch.testing.assert_close(x.abs().std(0), torch.full((2,), SPREAD), atol=0.06, rtol=0)


# Levels

EDGES = torch.tensor([-1.0, -0.4, 0.2, 0.8, 1.4], dtype=torch.float64)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 2.0, 40.0])
def test_posterior_mean_agrees_with_quadrature(sigma: float) -> None:
    x = torch.linspace(-1.0, 1.4, 9, dtype=torch.float64)
    logits = torch.randn((9, 4), generator=generator(), dtype=torch.float64)
    found = box_posterior_mean(x, torch.tensor(sigma).double(), logits, EDGES)
    y = -1.0 + 2.4 * (torch.arange(48_000, dtype=torch.float64) + 0.5) / 48_000
    level = torch.bucketize(y, EDGES[1:-1])
    for i in range(9):
        weight = logits[i].softmax(0)[level] * (-0.5 * ((x[i] - y) / sigma) ** 2).exp()
        assert float(found[i]) == pytest.approx(float((weight * y).sum() / weight.sum()), abs=2e-4)


def test_log_box_is_accurate_in_both_tails() -> None:
    edges = torch.tensor([-40.0, -35.0, -1.0, 0.0, 2.0, 35.0, 40.0], dtype=torch.float64)
    found = log_boxes(edges)
    # The mass beyond 40 is nothing beside that beyond 35.
    assert float(found[-1]) == pytest.approx(float(torch.special.log_ndtr(torch.tensor(-35.0).double())), abs=1e-9)
    assert float(found[2]) == pytest.approx(math.log(0.3413447460685429))
    assert float(found[3]) == pytest.approx(math.log(0.4772498680518208))
    torch.testing.assert_close(found, log_boxes(-edges.flip(0)).flip(0))


@pytest.mark.parametrize("sigma", [0.002, 0.1, 40.0])
def test_level_denoiser_is_finite_with_gradients_everywhere(sigma: float) -> None:
    denoiser = LevelDenoiser(UNet((1, 8, 8), 4), 4, (-1.0, 1.4))
    x = (10 * torch.randn((6, 1, 8, 8), generator=generator())).requires_grad_()
    value = denoiser(x, torch.tensor(sigma))
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert torch.isfinite(value).all()
    assert torch.isfinite(gradient).all()
    assert value.min() >= denoiser.edges[0] - 1e-6
    assert value.max() <= denoiser.edges[-1] + 1e-6


@pytest.mark.parametrize("sigma", [0.01, 0.3, 2.0])
def test_level_denoiser_takes_noisy_points_where_they_are(sigma: float) -> None:
    # Half of the points of a distribution at an end of the support are outside it once they have noise. The network
    # starts at 0.
    denoiser = LevelDenoiser(UNet((1, 8, 8), 4), 4, (-1.0, 1.4))
    beyond = sigma * torch.linspace(0, 5, 32)
    x = torch.cat([-1.0 - beyond, 1.4 + beyond]).reshape(1, 1, 8, 8)
    found = denoiser(x, torch.tensor(sigma)).flatten().double()
    y = torch.linspace(-1.0, 1.4, 120_001, dtype=torch.float64)
    weight = (-0.5 * ((x.double().reshape(-1, 1) - y) / sigma) ** 2).softmax(1)
    torch.testing.assert_close(found, weight @ y, atol=1e-4, rtol=0)


def test_calibration_finds_the_histogram() -> None:
    level = torch.randint(0, 4, (20_000, 1, 2, 2), generator=generator())
    level[:10_000] = level[:10_000].clamp(min=1)
    u = torch.rand(level.shape, generator=generator(1))
    denoiser = LevelDenoiser(nn.Identity(), 4, (-1.0, 1.4))
    denoiser.calibrate((level + u) * 0.6 - 1)
    torch.testing.assert_close(denoiser.bias.exp(), torch.tensor([1.0, 3.0, 2.0, 2.0]) / 8, atol=0.01, rtol=0)


@pytest.mark.parametrize("sigma", [0.002, 0.1])
def test_points_on_the_edges_of_boxes_have_finite_gradients(sigma: float) -> None:
    x = EDGES.clone().requires_grad_()
    value = box_posterior_mean(x, torch.tensor(sigma).double(), torch.zeros((5, 4)).double(), EDGES)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert torch.isfinite(gradient).all()


# Images


def stripes(n: int, seed: int) -> Tensor:
    """8 x 8 images whose rows are dark or bright, in four levels of model space."""
    level = torch.randint(0, 4, (n, 1, 8, 1), generator=generator(seed)).expand(n, 1, 8, 8)
    return (level + torch.rand((n, 1, 8, 8), generator=generator(seed + 1)) - 2) / 1.15


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 16), (1, 32, 32)])
def test_unet_keeps_the_shape_of_images(shape: tuple[int, int, int]) -> None:
    network = UNet(shape, 5 * shape[0], widths=(8, 16, 16))
    value = network(torch.randn((2, *shape)), torch.zeros(2))
    assert value.shape == (2, 5 * shape[0], *shape[1:])
    assert (value == 0).all()  # the last layer starts at zero
    with pytest.raises(ValueError, match="cannot halve"):
        UNet((1, 10, 10), 1, widths=(8, 8, 8))


def test_images_without_levels_need_the_plain_head() -> None:
    info = trilemma.DataInfo(name="toy", kind="image", shape=(1, 8, 8), n_train=10)
    with pytest.raises(trilemma.UnsupportedError, match="plain"):
        EdmUnet().build(info)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["plain", "levels"])
def test_images_train_and_rows_come_out_even(head: str) -> None:
    model = EdmUnet(EdmUnet.Config(head=head, widths=(16, 32)))  # type: ignore[arg-type]
    clock = trilemma.Clock(trilemma.Budget(steps=400))
    model.fit(trilemma.Split(stripes(2_000, 1)), context(EdmUnet, (1, 8, 8), clock=clock, recipe=EdmUnet.recipe))
    x = model.sample(200, context(EdmUnet, (1, 8, 8), sampler=Heun()))
    # Within a row intensities vary by the width of a level; between rows by all four.
    assert float(x.std(3).mean()) < 0.45
    assert float(x.mean(3).std()) > 0.75
    # A row has entropy ln 4, and a pixel in it the width of its box: 8 (ln 4 + 8 ln(1 / 1.15)) nats in all.
    log_prob = model.log_prob(stripes(200, 5), context(EdmUnet, (1, 8, 8))).mean()
    assert float(log_prob) < -8 * (math.log(4) - 8 * math.log(1.15)) + 0.5
