"""A learned noise schedule: a rising network for gamma(t), the logarithm of the squared noise level."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..schedules import Diffusion

BISECTIONS = 60
"""Halvings of the time in the search for the time of a noise level, enough for double precision."""


class LearnedSchedule(nn.Module):
    """gamma(t) = ln(sigma(t)^2), a rising function of the time from gamma_0 at t = 0 to gamma_1 at t = 1.

    It is gamma_0 + (gamma_1 - gamma_0) (h(t) - h(0)) / (h(1) - h(0)), with the rising network
    h(t) = |w_1| s + mean_j |a_j| tanh((|b_j| s + c_j) / 2) in s = 2 t - 1, as in the public code. The ends are two
    parameters, so that the bound trains them, and the variance of its estimate trains the rest. Source: Kingma et al.
    2021, appendix H and eq. 59. At first the steps of the units are evenly spaced, so that gamma is nearly linear.
    Without units it is linear.
    """

    start: Tensor

    def __init__(self, gamma: tuple[float, float], units: int) -> None:
        super().__init__()
        self.register_buffer("start", torch.tensor(gamma))
        self.moved = nn.Parameter(torch.zeros(2))  # weight decay pulls the ends to where they started
        self.linear = nn.Parameter(0.2 * torch.ones(()))
        self.height = nn.Parameter(torch.ones(units))
        self.steepness = nn.Parameter(5 + torch.rand(units) * 5)
        self.shift = nn.Parameter(-self.steepness.detach() * torch.linspace(-1.2, 1.2, units))

    @property
    def ends(self) -> Tensor:
        """gamma_0 and gamma_1, `(2,)`."""
        return self.start + self.moved

    def _network(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """h(t) and its derivative for times `(n,)`, in their precision."""
        linear, height, steepness = (w.abs().to(t) for w in (self.linear, self.height, self.steepness))
        s = 2 * t - 1
        unit = ((steepness * s.unsqueeze(-1) + self.shift.to(t)) / 2).tanh()
        units = max(1, len(height))
        value = linear * s + (height * unit).sum(-1) / units
        rate = 2 * linear + (height * steepness * (1 - unit.square())).sum(-1) / units
        return value, rate

    def interior(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(gamma(t) - gamma_0) / (gamma_1 - gamma_0) and its derivative for times `(n,)`, in their precision."""
        low, high = self._network(torch.tensor([0.0, 1.0]).to(t))[0]
        value, rate = self._network(t)
        return (value - low) / (high - low), rate / (high - low)

    def forward(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """gamma(t) and its derivative for times of any shape, in their precision."""
        low, high = self.ends.to(t)
        share, rate = self.interior(t.flatten())
        return (low + (high - low) * share).reshape(t.shape), ((high - low) * rate).reshape(t.shape)


class LearnedDiffusion(Diffusion):
    """The variance-preserving diffusion of a `LearnedSchedule`: alpha^2 = 1 / (1 + exp(gamma)).

    beta = d ln(1 + exp(gamma)) / dt, so that the drift is -beta / 2 and g^2 = beta. No gradient flows to the schedule.
    """

    def __init__(self, schedule: LearnedSchedule) -> None:
        self._schedule = schedule

    @torch.no_grad()
    def beta(self, t: Tensor) -> Tensor:
        """beta(t) = gamma'(t) exp(gamma) / (1 + exp(gamma))."""
        gamma, rate = self._schedule(t)
        beta: Tensor = rate * gamma.sigmoid()
        return beta

    def drift(self, t: Tensor) -> Tensor:
        return -0.5 * self.beta(t)

    def squared_diffusion(self, t: Tensor) -> Tensor:
        return self.beta(t)

    @torch.no_grad()
    def alpha(self, t: Tensor) -> Tensor:
        gamma: Tensor = self._schedule(t)[0]
        return (-gamma).sigmoid().sqrt()

    @torch.no_grad()
    def sigma(self, t: Tensor) -> Tensor:
        gamma: Tensor = self._schedule(t)[0]
        return (gamma / 2).exp()

    @torch.no_grad()
    def time(self, sigma: Tensor) -> Tensor:
        """The time of a noise level by bisection; 0 or 1 for noise levels outside the schedule."""
        low, high = torch.zeros_like(sigma), torch.ones_like(sigma)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            above = self.sigma(middle) > sigma
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return (low + high) / 2
