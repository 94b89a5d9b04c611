"""Samplers and likelihoods evaluate a denoiser within the noise levels that it was trained at."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import trilemma
from trilemma.plugins.diffusion.ddpm import Ddpm
from trilemma.plugins.diffusion.denoiser import DenoiserSampler
from trilemma.plugins.diffusion.edm import Edm
from trilemma.plugins.diffusion.flow_matching import FlowMatching
from trilemma.plugins.diffusion.ncsn import Ncsn, NcsnV2
from trilemma.plugins.diffusion.ode_samplers import ODE_SAMPLERS
from trilemma.plugins.diffusion.score_sde import ScoreSde, SubVpSde, VeSde, VpSde
from trilemma.plugins.diffusion.sde_samplers import Ancestral
from trilemma.plugins.diffusion.vdm.vdm import Vdm

Context = Callable[..., trilemma.Context]


class Noted(nn.Module):
    """The exact denoiser of the Gaussian data. It notes the noise levels at which it is evaluated."""

    def __init__(self, gaussian: Any) -> None:
        super().__init__()
        self.denoise = gaussian.denoiser()
        self.levels: list[Tensor] = []

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.levels.append(sigma.detach().double().flatten())
        value: Tensor = self.denoise(x, sigma)
        return value

    def ends(self) -> tuple[float, float]:
        """The lowest and the largest noise level since the last call."""
        found = torch.cat(self.levels)
        self.levels.clear()
        return float(found.min()), float(found.max())


EDGE, A = 0.01, 0.5
COVERED: dict[str, tuple[dict[str, Any], float, float]] = {
    "linear": ({}, EDGE / (1 - EDGE), (1 - EDGE) / EDGE),
    "trigonometric": ({"path": "trigonometric"}, math.tan(math.pi / 2 * EDGE), 1 / math.tan(math.pi / 2 * EDGE)),
    # (1 - s)^2 + a s (1 - s) is the variance of the noise, here at 1 - s = edge^2 and at s = edge.
    "latent": (
        {"latent": A},
        math.sqrt(EDGE**4 + A * EDGE**2 * (1 - EDGE**2)) / (1 - EDGE**2),
        math.sqrt((1 - EDGE) ** 2 + A * EDGE * (1 - EDGE)) / EDGE,
    ),
}
"""For each path its options, and the noise levels at the ends of the time that training covers."""


@pytest.mark.parametrize("path", COVERED)
def test_sampling_and_likelihood_stay_within_the_noise_levels_of_training(
    path: str, gaussian: Any, context: Context
) -> None:
    options, lowest, highest = COVERED[path]
    model = FlowMatching(FlowMatching.Config(hidden=(4,), edge=EDGE, **options))
    model.prepare(context(FlowMatching, shape=(3,)).info)
    noted = model.denoiser = Noted(gaussian)
    x = gaussian.points(20_000, 1)
    model.loss(x, context(FlowMatching, shape=(3,)))
    low, high = noted.ends()
    assert lowest <= low <= 1.02 * lowest, "the lowest noise levels of the path are drawn in training"
    assert 0.98 * highest <= high <= highest * (1 + 1e-5), "and so are the largest"
    for sampler in FlowMatching.samplers:
        model.sample(4, context(FlowMatching, shape=(3,), sampler=sampler()))
        low, high = noted.ends()
        assert lowest * (1 - 1e-5) <= low, sampler.name
        assert high <= highest * (1 + 1e-5), sampler.name
    ctx = context(FlowMatching, shape=(3,))
    ctx.likelihood = FlowMatching.Likelihood(steps=80)
    values = model.log_prob(x[:50], ctx)
    low, high = noted.ends()
    assert ctx.details["eps"] == pytest.approx(lowest), "the density is that at the lowest noise level of training"
    assert (low, high) == pytest.approx((lowest, highest), rel=1e-5)
    torch.testing.assert_close(values, gaussian.log_prob(x[:50], lowest), atol=5e-3, rtol=0)


def test_samplers_and_the_ode_end_at_the_lowest_noise_level_of_the_learned_schedule(
    context: Context, gaussian: Any
) -> None:
    model, ctx = Vdm(Vdm.Config(gamma=(-6.0, 10.0), hidden=(4,))), context(Vdm, shape=(3,))
    model.prepare(ctx.info)
    with torch.no_grad():
        model.schedule.moved[0] = 2.0  # as if training had moved gamma_0 to -4
    noted = model.denoiser = Noted(gaussian)
    lowest, highest = math.exp(-4 / 2), math.exp(10 / 2)
    samplers: tuple[type[DenoiserSampler], ...] = (*ODE_SAMPLERS, Ancestral)
    for sampler in samplers:
        model.sample(4, context(Vdm, shape=(3,), sampler=sampler()))
        low, high = noted.ends()
        assert lowest * (1 - 1e-5) <= low, sampler.name
        assert high <= highest * (1 + 1e-5), sampler.name
    x = gaussian.points(50, 1)
    ctx.likelihood = Vdm.Likelihood(method="ode")
    values = model.log_prob(x, ctx)
    assert ctx.details["eps"] == pytest.approx(lowest)
    assert noted.ends() == pytest.approx((lowest, highest), rel=1e-5)
    torch.testing.assert_close(values, gaussian.log_prob(x, lowest), atol=5e-3, rtol=0)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Ncsn, {}),
        (NcsnV2, {"largest_distance": False, "sigma_max": 7.0}),
        (FlowMatching, {"edge": EDGE}),
        (VeSde, {}),
        (Edm, {"training_noise": "ve", "sigma_max": 20.0}),
        (Edm, {"training_noise": "flow"}),
    ],
)
def test_a_score_is_known_at_the_noise_levels_of_training(
    kind: type[Any], options: dict[str, Any], gaussian: Any, context: Context
) -> None:
    model, ctx = kind(kind.Config(hidden=(4,), **options)), context(kind, shape=(3,))
    model.prepare(ctx.info)
    noted = model.denoiser = Noted(gaussian)
    model.loss(gaussian.points(20_000, 1), ctx)
    assert noted.ends() == pytest.approx(model.score_levels(), rel=0.02)


def test_the_score_of_ddpm_is_known_from_the_first_to_the_last_step_of_its_chain() -> None:
    model = Ddpm(Ddpm.Config(hidden=(4,), steps=1000))
    model.prepare(trilemma.DataInfo(name="toy", kind="vector", shape=(2,), n_train=10))
    kept = math.prod(1 - (1e-4 + (0.02 - 1e-4) * i / 999) for i in range(1000))
    assert model.score_levels() == pytest.approx((math.sqrt(1e-4 / (1 - 1e-4)), math.sqrt((1 - kept) / kept)))


def test_edm_is_trained_beyond_the_noise_level_at_which_sampling_starts(gaussian: Any, context: Context) -> None:
    model, ctx = Edm(Edm.Config(hidden=(4,), sigma_max=20.0)), context(Edm, shape=(3,))
    model.prepare(ctx.info)
    noted = model.denoiser = Noted(gaussian)
    model.loss(gaussian.points(20_000, 1), ctx)
    (low, high), (lowest, largest) = noted.ends(), model.score_levels()
    assert lowest <= low
    assert 200 < high <= largest


EPS = 0.05
# The integral of beta from 0 to eps, and with it the noise levels of Song et al. 2021, eq. 29, over alpha.
INTEGRAL = (0.1 + (0.1 + 19.9 * EPS)) / 2 * EPS
LEVELS: list[tuple[type[ScoreSde], float]] = [
    (VpSde, math.sqrt((1 - math.exp(-INTEGRAL)) / math.exp(-INTEGRAL))),
    (SubVpSde, (1 - math.exp(-INTEGRAL)) / math.exp(-INTEGRAL / 2)),
    (VeSde, math.exp((1 - EPS) * math.log(0.002) + EPS * math.log(50))),
]


def sde(model: type[Any], **options: Any) -> Any:
    return model(model.Config(hidden=(4,), **options))


@pytest.mark.parametrize(("kind", "lowest"), LEVELS)
def test_sdes_are_sampled_no_lower_than_their_smallest_time_in_training(
    kind: type[Any], lowest: float, gaussian: Any, context: Context
) -> None:
    model = sde(kind, eps=EPS)
    model.prepare(context(kind, shape=(3,)).info)
    noted = model.denoiser = Noted(gaussian)
    x = gaussian.points(20_000, 1)
    model.loss(x, context(kind, shape=(3,)))
    low, highest = noted.ends()
    assert lowest <= low * (1 + 1e-5) <= 1.02 * lowest, "the lowest noise levels are drawn in training"
    for sampler in kind.samplers:
        model.sample(4, context(kind, shape=(3,), sampler=sampler()))
        low, high = noted.ends()
        assert lowest * (1 - 1e-5) <= low, sampler.name
        assert high <= highest * 1.02, sampler.name
    ctx = context(kind, shape=(3,))
    ctx.likelihood = kind.Likelihood(steps=80)
    values = model.log_prob(x[:50], ctx)
    assert ctx.details["eps"] == pytest.approx(lowest)
    assert noted.ends()[0] == pytest.approx(lowest, rel=1e-5)
    torch.testing.assert_close(values, gaussian.log_prob(x[:50], lowest), atol=0.02, rtol=0)


@pytest.mark.parametrize("kind", [VpSde, SubVpSde, VeSde])
def test_by_default_sdes_are_sampled_as_far_as_the_sampler_says(
    kind: type[Any], gaussian: Any, context: Context
) -> None:
    model = sde(kind)
    model.prepare(context(kind, shape=(3,)).info)
    model.denoiser = Noted(gaussian)
    assert model.diffusion.lowest_of(0.002) == 0.002
    assert model.diffusion.earliest_of(1e-3) == 1e-3
