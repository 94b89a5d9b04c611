"""DDPM: its chain, its bound, and the cost of its samplers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

import trilemma
from trilemma.plugins.diffusion.bounds import discrete_bound
from trilemma.plugins.diffusion.ddpm import Ddpm, chain_loss
from trilemma.plugins.diffusion.ddpm_samplers import StridedAncestral, StridedDdim, strided
from trilemma.plugins.diffusion.denoiser import NoisePrediction
from trilemma.plugins.diffusion.reverse_chain import ReverseChain, ReverseModel
from trilemma.plugins.diffusion.schedules import DiscreteCosine, DiscreteVariancePreserving, VariancePreserving
from trilemma.plugins.networks.points import stratified


def test_chain_agrees_with_the_paper() -> None:
    chain = DiscreteVariancePreserving(0.1, 20.0, 1000)
    sigmas = chain.noise_levels()
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    kept = (1 - betas).cumprod(0)
    torch.testing.assert_close(sigmas.flip(0), ((1 - kept) / kept).sqrt())
    assert (sigmas.diff() < 0).all()
    # The chain is a discretization of the VP diffusion.
    t = torch.tensor(0.5, dtype=torch.float64)
    assert float(sigmas.flip(0)[499]) == pytest.approx(float(VariancePreserving(0.1, 20.0).sigma(t)), rel=0.02)


@pytest.mark.parametrize("steps", [10, 4000])
def test_cosine_schedule_agrees_with_the_paper(steps: int) -> None:
    # Nichol & Dhariwal 2021, eq. 17 in plain numbers: f(t), beta_t <= .999, and the products of the alphas.
    f = [math.cos((t / steps + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(steps + 1)]
    kept, found = 1.0, []
    for t in range(1, steps + 1):
        kept *= 1 - min(1 - f[t] / f[t - 1], 0.999)
        found.append(math.sqrt((1 - kept) / kept))
    chain = DiscreteCosine(steps)
    torch.testing.assert_close(
        chain.noise_levels().flip(0), torch.tensor(found, dtype=torch.float64), rtol=1e-7, atol=0
    )
    # All levels but the last are those of the marginals in continuous time.
    times = torch.arange(1, steps, dtype=torch.float64) / steps
    torch.testing.assert_close(chain.noise_levels()[1:].flip(0), chain.sigma(times), rtol=1e-7, atol=0)
    torch.testing.assert_close(chain.time(chain.sigma(times)), times)
    assert chain.sigma_max == pytest.approx(found[-1])


def test_marginals_of_the_cosine_schedule_solve_the_equations_of_its_diffusion() -> None:
    chain, t = DiscreteCosine(), torch.linspace(0.01, 0.95, 20, dtype=torch.float64).requires_grad_()
    alpha = chain.alpha(t)
    slope = torch.autograd.grad(alpha.sum(), t, retain_graph=True)[0]
    torch.testing.assert_close(slope, chain.drift(t) * alpha)
    variance = (alpha * chain.sigma(t)) ** 2
    slope = torch.autograd.grad(variance.sum(), t)[0]
    torch.testing.assert_close(slope, 2 * chain.drift(t) * variance + chain.squared_diffusion(t))


def test_no_draw_is_beyond_the_last_noise_level(generator: Callable[..., torch.Generator]) -> None:
    for seed in range(4):
        drawn = stratified(2**22, generator(seed))  # so many that single precision rounds the last one
        assert int((drawn * 1000).long().max()) == 999


def test_strided_noise_levels_keep_both_ends() -> None:
    sigmas = DiscreteVariancePreserving(steps=100).noise_levels()
    part = strided(sigmas, 7)
    assert len(part) == 7
    assert torch.equal(part[[0, -1]], sigmas[[0, -1]])
    assert torch.equal(strided(sigmas, 100), sigmas)
    assert torch.equal(strided(sigmas, 1000), sigmas)
    assert torch.equal(strided(sigmas, 1), sigmas[:1])


def test_variance_is_learned_exactly_if_the_objective_trains_it() -> None:
    assert Ddpm.Config(objective="vlb").variance == "large"
    assert Ddpm.Config(objective="hybrid", variance="learned").vlb_weight == 1e-3
    assert Ddpm.Config(schedule="cosine", steps=10).chain() == DiscreteCosine(10)  # too few steps for linear betas
    with pytest.raises(ValueError, match="use variance = 'learned'"):
        Ddpm.Config(objective="hybrid")
    with pytest.raises(ValueError, match="use 'vlb' or 'hybrid'"):
        Ddpm.Config(variance="learned")


class Outputs(nn.Module):
    """A raw network with given outputs."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return self.values


