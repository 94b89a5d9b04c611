"""Sylvester flows (van den Berg et al. 2018)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from .flow import Bijection, Flow, Inverse
from .model import FlowConfig, FlowModel
from .rootfind import solve_increasing


class Sylvester(Bijection):
    """y = x + Q R tanh(S Q'x + b), where Q has M orthonormal columns, and R and S are upper triangular (eq. 13).

    Q consists of columns of the matrix exponential of a skew-symmetric matrix. The map is invertible because
    R_ii S_ii > -1 (theorem 2). The inverse computes the coordinates of Q'x from those of Q'y one by one, starting with
    the last. Each is the root of an increasing function.
    """

    def __init__(self, d: int, columns: int) -> None:
        super().__init__()
        self.columns = min(d, columns)
        self.skew = nn.Parameter(torch.randn(d, d) / d**0.5)
        self.outer = nn.Parameter(0.1 * torch.randn(self.columns, self.columns))
        self.inner = nn.Parameter(torch.randn(self.columns, self.columns) / self.columns**0.5)
        self.bias = nn.Parameter(torch.randn(self.columns))

    def factors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Q `(d, M)`, R and S `(M, M)`. The diagonals of R and S lie in (-1, 1)."""
        q = torch.linalg.matrix_exp(self.skew - self.skew.T)[:, : self.columns]
        r, s = (m.triu(1) + torch.diag(torch.tanh(m.diagonal()) * (1 - 5e-4)) for m in (self.outer, self.inner))
        return q, r, s

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)` (eq. 14)."""
        q, r, s = self.factors()
        h = torch.tanh(x @ q @ s.T + self.bias)
        return x + h @ (q @ r).T, torch.log1p(r.diagonal() * s.diagonal() * (1 - h.square())).sum(1)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        q, r, s = self.factors()
        target = (y @ q).unbind(1)
        found: list[Tensor] = []  # Q'x and h, from the last coordinate back
        hs: list[Tensor] = []
        for i in reversed(range(self.columns)):
            shift, rest = self.bias[i].expand(len(y)), target[i]
            if found:
                shift = shift + torch.stack(found[::-1]).T @ s[i, i + 1 :]
                rest = rest - torch.stack(hs[::-1]).T @ r[i, i + 1 :]
            root = self._root(r[i, i], s[i, i], shift, rest)
            found.append(root)
            hs.append(torch.tanh(s[i, i] * root + shift))
        h = torch.stack(hs[::-1], dim=1)
        logdet = torch.log1p(r.diagonal() * s.diagonal() * (1 - h.square())).sum(1)
        return y - h @ (q @ r).T, -logdet

    @staticmethod
    def _root(r: Tensor, s: Tensor, shift: Tensor, target: Tensor) -> Tensor:
        """The v with v + r tanh(s v + shift) = target."""

        def function(v: Tensor) -> tuple[Tensor, Tensor]:
            h = torch.tanh(s * v + shift)
            return v + r * h, 1 + r * s * (1 - h.square())

        return solve_increasing(function, target, target - 1.001, target + 1.001)


class SylvesterFlow(FlowModel):
    """Sylvester flow (van den Berg et al. 2018): planar flows with a bottleneck of several units.

    Deviations: parameters are not amortized; Q consists of columns of a matrix exponential, and is neither
    orthogonalized by iterations nor a product of Householder reflections; the diagonals of R and S lie in (-1, 1),
    which is stricter than theorem 2; under maximum likelihood, which the paper does not use, the flow is turned around.

    The direction with a closed form is from data to the base distribution under maximum likelihood, and from the base
    distribution to samples under the reverse KL. The other direction is solved numerically, exactly up to rounding.
    """

    name = "sylvester"
    recipe = trilemma.Recipe(lr=1e-2, batch_size=512, schedule="onecycle", ema=0.998)

    class Config(FlowConfig):
        """Options of the architecture and of the training objective."""

        transforms: int = Field(16, ge=1, description="number of layers")
        columns: int = Field(
            16, ge=1, description="number of units in the bottleneck of a layer, at most the number of coordinates"
        )

    def make(self, info: trilemma.DataInfo) -> Flow:
        layers: list[Bijection] = [Sylvester(info.dim, self.config.columns) for _ in range(self.config.transforms)]
        if self.config.objective == "reverse-kl":
            layers = [Inverse(layer) for layer in layers]
        return Flow(layers, self.base(info))
