"""An audit of few-step likelihoods in any number of dimensions: against the ODE, at samples of the ODE.

A flow map has the density p of the ODE of its velocity, and a few-step number log q. For every density q,
E_p[log q - log p] = -KL(p | q) <= 0. A mean above 0 therefore shows that q is no density, and by Jensen's inequality
its mass is at least the exponential of the mean. Points must be samples of p, not of the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

import trilemma
from trilemma.plugins.flow_maps.flow_map import FlowMap
from trilemma.plugins.flow_maps.likelihoods import ode_slope, standard_normal_log_prob
from trilemma.plugins.flow_maps.networks import MapNetwork
from trilemma.plugins.flow_maps.times import solver_times
from trilemma.plugins.networks.divergence import EXACT_UP_TO
from trilemma.plugins.networks.points import rademacher
from trilemma.plugins.networks.runge_kutta import REFINE, runge_kutta


def ode_samples(v: MapNetwork, noise: Tensor, generator: torch.Generator, steps: int = 40) -> tuple[Tensor, Tensor]:
    """Points `(n, *shape)` to which the ODE dx/dt = v(x, t, t) carries `noise`, with their log-densities `(n,)`.

    Above `EXACT_UP_TO` dimensions the divergence has one random probe for each point, whose error has mean 0.
    """
    exact = noise[0].numel() <= EXACT_UP_TO
    probe = None if exact else rademacher((1, *noise.shape), noise, generator)
    x, total = runge_kutta(ode_slope(v, probe), noise, solver_times(steps).flip(0), refine=REFINE)
    return x, standard_normal_log_prob(noise) - total.reshape(-1, len(noise)).mean(0)


def excess_at_own_samples(
    model: FlowMap, info: trilemma.DataInfo, settings: list[Mapping[str, Any]], n: int, seed: int = 0
) -> list[tuple[float, float | None, float | None]]:
    """E_p[log q - log p] in nats with its 95 % interval, for each of the `settings` of the likelihood.

    Both are log-densities in model space, at `n` samples of the ODE. Not above 0 for a density.
    """
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    noise = torch.randn((n, *info.shape), generator=generator, device=device)
    x, true = ode_samples(model.map, noise, generator)
    found = []
    for setting in settings:
        ctx = trilemma.Context(info=info, device=device, generator=generator, likelihood=model.Likelihood(**setting))
        apart = model.log_prob(x, ctx) - true
        found.append(trilemma.mean_interval(apart.double().cpu().numpy()))
    return found
