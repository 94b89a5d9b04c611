"""Flow posteriors of variational autoencoders: layers whose parameters depend on the data point.

The encoder gives a diagonal Gaussian q_0 and a context h for each data point. The layers map z_0 ~ q_0 to z_K, and
log q(z_K | x) = log q_0(z_0) - sum_k log|det dz_k / dz_{k-1}| (Rezende & Mohamed 2015, eq. 13).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PosteriorKind = Literal["gaussian", "planar", "sylvester", "iaf"]


class PosteriorLayer(nn.Module, ABC):
    """An invertible map of latents, with parameters from the context."""

    @abstractmethod
    def forward(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """`(z', log|det dz'/dz|)` of latents `(n, d)` with contexts `(n, context)`: shapes `(n, d)` and `(n,)`."""


class PlanarLayer(PosteriorLayer):
    """z + u tanh(w'z + b), where u, w and b are linear in the context (Rezende & Mohamed 2015, eq. 10).

    u is corrected as in appendix A.1. Deviation: with w'u > -1 + 1/1000 and not w'u > -1, so that the log-determinant
    stays finite where softplus rounds to zero.
    """

    def __init__(self, d: int, context: int) -> None:
        super().__init__()
        self.d = d
        self.parameters_of = small_linear(context, 2 * d + 1)
        with torch.no_grad():
            self.parameters_of.bias[d : 2 * d].normal_()

    def forward(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        u, w, b = self.parameters_of(h).split([self.d, self.d, 1], dim=1)
        inner = (w * u).sum(1)
        corrected = F.softplus(inner) - 1 + 1e-3
        u = u + ((corrected - inner) / w.square().sum(1)).unsqueeze(1) * w
        a = torch.tanh((w * z).sum(1) + b.squeeze(1))
        return z + u * a.unsqueeze(1), torch.log1p(corrected * (1 - a.square()))


class SylvesterLayer(PosteriorLayer):
    """z + Q R tanh(S Q'z + b) with R and S upper triangular (van den Berg et al. 2018, eq. 13).

    Q is a product of `reflections` Householder reflections (H-SNF, section 4.2), so the bottleneck has as many units as
    there are latents. The diagonals of R and S lie in (-1, 1). All of these parameters are linear in the context.
    """

    mask: Tensor

    def __init__(self, d: int, context: int, reflections: int = 4) -> None:
        super().__init__()
        self.d, self.reflections = d, reflections
        self.parameters_of = small_linear(context, d * (2 * d + 1 + reflections))
        with torch.no_grad():
            self.parameters_of.bias[d * (2 * d + 1) :].normal_()
        self.register_buffer("mask", torch.ones(d, d).triu(1), persistent=False)

    def forward(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        d = self.d
        outer, inner, b, v = self.parameters_of(h).split([d * d, d * d, d, self.reflections * d], dim=1)
        r, r_diagonal = self._triangular(outer)
        s, s_diagonal = self._triangular(inner)
        v = F.normalize(v.reshape(-1, self.reflections, d), dim=2).unbind(1)
        a = torch.tanh(matvec(s, _reflect(z, v)) + b)
        moved = z + _reflect(matvec(r, a), v[::-1])
        return moved, torch.log1p(r_diagonal * s_diagonal * (1 - a.square())).sum(1)

    def _triangular(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Upper triangular matrices `(n, d, d)` and their diagonals `(n, d)`, in (-1, 1)."""
        square = raw.reshape(-1, self.d, self.d)
        diagonal = torch.tanh(square.diagonal(dim1=1, dim2=2)) * (1 - 1e-4)
        return square * self.mask + torch.diag_embed(diagonal), diagonal


class AutoregressiveLayer(PosteriorLayer):
    """sigma z + (1 - sigma) m, with m and sigma = sigmoid(s) from the coordinates before (Kingma et al. 2016, eq. 14).

    m and s are outputs of a masked network (MADE) of the latents and the context. The order of the coordinates is
    reversed at the end, so that the next layer has the reverse order. At the start sigma is about .88, near the
    identity (section 4).

    The network has `hidden` units, or 2 d if that is more, so that each of the d masks belongs to two units or more.
    """

    mask_in: Tensor
    mask_out: Tensor

    def __init__(self, d: int, context: int, hidden: int = 64) -> None:
        super().__init__()
        hidden = max(hidden, 2 * d)
        places, units = torch.arange(1, d + 1), torch.arange(hidden) % d
        # The context has the place 0, so units of degree 0 see the context alone, and the first coordinate sees them.
        self.register_buffer("mask_in", (units.unsqueeze(1) >= places).float(), persistent=False)
        self.register_buffer("mask_out", (places.unsqueeze(1) > units).float().repeat(2, 1), persistent=False)
        self.latents, self.context = nn.Linear(d, hidden), nn.Linear(context, hidden, bias=False)
        self.last = small_linear(hidden, 2 * d)
        with torch.no_grad():
            self.last.bias[d:] = 2.0

    def forward(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        seen = F.silu(F.linear(z, self.latents.weight * self.mask_in, self.latents.bias) + self.context(h))
        m, s = F.linear(seen, self.last.weight * self.mask_out, self.last.bias).chunk(2, dim=1)
        sigma = torch.sigmoid(s)
        return (sigma * z + (1 - sigma) * m).flip(1), F.logsigmoid(s).sum(1)


class PosteriorFlow(nn.Module):
    """Layers, one after the other. Without layers, the posterior is the Gaussian of the encoder."""

    def __init__(self, kind: PosteriorKind, d: int, context: int, transforms: int) -> None:
        super().__init__()
        kinds: dict[PosteriorKind, type[PosteriorLayer]] = {
            "planar": PlanarLayer,
            "sylvester": SylvesterLayer,
            "iaf": AutoregressiveLayer,
        }
        count = 0 if kind == "gaussian" else transforms
        self.layers = nn.ModuleList(kinds[kind](d, context) for _ in range(count))

    def forward(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """`(z_K, log|det dz_K/dz_0|)`."""
        total = z.new_zeros(len(z))
        for layer in self.layers:
            z, logdet = layer(z, h)
            total = total + logdet
        return z, total


def small_linear(n_in: int, n_out: int) -> nn.Linear:
    """A linear layer with small weights and biases, so that maps with these parameters are near the identity."""
    layer = nn.Linear(n_in, n_out)
    nn.init.normal_(layer.weight, std=0.1 / n_in**0.5)
    nn.init.normal_(layer.bias, std=0.1)
    return layer


def matvec(matrices: Tensor, vectors: Tensor) -> Tensor:
    """The products of matrices `(n, d, d)` with vectors `(n, d)`: `(n, d)`."""
    return (matrices @ vectors.unsqueeze(2)).squeeze(2)


def _reflect(z: Tensor, directions: tuple[Tensor, ...]) -> Tensor:
    """Vectors `(n, d)` after reflections along the unit vectors `directions`, each `(n, d)`, in turn."""
    for v in directions:
        z = z - 2 * (v * z).sum(1, keepdim=True) * v
    return z
