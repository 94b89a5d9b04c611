"""The chains that samplers of diffusions show: from the noise to the samples, on the scale of the data all along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.diffusion.ddpm_samplers import StridedAncestral, StridedDdim
from trilemma.plugins.diffusion.denoiser import DenoiserSampler, to_variance_exploding, to_variance_preserving
from trilemma.plugins.diffusion.flow_matching import FlowEuler, FlowMultistep
from trilemma.plugins.diffusion.ode_samplers import ODE_SAMPLERS, StochasticHeun
from trilemma.plugins.diffusion.schedules import Diffusion, DiscreteVariancePreserving, VariancePreserving
from trilemma.plugins.diffusion.sde_samplers import SDE_SAMPLERS

ADAPTIVE = {"dormand-prince", "gotta-go-fast"}
STEPWISE = [kind for kind in (*ODE_SAMPLERS, StochasticHeun, *SDE_SAMPLERS) if kind.name not in ADAPTIVE]
Chain = list[tuple[int, Tensor]]


def drawn(
    sampler: DenoiserSampler, denoise: Any, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context
) -> tuple[Tensor, Chain]:
    """The samples, and all that the sampler shows."""
    chain: Chain = []
    ctx.show = lambda steps, x: chain.append((steps, x.clone()))
    return sampler.draw(denoise, noise, diffusion, ctx), chain


@pytest.mark.parametrize("kind", STEPWISE)
def test_a_chain_goes_from_the_noise_to_the_samples_on_the_scale_of_the_data(
    gaussian: Any,
    generator: Callable[..., torch.Generator],
    context: Callable[..., trilemma.Context],
    kind: type[DenoiserSampler],
    diffusion: Diffusion,
) -> None:
    sampler = kind(steps=60)  # type: ignore[call-arg]
    noise = torch.randn((2_000, 3), generator=generator(8), dtype=torch.float64)
    samples, chain = drawn(sampler, gaussian.denoiser(), noise, diffusion, context(shape=(3,), sampler=sampler))
    assert sampler.shows_chain
    assert [steps for steps, _ in chain] == list(range(len(chain)))
    assert len(chain) > 60
    torch.testing.assert_close(chain[0][1], noise)
    torch.testing.assert_close(chain[-1][1], samples)
    deviations = torch.stack([x.std(0) for _, x in chain])
    assert float(deviations.min()) > 0.4, "the least deviation of the data is 0.55"
    if kind.name != "langevin-corrector":  # which has not converged in so few steps
        assert float(deviations.max()) < 1.3, "the largest is 1"
    again = sampler.draw(gaussian.denoiser(), noise, diffusion, context(shape=(3,), sampler=sampler))
    assert torch.equal(samples, again), "showing changes no sample"


@pytest.mark.parametrize("kind", [StridedAncestral, StridedDdim])
def test_the_chain_of_ddpm(
    gaussian: Any,
    generator: Callable[..., torch.Generator],
    context: Callable[..., trilemma.Context],
    kind: type[DenoiserSampler],
) -> None:
    sampler = kind(steps=12, **({"variance": "small"} if kind is StridedAncestral else {}))  # type: ignore[arg-type]
    noise = torch.randn((2_000, 3), generator=generator(), dtype=torch.float64)
    diffusion = DiscreteVariancePreserving(steps=100)
    samples, chain = drawn(sampler, gaussian.denoiser(), noise, diffusion, context(shape=(3,), sampler=sampler))
    assert [steps for steps, _ in chain] == list(range(13))
    torch.testing.assert_close(chain[-1][1], samples)
    assert float(torch.stack([x.std(0) for _, x in chain]).max()) < 1.3


@pytest.mark.parametrize("kind", [kind for kind in (*ODE_SAMPLERS, *SDE_SAMPLERS) if kind.name in ADAPTIVE])
def test_adaptive_solvers_show_no_chain(
    gaussian: Any, context: Callable[..., trilemma.Context], kind: type[DenoiserSampler]
) -> None:
    sampler = kind()
    chain = drawn(sampler, gaussian.denoiser(), torch.randn(4, 3).double(), VariancePreserving(), context(shape=(3,)))[
        1
    ]
    assert not sampler.shows_chain
    assert chain == []


def test_the_samplers_of_flow_matching_show_their_chains() -> None:
    assert FlowEuler.shows_chain
    assert FlowMultistep.shows_chain


def test_the_coordinates_are_inverse_to_each_other(generator: Callable[..., torch.Generator]) -> None:
    x = torch.randn((5, 2, 2), generator=generator(), dtype=torch.float64)
    sigma = torch.tensor([1e-3, 0.5, 1.0, 20.0, 300.0], dtype=torch.float64)
    torch.testing.assert_close(to_variance_exploding(to_variance_preserving(x, sigma), sigma), x)
