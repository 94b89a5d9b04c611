"""Langevin Monte Carlo on the score of the true distribution: a limit for Langevin sampling with a learned score."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

import trilemma

from ..diffusion.langevin_samplers import Langevin


class LangevinMonteCarlo(trilemma.Model):
    """Langevin Monte Carlo on the score of the true distribution, for datasets with an exact density.

    It is a control that learns nothing and evaluates no network. It shows the errors of the sampler without the errors
    of a learned score: for example, it gives wrong weights to modes that are far apart. Where the density is zero, a
    chain moves by noise alone.
    """

    name = "langevin"
    family = "control"
    control = True
    pictured = False
    needs_truth = True
    samplers = (Langevin,)

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        return None

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        options, truth = ctx.sampler, ctx.truth
        assert isinstance(options, Langevin)
        if truth is None:
            raise trilemma.UnsupportedError(
                "the model langevin needs the score of the true distribution, which this dataset does not have"
            )

        def true_score(x: Tensor) -> Tensor:
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                gradient = torch.autograd.grad(truth.log_prob(x).sum(), x)[0]
            return gradient.nan_to_num(0.0, 0.0, 0.0)

        noise = torch.randn((n, *ctx.info.shape), generator=ctx.generator, device=ctx.device)
        return options.follow(true_score, noise, ctx)

    def state(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        return None
