"""Every sampler on Gaussian data, vectors and images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import trilemma
from trilemma.plugins.diffusion.denoiser import DenoiserSampler, Preconditioned
from trilemma.plugins.diffusion.ode_samplers import ODE_SAMPLERS, StochasticHeun
from trilemma.plugins.diffusion.schedules import Diffusion, VariancePreserving
from trilemma.plugins.diffusion.sde_samplers import SDE_SAMPLERS

ALL_SAMPLERS = [*ODE_SAMPLERS, StochasticHeun, *SDE_SAMPLERS]
FINE = {
    "gotta-go-fast": {"rtol": 0.02},
    "langevin-corrector": {"steps": 1500, "snr": 0.35},
    "dormand-prince": {},
}


@pytest.mark.parametrize("kind", ALL_SAMPLERS)
def test_samples_have_the_moments_of_the_data(
    gaussian: Any,
    generator: Callable[..., torch.Generator],
    context: Callable[..., trilemma.Context],
    kind: type[DenoiserSampler],
    diffusion: Diffusion,
) -> None:
    sampler = kind(**FINE.get(kind.name, {"steps": 400}))
    noise = torch.randn((5_000, 3), generator=generator(3), dtype=torch.float64)
    samples = sampler.draw(gaussian.denoiser(), noise, diffusion, context(shape=(3,), seed=4, sampler=sampler))
    torch.testing.assert_close(samples.mean(0), torch.zeros(3).double(), atol=0.045, rtol=0)
    torch.testing.assert_close(samples.T.cov(), gaussian.covariance, atol=0.06, rtol=0)


class Silent(nn.Module):
    """A raw network whose output is 0."""

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return torch.zeros_like(x)


@pytest.mark.parametrize("kind", ALL_SAMPLERS)
def test_samplers_treat_images_as_vectors(
    generator: Callable[..., torch.Generator], context: Callable[..., trilemma.Context], kind: type[DenoiserSampler]
) -> None:
    raw, diffusion = Preconditioned(Silent()), VariancePreserving()
    sampler = kind(**({"steps": 6} if "steps" in kind.model_fields else {}))
    flat = torch.randn((5, 12), generator=generator(), dtype=torch.float64)
    images = sampler.draw(raw, flat.reshape(5, 3, 2, 2), diffusion, context(sampler=sampler)).flatten(1)
    torch.testing.assert_close(images, sampler.draw(raw, flat, diffusion, context(sampler=sampler)))
