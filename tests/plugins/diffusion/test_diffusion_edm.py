"""EDM: its loss, its training on vectors and images."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import trilemma
from trilemma.plugins.diffusion.denoiser import Preconditioned, VelocityPrediction
from trilemma.plugins.diffusion.edm import (
    PRECONDITIONINGS,
    Edm,
    EdmOptions,
    EdmUnet,
    Weight,
    edm_loss,
    stable_target,
    training_noise,
)
from trilemma.plugins.diffusion.flow_matching import flow_matching_loss
from trilemma.plugins.diffusion.ode_samplers import DpmSolver2M, Heun
from trilemma.plugins.networks.unet import UNet

DEVIATION = 0.3


def corners(n: int, seed: int) -> Tensor:
    """Four Gaussians at (+-1, +-1)."""
    signs = 2.0 * torch.randint(0, 2, (n, 2), generator=torch.Generator().manual_seed(seed)) - 1
    return signs + DEVIATION * torch.randn((n, 2), generator=torch.Generator().manual_seed(seed + 100))


def corners_log_prob(x: Tensor) -> Tensor:
    one = torch.logaddexp(-0.5 * ((x - 1) / DEVIATION) ** 2, -0.5 * ((x + 1) / DEVIATION) ** 2)
    return one.sum(1) - 2 * math.log(2 * DEVIATION * math.sqrt(2 * math.pi))


@pytest.fixture(scope="module")
def trained(context: Callable[..., trilemma.Context]) -> Edm:
    model = Edm(Edm.Config(hidden=(64, 64)))
    recipe = Edm.recipe.model_copy(update={"batch_size": 256})
    clock = trilemma.Clock(trilemma.Budget(steps=1_000))
    model.fit(trilemma.Split(corners(5_000, 1)), context(Edm, clock=clock, recipe=recipe))
    return model


def test_loss_is_one_for_unit_normal_data_before_training(generator: Callable[..., torch.Generator]) -> None:
    # F = 0 is then the exact denoiser, and its weighted error is 1 at every noise level.
    class Silent(nn.Module):
        def forward(self, x: Tensor, label: Tensor) -> Tensor:
            return torch.zeros_like(x)

    x = torch.randn((40_000, 2), generator=generator())
    sigma = training_noise(len(x), EdmOptions(), generator())
    assert float(edm_loss(Preconditioned(Silent()), x, sigma, "edm", generator(1))) == pytest.approx(1, abs=0.02)


class Waves(nn.Module):
    """A raw network that depends on its input and on the noise label."""

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return (2 * x).sin() + label.unsqueeze(1)


def d_of_table_1(method: str, x: Tensor, s: Tensor) -> Tensor:
    """The denoiser of Karras et al. 2022 (eq. 7) with the entries of table 1 for sigma_data = 1, or of flow matching.

    c_noise is ln(sigma)/4 in every column.
    """
    skip, out, scale = {
        "edm": (1 / (s**2 + 1), s * 1 / (1 + s**2) ** 0.5, 1 / (s**2 + 1) ** 0.5),
        "vp": (1, -s, 1 / (s**2 + 1) ** 0.5),
        "ve": (1, s, 1),
        "flow": (1 / (1 + s), s / (1 + s), 1 / (1 + s)),
    }[method]
    return skip * x + out * Waves()(scale * x, s.squeeze(1).log() / 4)


@pytest.mark.parametrize("method", list(PRECONDITIONINGS))
def test_preconditionings_and_weights_are_those_of_the_paper(
    method: str, generator: Callable[..., torch.Generator]
) -> None:
    x, noise = (torch.randn((40, 2), generator=generator(seed), dtype=torch.float64) for seed in (1, 2))
    sigma = torch.linspace(0.01, 30, 40, dtype=torch.float64)
    s = sigma.unsqueeze(1)
    denoise = PRECONDITIONINGS[method](Waves())
    torch.testing.assert_close(denoise(x, sigma), d_of_table_1(method, x, s))
    squared = (d_of_table_1(method, x + s * noise, s) - x) ** 2
    weights: dict[Weight, Tensor] = {"edm": (s**2 + 1) / (s * 1) ** 2, "vp": 1 / s**2, "flow": ((1 + s) / s) ** 2}
    for weight, values in weights.items():
        found = edm_loss(denoise, x, sigma, weight, generator(2))
        torch.testing.assert_close(found, (values * squared).mean())


def test_what_the_network_predicts_can_be_chosen_apart_from_what_it_sees() -> None:
    x = torch.randn((40, 2), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sigma = torch.linspace(0.01, 30, 40, dtype=torch.float64)
    s = sigma.unsqueeze(1)
    noise = torch.randn((40, 2), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    seen = {"edm": 1 / (1 + s**2).sqrt(), "vp": 1 / (1 + s**2).sqrt(), "ve": torch.ones_like(s), "flow": 1 / (1 + s)}
    for preconditioning, scale in seen.items():

        def raw(at: Tensor, scale: Tensor = scale) -> Tensor:
            value: Tensor = Waves()(scale * at, sigma.log() / 4)
            return value

        predicted = {
            "data": raw(x),
            "noise": x - s * raw(x),
            "velocity": (x + s * raw(x)) / (1 + s),
            "mixed": (x + s * (1 + s**2).sqrt() * raw(x)) / (1 + s**2),
        }
        for prediction, expected in predicted.items():
            config = EdmOptions(preconditioning=preconditioning, prediction=prediction)  # type: ignore[arg-type]
            denoise = config.parametrized(Waves())
            torch.testing.assert_close(denoise(x, sigma), expected)
            error = (denoise(x + s * noise, sigma) - x) / s
            torch.testing.assert_close(denoise.scaled_error(x, noise, sigma), error)
    with pytest.raises(ValueError, match="the head 'levels' gives probabilities"):
        EdmUnet.Config(prediction="noise")


def test_noise_levels_in_training_are_those_of_the_paper(generator: Callable[..., torch.Generator]) -> None:
    # The distribution function at the median and at an outer quantile, from table 1 by another route: by the inverse
    # function, sigma_vp^-1(sigma) ~ U(eps, 1), ln(sigma) ~ U for VE, ln(sigma) ~ N for EDM.
    n = 20_000

    def shares(sigma: Tensor, kind: str) -> Tensor:
        if kind == "edm":
            return torch.distributions.Normal(-1.2, 1.2).cdf(sigma.log())
        if kind == "vp":
            integral, slope = (1 + sigma**2).log(), 19.9
            return ((0.1**2 + 2 * slope * integral).sqrt() - 0.1) / slope
        if kind == "ve":
            return (sigma / 0.02).log() / math.log(100 / 0.02)
        return sigma / (1 + sigma)

    paper = {"sigma_min": 0.02, "sigma_max": 100.0, "log_sigma_mean": -1.2, "log_sigma_std": 1.2}
    for kind in PRECONDITIONINGS:
        sigma = training_noise(n, EdmOptions(training_noise=kind, **paper), generator(3))  # type: ignore[arg-type]
        share = shares(sigma, kind).sort().values
        torch.testing.assert_close(share, (torch.arange(n).double() + 0.5) / n, atol=2e-3, rtol=0)


def test_with_the_ingredients_of_flow_matching_edm_is_flow_matching(generator: Callable[..., torch.Generator]) -> None:
    x, noise = (torch.randn((40, 2), generator=generator(seed), dtype=torch.float64) for seed in (1, 2))
    share = torch.linspace(0.01, 0.99, 40, dtype=torch.float64)
    expected = flow_matching_loss(VelocityPrediction(Waves()), x, noise, share)
    denoise = PRECONDITIONINGS["flow"](Waves())
    torch.testing.assert_close(edm_loss(denoise, x, 1 / share - 1, "flow", generator(2)), expected)


def test_stable_targets_are_posterior_means_of_the_batch(generator: Callable[..., torch.Generator]) -> None:
    x, sigma = corners(50, 7).double(), torch.linspace(0.05, 2, 50).double()
    noised = x + sigma[:, None] * torch.randn((50, 2), generator=generator(), dtype=torch.float64)
    for i in (0, 20, 49):
        distribution = torch.distributions.MultivariateNormal(noised[i], sigma[i] ** 2 * torch.eye(2).double())
        weights = distribution.log_prob(x).exp()
        expected = (weights[:, None] * x).sum(0) / weights.sum()
        assert torch.allclose(stable_target(x, noised, sigma)[i], expected)


def test_stable_targets_are_the_default_for_many_points(context: Callable[..., trilemma.Context]) -> None:
    for n_train, expected in ((2_000, True), (150, False)):
        model = Edm()
        model.build(dataclasses.replace(context(Edm).info, n_train=n_train))
        assert model.stable_targets is expected


def test_stable_targets_train_towards_the_same_denoiser(generator: Callable[..., torch.Generator]) -> None:
    # The gradient in the denoiser's output is the same in the mean, up to the finite batch: compare at F = a x.
    x = torch.randn((4_000, 2), generator=generator())
    slope = torch.tensor(0.3, requires_grad=True)
    found = []
    for stable in (False, True):
        sigma = training_noise(len(x), EdmOptions(log_sigma_std=1.2), generator(3))
        loss = edm_loss(lambda y, s: slope * y, x, sigma, "edm", generator(4), stable=stable)
        found.append(float(torch.autograd.grad(loss, slope)[0]))
    assert found[1] == pytest.approx(found[0], rel=0.1)


def test_trained_density_is_close_to_the_true_density(context: Callable[..., trilemma.Context], trained: Edm) -> None:
    x = corners(2_000, 3)
    ratio = trained.log_prob(x, context(Edm)) - corners_log_prob(x)
    assert ratio.exp().mean() == pytest.approx(1, abs=0.03)
    assert -0.02 < -ratio.mean() < 0.06


def test_bound_is_not_above_the_ode_likelihood(context: Callable[..., trilemma.Context], trained: Edm) -> None:
    ctx = context(Edm, likelihood=Edm.Likelihood(bound_draws=20))
    trained.log_prob(corners(3_000, 4), ctx)
    assert -0.02 < ctx.details["bound_excess"] < 0.2


def test_samples_follow_the_true_distribution(context: Callable[..., trilemma.Context], trained: Edm) -> None:
    for sampler in (Heun(), DpmSolver2M(steps=15)):
        x = trained.sample(4_000, context(Edm, sampler=sampler))
        torch.testing.assert_close((x > 0).float().mean(0), torch.full((2,), 0.5), atol=0.05, rtol=0)
        torch.testing.assert_close(x.abs().mean(0), torch.ones(2), atol=0.05, rtol=0)
        torch.testing.assert_close(x.abs().std(0), torch.full((2,), DEVIATION), atol=0.06, rtol=0)


def stripes(n: int, seed: int) -> Tensor:
    """8 x 8 images whose rows are dark or bright, in four levels of model space."""
    level = torch.randint(0, 4, (n, 1, 8, 1), generator=torch.Generator().manual_seed(seed)).expand(n, 1, 8, 8)
    return (level + torch.rand((n, 1, 8, 8), generator=torch.Generator().manual_seed(seed + 1)) - 2) / 1.15


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 16), (1, 32, 32)])
def test_unet_keeps_the_shape_of_images(shape: tuple[int, int, int]) -> None:
    network = UNet(shape, 5 * shape[0], widths=(8, 16, 16))
    value = network(torch.randn((2, *shape)), torch.zeros(2))
    assert value.shape == (2, 5 * shape[0], *shape[1:])
    assert (value == 0).all()  # the last layer starts at zero
    with pytest.raises(trilemma.UnsupportedError, match="halved"):
        UNet((1, 10, 10), 1, widths=(8, 8, 8))


def test_images_without_levels_need_the_plain_head() -> None:
    info = trilemma.DataInfo(name="toy", kind="image", shape=(1, 8, 8), n_train=10)
    with pytest.raises(trilemma.UnsupportedError, match="plain"):
        EdmUnet().build(info)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["plain", "levels"])
def test_models_of_images_sample_even_rows_after_training(context: Callable[..., trilemma.Context], head: str) -> None:
    model = EdmUnet(EdmUnet.Config(head=head, widths=(16, 32)))  # type: ignore[arg-type]
    clock = trilemma.Clock(trilemma.Budget(steps=400))
    model.fit(trilemma.Split(stripes(2_000, 1)), context(EdmUnet, (1, 8, 8), clock=clock, recipe=EdmUnet.recipe))
    x = model.sample(200, context(EdmUnet, (1, 8, 8), sampler=Heun()))
    # Within a row intensities vary by the width of a level, and between rows by the range of all four levels.
    assert float(x.std(3).mean()) < 0.45
    assert float(x.mean(3).std()) > 0.75
    # A row has entropy ln 4, and a pixel in it the width of its box: 8 (ln 4 + 8 ln(1 / 1.15)) nats in all.
    log_prob = model.log_prob(stripes(200, 5), context(EdmUnet, (1, 8, 8))).mean()
    assert float(log_prob) < -8 * (math.log(4) - 8 * math.log(1.15)) + 0.5


@pytest.mark.parametrize("preconditioning", ["vp", "ve", "flow"])
def test_unet_with_intensity_levels_refuses_a_preconditioning(preconditioning: str) -> None:
    with pytest.raises(ValueError, match=f"preconditioning '{preconditioning}' needs head 'plain'"):
        EdmUnet.Config(preconditioning=preconditioning)
    assert EdmUnet.Config(preconditioning=preconditioning, head="plain").head == "plain"
