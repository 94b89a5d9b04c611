"""Samplers of diffusion models, as plain functions over a denoiser. They take vectors and images alike."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from trilemma.plugins.denoiser import Denoiser, probability_flow, score, standard_normal
from trilemma.plugins.schedules import VariancePreserving


def heun(denoise: Denoiser, u: Tensor, sigmas: Tensor) -> Tensor:
    """Heun's second-order method for the probability-flow ODE (Karras et al. 2022, algorithm 1).

    The ODE is solved in variance-preserving coordinates over the angle phi = arctan(sigma): `u` is standard normal at
    the noise level `sigmas[0]`, whatever that is, if it is large. The last step, from `sigmas[-1]` to 0, is the
    denoiser's. Takes 2 len(sigmas) - 1 network evaluations.
    """
    for sigma, sigma_next in pairwise(sigmas):
        step = (sigma_next.atan() - sigma.atan()).to(u)
        slope = probability_flow(denoise, u, sigma)
        slope_next = probability_flow(denoise, u + step * slope, sigma_next)
        u = u + step * (slope + slope_next) / 2
    return denoise(u * (1 + sigmas[-1] ** 2).sqrt().to(u), sigmas[-1])


def euler_maruyama(
    denoise: Denoiser, x: Tensor, schedule: VariancePreserving, times: Tensor, generator: torch.Generator
) -> Tensor:
    """Euler-Maruyama for the reverse-time SDE dx = [f x - g^2 score] dt + g dw (Song et al. 2021, eq. 6).

    `x` is drawn at `times[0]`, and time runs down to `times[-1]`. Takes len(times) - 1 network evaluations. Returns
    the state at the last time, in the coordinates of the diffusion.
    """
    for t, t_next in pairwise(times):
        beta, scale, sigma = (f(t).to(x) for f in (schedule.beta, schedule.scale, schedule.sigma))
        gradient = score(denoise, x / scale, sigma) / scale
        dt = (t_next - t).to(x)
        x = x + (-0.5 * beta * x - beta * gradient) * dt + (-beta * dt).sqrt() * standard_normal(x, generator)
    return x