def gradients(objective: Literal["simple", "vlb", "hybrid"], values: Tensor, x: Tensor, **options: Any) -> Tensor:
    """The gradients of the loss in the noise and in the exponent of the variance, shape `(n, 2 d)`."""
    network, sigmas = Outputs(values), DiscreteVariancePreserving(0.1, 4.0, 7).noise_levels()
    variance: Literal["large", "learned"] = "large" if objective == "simple" else "learned"
    model = ReverseModel(NoisePrediction(network if variance == "learned" else Halved(network)), variance)
    loss = chain_loss(model, x, sigmas, torch.Generator().manual_seed(1), objective=objective, **options)
    return torch.autograd.grad(loss, network.values)[0]


class Halved(nn.Module):
    """A raw network without the second half of its outputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        value: Tensor = self.network(x, label)
        return value[:, : x.shape[1]]


def test_hybrid_trains_the_mean_by_l_simple_and_the_variance_by_the_bound() -> None:
    x = torch.randn((2, 21, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = torch.cat([x[1], 0.3 + 0.1 * x[1]], dim=1)
    simple, vlb = (gradients(objective, values, x[0]) for objective in ("simple", "vlb"))  # type: ignore[arg-type]
    hybrid = gradients("hybrid", values, x[0], vlb_weight=0.05)
    assert simple[:, 2:].abs().max() == 0
    assert vlb[:, :2].abs().max() > 0.01
    torch.testing.assert_close(hybrid[:, :2], simple[:, :2])
    torch.testing.assert_close(hybrid[:, 2:], 0.05 * vlb[:, 2:])


def test_objective_vlb_is_the_bound(gaussian: Any, generator: Callable[..., torch.Generator]) -> None:
    x, sigmas = gaussian.points(40_000), DiscreteVariancePreserving(0.1, 4.0, 5).noise_levels()
    model = ReverseModel(gaussian.denoiser(), "small")
    loss = chain_loss(model, x, sigmas, generator(), objective="vlb")
    bound = discrete_bound(model, x, sigmas, generator(), "model")
    assert 3 * float(loss) == pytest.approx(float((bound.diffusion + bound.reconstruction).mean()), rel=0.02)


def test_estimates_of_images_are_clipped_and_the_loss_is_not(generator: Callable[..., torch.Generator]) -> None:
    # At a high noise level a small error of the noise is a large one of the image.
    values = torch.zeros((30, 1, 4, 4), dtype=torch.float64)
    x, sigmas = torch.rand((30, 1, 4, 4), generator=generator(), dtype=torch.float64), torch.tensor([600.0]).double()
    models = [ReverseModel(NoisePrediction(Outputs(values)), "large", support) for support in (None, (0.0, 1.0))]
    noisy = x + 600 * torch.randn(x.shape, generator=generator(1), dtype=torch.float64)
    wide, clipped = (model(noisy, sigmas[0]).detach() for model in models)
    assert float(wide.abs().max()) > 500
    assert torch.equal(clipped == 1, noisy >= 1)
    assert torch.equal(clipped == 0, noisy <= 0)
    losses = [float(chain_loss(model, x, sigmas, generator(2)).detach()) for model in models]
    assert losses[0] == losses[1] == pytest.approx(1, abs=0.15)  # the noise is predicted to be 0


def test_learned_variances_start_at_the_large_ones(context: Callable[..., trilemma.Context]) -> None:
    model = Ddpm(Ddpm.Config(objective="hybrid", variance="learned", hidden=(8,), steps=25))
    model.prepare(context(Ddpm).info)
    x, sigmas = torch.randn((50, 2)), model.diffusion.noise_levels()
    exponent = model.denoiser.both(x, sigmas[3])[1].detach()
    variance = ReverseChain(sigmas).variance(3, exponent)
    kept = 1 / (1 + sigmas.square())
    beta = float(1 - kept[3] / kept[4])  # in the coordinates of x_s, which is y_s times sqrt(kept)
    torch.testing.assert_close(variance, torch.full_like(variance, beta / float(kept[4])))


@pytest.fixture(scope="module")
def trained(context: Callable[..., trilemma.Context], pair: Any) -> Ddpm:
    model = Ddpm(Ddpm.Config(hidden=(64, 64), steps=400, parametrization="karras"))
    recipe = Ddpm.recipe.model_copy(update={"batch_size": 256})
    clock = trilemma.Clock(trilemma.Budget(steps=1_200))
    model.fit(trilemma.Split(pair.points(4_000, 1)), context(Ddpm, clock=clock, recipe=recipe))
    return model


def test_bound_lies_below_the_true_density_and_reports_its_terms(
    context: Callable[..., trilemma.Context], pair: Any, trained: Ddpm
) -> None:
    x, ctx = pair.points(2_000, 2), context(likelihood=Ddpm.Likelihood(draws=4))
    values = trained.log_prob(x, ctx)
    first = torch.stack([-0.5 * ((x[:, 0] - c) / 0.4) ** 2 for c in (-0.9, 0.9)]).logsumexp(0)
    truth = first - math.log(2 * 0.4 * 2 * math.pi) - 0.5 * x[:, 1] ** 2
    assert -0.3 < float((values - truth).mean()) < 0.02
    assert sum(ctx.details["terms"].values()) == pytest.approx(-float(values.mean()), rel=1e-4)
    assert ctx.details["steps"] == 400


@pytest.mark.parametrize(
    "sampler", [StridedAncestral(), StridedAncestral(steps=40, variance="large"), StridedDdim(steps=40)]
)
def test_samples_follow_the_true_distribution_at_the_stated_cost(
    context: Callable[..., trilemma.Context], trained: Ddpm, sampler: StridedAncestral | StridedDdim
) -> None:
    rows = 0

    def count(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal rows
        rows += len(args[0])

    (network,) = trained.networks()
    handle = network.register_forward_pre_hook(count)
    x = trained.sample(4_000, context(Ddpm, sampler=sampler))
    handle.remove()
    assert rows == 4_000 * sampler.steps
    assert float((x[:, 0] > 0).float().mean()) == pytest.approx(0.5, abs=0.06)
    assert float(x[:, 0].abs().mean()) == pytest.approx(0.9, abs=0.05)
    assert float(x[:, 1].std()) == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_learned_variance_has_a_better_bound_than_the_fixed_variances(
    context: Callable[..., trilemma.Context], ring8: Any
) -> None:
    options: dict[str, Any] = {"hidden": (96, 96), "steps": 40, "parametrization": "karras"}
    model = Ddpm(Ddpm.Config(objective="hybrid", variance="learned", **options))
    clock = trilemma.Clock(trilemma.Budget(steps=2_000))
    recipe = Ddpm.recipe.model_copy(update={"batch_size": 256})
    model.fit(trilemma.Split(ring8.points(20_000, 1).float()), context(Ddpm, clock=clock, recipe=recipe))
    x = ring8.points(4_000, 2).float()
    found = {
        variance: float((ring8.log_prob(x.double()) - model.log_prob(x, context(likelihood=likelihood))).mean())
        for variance in ("model", "small", "large")
        for likelihood in [Ddpm.Likelihood(draws=4, variance=variance)]  # type: ignore[arg-type]
    }
    assert 0 < found["model"] < min(found["small"], found["large"]) - 0.1, found
