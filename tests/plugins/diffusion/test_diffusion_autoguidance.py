"""Autoguidance: on Gaussians whose guided flow is known, and the early weights that models keep."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import trilemma
from trilemma.plugins.diffusion.autoguidance import GuidedDenoiser
from trilemma.plugins.diffusion.ddpm import Ddpm
from trilemma.plugins.diffusion.ddpm_samplers import StridedAncestral
from trilemma.plugins.diffusion.edm import Edm
from trilemma.plugins.diffusion.ncsn import Ncsn
from trilemma.plugins.diffusion.ode_samplers import HeunAngle
from trilemma.plugins.diffusion.paired_flows import RectifiedFlow
from trilemma.plugins.diffusion.reverse_chain import ReverseModel
from trilemma.plugins.diffusion.schedules import VarianceExploding


class Scaled(nn.Module):
    """The exact denoiser of N(0, variance I)."""

    def __init__(self, variance: float) -> None:
        super().__init__()
        self.variance = nn.Parameter(torch.tensor(variance, dtype=torch.float64))
        self.calls = 0

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.calls += 1
        return self.variance / (self.variance + sigma.double() ** 2) * x


def test_a_guided_gaussian_is_narrower_by_the_known_factor(
    context: Callable[..., trilemma.Context], generator: Callable[..., torch.Generator]
) -> None:
    """Along dx/dsigma = (x - D)/sigma a Gaussian shrinks by f = sqrt(v / (v + sigma_max^2)), and guided ones by
    f_1^(1 + w) / f_0^w."""
    good, bad, highest = Scaled(0.5), {"variance": torch.tensor(1.5, dtype=torch.float64)}, 40.0
    noise = torch.randn((5, 3), generator=generator(), dtype=torch.float64)
    f1, f0 = (math.sqrt(v / (v + highest**2)) for v in (0.5, 1.5))
    norms = []
    for w in (0.0, 0.5, 1.0, 2.0):
        sampler = HeunAngle(steps=150, guidance=w)
        with torch.no_grad():
            x = sampler.draw(
                GuidedDenoiser(good, bad, w), noise, VarianceExploding(highest=highest), context(sampler=sampler)
            )
        expected = noise * math.sqrt(1 + highest**2) * f1 ** (1 + w) / f0**w
        torch.testing.assert_close(x, expected, rtol=5e-3, atol=1e-4)
        norms.append(float(x.norm()))
    assert norms == sorted(norms, reverse=True)


def trained(model: trilemma.NeuralModel, context: Callable[..., trilemma.Context], steps: int = 30) -> trilemma.Context:
    x = torch.randn((300, 2), generator=torch.Generator().manual_seed(1))
    recipe = model.recipe.model_copy(update={"validations": 0})
    ctx = context(type(model), recipe=recipe, clock=trilemma.Clock(trilemma.Budget(steps=steps)))
    model.fit(trilemma.Split(x), ctx)
    return ctx


def test_early_weights_are_averaged_kept_in_the_state_and_evaluated_beside_the_model(
    context: Callable[..., trilemma.Context],
) -> None:
    seen: list[dict[str, Tensor]] = []

    class Watched(Edm):
        def before_step(self, ctx: trilemma.Context) -> None:
            before = int(self.early.steps)
            super().before_step(ctx)
            if self.early.steps > before:
                seen.append({name: value.detach().clone() for name, value in self.denoiser.named_parameters()})

    model = Watched(Edm.Config(hidden=(16,)))
    ctx = trained(model, context, steps=60)
    assert len(seen) == 3  # steps 3, 4 and 5 of 60
    for name, value in model.early.weights().items():
        torch.testing.assert_close(value, torch.stack([weights[name] for weights in seen]).mean(0))
    now = dict(model.denoiser.named_parameters())
    assert any(not torch.equal(value, now[name]) for name, value in model.early.weights().items())

    def draw(of: Edm, guidance: float) -> Tensor:
        ctx.sampler = HeunAngle(steps=4, guidance=guidance)
        ctx.generator.manual_seed(7)
        return of.sample(50, ctx)

    plain, guided = draw(model, 0.0), draw(model, 2.0)
    assert not torch.allclose(plain, guided)
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    model.denoiser.register_forward_hook(count)
    draw(model, 2.0)
    assert calls == 2 * 7
    other = Edm(model.config)
    other.prepare(ctx.info)
    state = model.state()
    assert state is not None
    other.load_state(state)
    torch.testing.assert_close(draw(other, 2.0), guided)


def test_guidance_without_early_weights_is_refused(context: Callable[..., trilemma.Context]) -> None:
    model = Edm(Edm.Config(hidden=(16,)))
    ctx = context(Edm, sampler=HeunAngle(guidance=1.0))
    model.prepare(ctx.info)
    with pytest.raises(trilemma.UnsupportedError, match="no guidance"):
        model.sample(3, ctx)


@pytest.mark.parametrize(
    "model",
    [
        Ddpm(Ddpm.Config(hidden=(16,), steps=10, beta_max=5.0, variance="learned", objective="hybrid")),
        Ncsn(Ncsn.Config(hidden=(16,), noise_levels=3)),
        RectifiedFlow(RectifiedFlow.Config(hidden=(16,), pairs=100, steps=2)),
    ],
    ids=lambda model: str(model.name),
)
def test_other_denoisers_are_guided_too(model: trilemma.NeuralModel, context: Callable[..., trilemma.Context]) -> None:
    ctx = trained(model, context)
    found = []
    for guidance in (0.0, 1.0):
        small = {"steps": 3} if "steps" in model.samplers[0].model_fields else {}
        ctx.sampler = model.samplers[0](**small, guidance=guidance)
        ctx.generator.manual_seed(7)
        found.append(model.sample(20, ctx))
    assert torch.isfinite(found[1]).all()
    assert not torch.equal(*found)


def test_the_variance_of_a_guided_chain_is_that_of_the_model(context: Callable[..., trilemma.Context]) -> None:
    model = Ddpm(Ddpm.Config(hidden=(16,), steps=10, beta_max=5.0, variance="learned", objective="hybrid"))
    trained(model, context)
    guided = model.guided(StridedAncestral(guidance=2.0))
    assert isinstance(guided, GuidedDenoiser)
    x, sigma = torch.randn((4, 2), generator=torch.Generator().manual_seed(0)), torch.tensor(0.7)
    clean, exponent = model.denoiser.both(x, sigma)
    weak = Ddpm(model.config)
    weak.prepare(context(Ddpm).info)
    weak.denoiser.load_state_dict(dict(model.early.weights()), strict=False)
    torch.testing.assert_close(guided.both(x, sigma)[1], exponent)
    torch.testing.assert_close(guided(x, sigma), 3 * clean - 2 * weak.denoiser(x, sigma))


def test_guided_estimates_are_clipped_to_the_support_of_the_model() -> None:
    """The model gives .8 x and the weaker one .5 x, so that the guided estimate with w = 2 is 1.4 x."""
    x, sigma = torch.tensor([[-0.3, 0.5, 0.95]], dtype=torch.float64), torch.tensor(1.0)
    weaker = {"mean.variance": torch.tensor(1.0, dtype=torch.float64)}
    for support, expected in ((None, [-0.42, 0.7, 1.33]), ((0.0, 1.0), [0.0, 0.7, 1.0])):
        model = ReverseModel(Scaled(4.0), "large", support)  # type: ignore[arg-type]
        guided = GuidedDenoiser(model, weaker, 2.0)
        for found in (guided(x, sigma), guided.both(x, sigma)[0]):
            torch.testing.assert_close(found, torch.tensor([expected], dtype=torch.float64))
