"""The critic of Sobolev descent: its network, its values and gradients, and the constraint under which it learns."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..networks.mlp import FourierFeatures, initialize, mlp

Critic = Callable[[Tensor], Tensor]
"""A function from points `(n, *shape)` to values `(n,)`."""


def values_and_gradients(critic: Critic, x: Tensor, *, differentiable: bool = False) -> tuple[Tensor, Tensor]:
    """f(x_i), shape `(n,)`, and the gradient of f at each point, of the shape of `x`.

    No value depends on another point, so the gradient of the sum of values gives the gradient of each value. With
    `differentiable`, the results can be differentiated with respect to the parameters of the critic.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        values = critic(x)
        gradients = torch.autograd.grad(values.sum(), x, create_graph=differentiable)[0]
    return (values, gradients) if differentiable else (values.detach(), gradients)


def sobolev_constraint(values: Tensor, gradients: Tensor, alpha: float) -> Tensor:
    """C = E_q|grad f|^2 + alpha Var_q f - 1, from f and its gradient at the particles.

    Sources: Mroueh, Sercu & Raj 2019, eq. 3 (alpha = 0); Mroueh & Rigotti 2020, section 3.
    """
    squared = gradients.square().flatten(1).sum(1)
    return squared.mean() + alpha * values.var(correction=0) - 1


def augmented_lagrangian(gap: Tensor, constraint: Tensor, multiplier: Tensor, rho: float) -> Tensor:
    """The augmented Lagrangian (E_p f - E_q f) - lambda C - rho C^2 / 2, which the critic maximizes."""
    return gap - multiplier * constraint - rho / 2 * constraint.square()


class CriticNetwork(nn.Module):
    """A critic f from points `(n, d)` to values `(n,)`: an MLP over Fourier features of the point."""

    def __init__(self, d: int, hidden: tuple[int, ...], octaves: int) -> None:
        super().__init__()
        self.features = FourierFeatures(octaves)
        self.body = mlp((self.features.width(d), *hidden, 1))
        initialize(self.body, last_gain=0.5)

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = self.body(self.features(x))[:, 0]
        return value
