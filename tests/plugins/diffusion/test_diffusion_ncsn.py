"""NCSN and NCSNv2: the noise levels, the techniques, and annealed Langevin sampling of a trained network."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.diffusion.langevin_samplers import step_ratio
from trilemma.plugins.diffusion.ncsn import (
    Ncsn,
    NcsnShort,
    NcsnV2,
    UnconditionalScore,
    count_noise_levels,
    largest_distance,
)
from trilemma.plugins.networks.mlp import NoiseConditionedMLP

STANDARD = torch.distributions.Normal(0.0, 1.0)


def unequal(n: int, seed: int, d: int = 2) -> Tensor:
    """Two Gaussians at -+1 in every coordinate with weights 1/5 and 4/5."""
    side = 2.0 * (torch.rand((n, 1), generator=torch.Generator().manual_seed(seed)) < 0.8) - 1
    return side + 0.25 * torch.randn((n, d), generator=torch.Generator().manual_seed(seed + 50))


@pytest.mark.parametrize("d", [16, 64, 3072])
def test_technique_two_solves_its_equation(d: int) -> None:
    count = count_noise_levels(d, 0.01, 50.0)
    assert count is not None
    gamma = (50.0 / 0.01) ** (1 / (count - 1))
    root = math.sqrt(2 * d)
    overlap = STANDARD.cdf(torch.tensor(root * (gamma - 1) + 3 * gamma)) - STANDARD.cdf(
        torch.tensor(root * (gamma - 1) - 3 * gamma)
    )
    assert float(overlap) == pytest.approx(0.5, abs=0.1)  # the count is rounded to a whole number


def test_technique_two_has_no_solution_in_few_dimensions() -> None:
    assert count_noise_levels(4, 0.01, 50.0) is None
    assert count_noise_levels(5, 0.01, 50.0) is not None


@pytest.mark.parametrize(
    ("levels", "largest", "steps", "eps"), [(232, 50.0, 5, 6.2e-6), (500, 90.0, 5, 3.3e-6), (2311, 348.0, 3, 9e-7)]
)
def test_technique_four_gives_the_published_step_sizes(levels: int, largest: float, steps: int, eps: float) -> None:
    """Song & Ermon 2020, appendix B.1: CIFAR-10, CelebA and FFHQ, all with sigma_L = .01."""
    gamma = (largest / 0.01) ** (1 / (levels - 1))
    assert step_ratio(gamma, steps) * 0.01**2 == pytest.approx(eps, rel=0.02)


def test_the_defaults_are_those_of_the_papers() -> None:
    first, short, second = Ncsn.Config(), NcsnShort.Config(), NcsnV2.Config()
    assert (first.noise_levels, first.sigma_max / first.sigma_min) == (10, pytest.approx(100))
    assert (Ncsn.recipe.ema, NcsnV2.recipe.ema) == (None, 0.999)
    plain, improved, few = (cls.samplers[0]() for cls in (Ncsn, NcsnV2, NcsnShort))
    assert plain.model_dump(include={"steps", "denoise"}) == {"steps": 100, "denoise": False}
    assert improved.model_dump(include={"steps", "ratio", "denoise"}) == {"steps": 5, "ratio": None, "denoise": True}
    assert (second.largest_distance, second.overlap, second.unconditional) == (True, True, True)
    assert few.model_dump(include={"steps", "ratio", "denoise"}) == {"steps": 5, "ratio": 0.3, "denoise": True}
    assert (short.noise_levels, short.unconditional) == (30, False)
    assert second.sigma_min == pytest.approx(
        4 * 0.01
    )  # .01 for pixels in [0, 1]; 1 in pixels is 4 for standardized data


@pytest.mark.parametrize(("gamma", "steps"), [(1.02, 5), (1.2, 5), (1.36, 3)])
def test_technique_four_brings_the_variance_closest_to_the_noise_level(gamma: float, steps: int) -> None:
    # A chain on N(0, 1) starts with variance gamma^2, the variance after the previous noise level.
    def distance(ratio: float) -> float:
        variance = gamma**2
        for _ in range(steps):
            variance = (1 - ratio) ** 2 * variance + 2 * ratio
        return abs(variance - 1)

    best = step_ratio(gamma, steps)
    assert all(distance(best) <= distance(k / 50) + 1e-6 for k in range(1, 50))


def test_technique_one_takes_the_largest_distance(
    generator: Callable[..., torch.Generator], context: Callable[..., trilemma.Context]
) -> None:
    x = torch.randn((3_000, 3), generator=generator())
    assert largest_distance(x) == pytest.approx(float(torch.cdist(x, x).max()))
    model = NcsnV2(NcsnV2.Config(hidden=(8,)))
    clock = trilemma.Clock(trilemma.Budget(steps=2))
    model.fit(trilemma.Split(x), context(shape=(3,), clock=clock, recipe=NcsnV2.recipe))
    assert model.diffusion.sigma_max == pytest.approx(largest_distance(x))
    copy = NcsnV2(model.config)
    copy.prepare(context(shape=(3,)).info)
    copy.load_state(model.state() or {})
    assert torch.equal(copy.diffusion.noise_levels(), model.diffusion.noise_levels())


def test_technique_three_divides_one_field_by_the_noise_level(generator: Callable[..., torch.Generator]) -> None:
    network = NoiseConditionedMLP(2, (8,), octaves=1)
    denoiser = UnconditionalScore(network)
    x, sigma = torch.randn((5, 2), generator=generator()), torch.tensor([0.1, 0.5, 1.0, 2.0, 9.0])
    scores = (denoiser(x, sigma) - x) / sigma.unsqueeze(1) ** 2
    torch.testing.assert_close(scores, network(x, torch.zeros(5)) / sigma.unsqueeze(1), rtol=1e-3, atol=1e-4)


def test_techniques_can_be_switched_off(context: Callable[..., trilemma.Context]) -> None:
    off = NcsnV2(NcsnV2.Config(sigma_min=0.02, largest_distance=False, overlap=False, unconditional=False))
    off.prepare(context(shape=(64,)).info)
    plain = NcsnShort()
    plain.prepare(context(shape=(64,)).info)
    assert torch.equal(off.diffusion.noise_levels(), plain.diffusion.noise_levels())
    assert type(off.denoiser) is type(plain.denoiser)
    overlapping = Ncsn(Ncsn.Config(overlap=True))
    overlapping.prepare(context(shape=(64,)).info)
    assert len(overlapping.diffusion.noise_levels()) == count_noise_levels(64, 0.04, 4.0)


@pytest.mark.parametrize("kind", [Ncsn, NcsnV2, NcsnShort])
def test_annealed_langevin_gets_unequal_weights_right(
    context: Callable[..., trilemma.Context], kind: type[Ncsn]
) -> None:
    model = kind(kind.Config(hidden=(64, 64)))
    recipe = kind.recipe.model_copy(update={"batch_size": 256})
    clock = trilemma.Clock(trilemma.Budget(steps=600))
    model.fit(trilemma.Split(unequal(4_000, 1)), context(clock=clock, recipe=recipe))
    x = model.sample(2_000, context(sampler=kind.samplers[0]()))
    assert float((x.sum(1) > 0).float().mean()) == pytest.approx(0.8, abs=0.1)
    near = (x.abs() - 1).abs().mean()
    assert float(near) < 0.3
    with pytest.raises(trilemma.UnsupportedError):
        model.log_prob(x, context())
