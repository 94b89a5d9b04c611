"""Planar and radial flows (Rezende & Mohamed 2015, section 4.1)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

import trilemma

from .flow import Bijection, Flow, Inverse
from .fused import is_plain
from .fused_planar import Activations, RadialPass, activations, radial_pass
from .model import FlowConfig, FlowModel
from .rootfind import solve_increasing


class Planar(Bijection):
    """`count` layers y = x + u tanh(w'x + b) in turn (eq. 10), with u corrected so that w'u > -1 (appendix A.1).

    Layer j sees x plus the shifts u_i h_i of the layers before it, with h_i = tanh(w_i'x_i + b_i). So the activations
    are h_j = tanh(w_j'x + b_j + the sum over i < j of w_j'u_i h_i). Only they are computed layer by layer; products
    with x and determinants are batched over the layers.

    The inverse needs only s = w'x of each layer, from the last to the first. It is the root of
    s + w'u tanh(s + b) = w'y, which is found numerically.
    """

    def __init__(self, d: int, count: int) -> None:
        super().__init__()
        self.u = nn.Parameter(0.1 * torch.randn(count, d))
        self.w = nn.Parameter(torch.randn(count, d))
        self.b = nn.Parameter(torch.randn(count))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)` (eq. 12)."""
        u, wu = self._directions()
        s, mixing = torch.addmm(self.b.unsqueeze(1), self.w, x.T), self.w @ u.T
        h: Tensor = Activations.apply(s, mixing) if is_plain() else activations(s, mixing)  # type: ignore[no-untyped-call]
        return torch.addmm(x, h.T, u), torch.log1p(wu.unsqueeze(1) * (1 - h.square())).sum(0)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        u, wu = self._directions()
        total = y.new_zeros(len(y))
        for u_j, w_j, b_j, wu_j in reversed([*zip(u, self.w, self.b, wu, strict=True)]):

            def along(s: Tensor, b: Tensor = b_j, wu: Tensor = wu_j) -> tuple[Tensor, Tensor]:
                h = torch.tanh(s + b)
                return s + wu * h, 1 + wu * (1 - h.square())

            target, reach = y @ w_j, wu_j.abs() + 1e-3
            h = torch.tanh(solve_increasing(along, target, target - reach, target + reach) + b_j)
            y, total = y - h.unsqueeze(1) * u_j, total - torch.log1p(wu_j * (1 - h.square()))
        return y, total

    def _directions(self) -> tuple[Tensor, Tensor]:
        """The corrected u, `(count, d)`, and w'u, `(count,)`."""
        wu = (self.w * self.u).sum(1)
        corrected = F.softplus(wu) - 1 + 1e-3
        return self.u + ((corrected - wu) / self.w.square().sum(1)).unsqueeze(1) * self.w, corrected


class Radial(Bijection):
    """`count` layers y = x + beta (x - x_0) / (alpha + r) in turn, with r = |x - x_0| (eq. 14).

    alpha > 0 and beta > -alpha (appendix A.2). The determinants are batched over the layers. r' = |y - x_0| =
    r (1 + beta / (alpha + r)) is a quadratic equation in r, so that the inverse has a closed form.
    """

    def __init__(self, d: int, count: int) -> None:
        super().__init__()
        self.center = nn.Parameter(torch.randn(count, d))
        self.log_alpha = nn.Parameter(torch.randn(count))
        self.raw_beta = nn.Parameter(torch.full((count,), 0.5))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)` (eq. 14)."""
        alpha, beta = self._constants()
        walk = RadialPass.apply if is_plain() else radial_pass
        y, r = walk(x.T, self.center, alpha, beta)  # type: ignore[no-untyped-call]
        return y.T, self._logdet(r, alpha, beta, x.shape[1])

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        alphas, betas = self._constants()
        found: list[Tensor] = []
        for center, alpha, beta in reversed([*zip(self.center, alphas, betas, strict=True)]):
            offset = y - center
            rho = torch.linalg.vector_norm(offset, dim=1)
            b = alpha + beta - rho
            root = (b.square() + 4 * alpha * rho).sqrt()
            # Both forms are the positive root of r^2 + b r - alpha rho. Each is used where it is free of cancellation.
            r = torch.where(b > 0, 2 * alpha * rho / (b + root).clamp_min(1e-30), (root - b) / 2)
            y = center + offset / (1 + beta / (alpha + r)).unsqueeze(1)
            found.append(r)
        return y, -self._logdet(torch.stack(found[::-1]), alphas, betas, y.shape[1])

    def _constants(self) -> tuple[Tensor, Tensor]:
        alpha = self.log_alpha.exp()
        return alpha, F.softplus(self.raw_beta) - alpha * (1 - 1e-3)

    @staticmethod
    def _logdet(r: Tensor, alpha: Tensor, beta: Tensor, d: int) -> Tensor:
        """The log-determinant of all layers together, `(n,)`, from the r of each, `(count, n)`."""
        reach = alpha.unsqueeze(1) + r
        h = beta.unsqueeze(1) / reach
        return ((d - 1) * torch.log1p(h) + torch.log1p(h - h * r / reach)).sum(0)


class PlanarConfig(FlowConfig):
    """Options of planar and radial flows."""

    transforms: int = Field(32, ge=1, description="number of layers")


class PlanarFlow(FlowModel):
    """Planar flow (Rezende & Mohamed 2015): a composition of expansions and contractions along hyperplanes.

    A layer has a closed form in one direction only. Under the reverse KL, as in the paper, it is the direction from the
    base distribution to samples, and densities of data need the inverse. The paper's flows are amortized posteriors;
    these layers have parameters of their own. Deviations: under maximum likelihood, which the paper does not use, the
    direction with a closed form is from data to the base distribution, and samples need a numerical inverse, which is
    exact up to rounding; w'u > -1 + 1/1000; there is no annealing of the target density (the paper's eq. 20).
    """

    name = "planar"
    recipe = trilemma.Recipe(lr=1e-2, batch_size=512, schedule="onecycle", ema=0.998)

    class Config(PlanarConfig):
        """Options of the architecture and of the training objective."""

    def make(self, info: trilemma.DataInfo) -> Flow:
        return Flow([turned(self.config, Planar(info.dim, self.config.transforms))], self.base(info))


class RadialFlow(FlowModel):
    """Radial flow (Rezende & Mohamed 2015): a composition of expansions and contractions around points.

    The layers map data to the base distribution under maximum likelihood, and the base distribution to samples under
    the reverse KL. The inverse has a closed form. Deviations: as for the planar flow, with beta > -0.999 alpha.
    """

    name = "radial"
    recipe = trilemma.Recipe(lr=1e-2, batch_size=512, schedule="onecycle", ema=0.998)

    class Config(PlanarConfig):
        """Options of the architecture and of the training objective."""

    def make(self, info: trilemma.DataInfo) -> Flow:
        return Flow([turned(self.config, Radial(info.dim, self.config.transforms))], self.base(info))


def turned(config: FlowConfig, layers: Bijection) -> Bijection:
    """The layers, inverted under the reverse KL, whose training draws samples."""
    return Inverse(layers) if config.objective == "reverse-kl" else layers
