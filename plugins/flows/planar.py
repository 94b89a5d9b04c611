"""Planar and radial flows (Rezende & Mohamed 2015, section 4.1)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

import trilemma

from .flow import Bijection, Flow, Inverse
from .model import FlowConfig, FlowModel
from .rootfind import solve_increasing


class Planar(Bijection):
    """y = x + u tanh(w'x + b) (eq. 10), with u corrected so that w'u > -1 (appendix A.1).

    The inverse needs only s = w'x. It is the root of s + w'u tanh(s + b) = w'y, which is found numerically.
    """

    def __init__(self, d: int) -> None:
        super().__init__()
        self.u = nn.Parameter(0.1 * torch.randn(d))
        self.w = nn.Parameter(torch.randn(d))
        self.b = nn.Parameter(torch.randn(()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)` (eq. 12)."""
        u, wu = self._direction()
        h = torch.tanh(x @ self.w + self.b)
        return x + h.unsqueeze(1) * u, torch.log1p(wu * (1 - h.square()))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        u, wu = self._direction()

        def along(s: Tensor) -> tuple[Tensor, Tensor]:
            h = torch.tanh(s + self.b)
            return s + wu * h, 1 + wu * (1 - h.square())

        target = y @ self.w
        reach = wu.abs() + 1e-3
        s = solve_increasing(along, target, target - reach, target + reach)
        h = torch.tanh(s + self.b)
        return y - h.unsqueeze(1) * u, -torch.log1p(wu * (1 - h.square()))

    def _direction(self) -> tuple[Tensor, Tensor]:
        """The corrected u and w'u."""
        wu = self.w @ self.u
        corrected = F.softplus(wu) - 1 + 1e-3
        return self.u + (corrected - wu) * self.w / self.w.square().sum(), corrected


class Radial(Bijection):
    """y = x + beta (x - x_0) / (alpha + r) with r = |x - x_0| (eq. 14), alpha > 0 and beta > -alpha (appendix A.2).

    r' = |y - x_0| = r (1 + beta / (alpha + r)) is a quadratic equation in r, so that the inverse has a closed form.
    """

    def __init__(self, d: int) -> None:
        super().__init__()
        self.center = nn.Parameter(torch.randn(d))
        self.log_alpha = nn.Parameter(torch.randn(()))
        self.raw_beta = nn.Parameter(torch.full((), 0.5))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)` (eq. 14)."""
        alpha, beta = self._constants()
        offset = x - self.center
        r = torch.linalg.vector_norm(offset, dim=1)
        return self.center + offset * (1 + beta / (alpha + r)).unsqueeze(1), self._logdet(r, x.shape[1])

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        alpha, beta = self._constants()
        offset = y - self.center
        rho = torch.linalg.vector_norm(offset, dim=1)
        b = alpha + beta - rho
        root = (b.square() + 4 * alpha * rho).sqrt()
        # Both forms are the positive root of r^2 + b r - alpha rho. Each is used where it is free of cancellation.
        r = torch.where(b > 0, 2 * alpha * rho / (b + root).clamp_min(1e-30), (root - b) / 2)
        return self.center + offset / (1 + beta / (alpha + r)).unsqueeze(1), -self._logdet(r, y.shape[1])

    def _constants(self) -> tuple[Tensor, Tensor]:
        alpha = self.log_alpha.exp()
        return alpha, F.softplus(self.raw_beta) - alpha * (1 - 1e-3)

    def _logdet(self, r: Tensor, d: int) -> Tensor:
        alpha, beta = self._constants()
        h = beta / (alpha + r)
        return (d - 1) * torch.log1p(h) + torch.log1p(h - beta * r / (alpha + r).square())


class PlanarConfig(FlowConfig):
    """Options of planar and radial flows."""

    transforms: int = Field(32, ge=1, description="number of layers")


class PlanarFlow(FlowModel):
    """Planar flow (Rezende & Mohamed 2015): a composition of expansions and contractions along hyperplanes.

    A layer has a closed form in one direction only. Under maximum likelihood this is the direction from data to the
    base distribution, and samples need a numerical inverse, which is exact up to rounding. Under the reverse KL, as in
    the paper, it is the direction from the base distribution to samples, and densities of data need the inverse.
    """

    name = "planar"
    recipe = trilemma.Recipe(lr=1e-2, batch_size=512, schedule="onecycle", ema=0.998)

    class Config(PlanarConfig):
        """Options of the architecture and of the training objective."""

    def make(self, info: trilemma.DataInfo) -> Flow:
        return Flow(_turned(self.config, [Planar(info.dim) for _ in range(self.config.transforms)]), self.base(info))


class RadialFlow(FlowModel):
    """Radial flow (Rezende & Mohamed 2015): a composition of expansions and contractions around points.

    The layers map data to the base distribution under maximum likelihood, and the base distribution to samples under
    the reverse KL.
    """

    name = "radial"
    recipe = trilemma.Recipe(lr=1e-2, batch_size=512, schedule="onecycle", ema=0.998)

    class Config(PlanarConfig):
        """Options of the architecture and of the training objective."""

    def make(self, info: trilemma.DataInfo) -> Flow:
        return Flow(_turned(self.config, [Radial(info.dim) for _ in range(self.config.transforms)]), self.base(info))


def _turned(config: FlowConfig, layers: list[Bijection]) -> list[Bijection]:
    """The layers, inverted under the reverse KL, whose training draws samples."""
    return [Inverse(layer) for layer in layers] if config.objective == "reverse-kl" else layers
