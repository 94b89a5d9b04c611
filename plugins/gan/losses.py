"""The losses of both players of adversarial training (Goodfellow et al. 2014), and the R1 gradient penalty."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigmoid(D(real)) - log(1 - sigmoid(D(fake))) of each pair of logits (Goodfellow et al. 2014, eq. 1)."""
    return F.softplus(-real) + F.softplus(fake)


def generator_loss(fake: Tensor) -> Tensor:
    """The non-saturating loss -log sigmoid(D(fake)) of each logit (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-fake)


def with_squared_gradient(discriminate: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """The logits of points `x` and |grad_x D(x)|^2, both of shape `(n,)`, in one forward pass.

    The mean of |grad_x D(x)|^2 is the R1 penalty at real points and the R2 penalty at generated points (Mescheder et
    al. 2018, section 4.1), here without the factor gamma / 2. It can be differentiated once more.
    """
    x = x.detach().requires_grad_()
    logits = discriminate(x)
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return logits, gradient.square().flatten(1).sum(1)
