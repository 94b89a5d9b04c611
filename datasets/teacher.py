"""A fixed random flow, used as a distribution of small images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

import trilemma


@dataclass(frozen=True)
class AdditiveCoupling:
    """The coupling y_b = x_b + outer sin(inner x_a + phase), y_a = x_a (Dinh et al. 2015), with determinant 1.

    The halves a and b of the coordinates have the indices `kept` and `moved`.
    """

    kept: Tensor
    moved: Tensor
    inner: Tensor
    phase: Tensor
    outer: Tensor

    def _shift(self, x: Tensor) -> Tensor:
        return torch.sin(x[:, self.kept] @ self.inner.mT + self.phase) @ self.outer.mT

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) to (n, d)."""
        y = x.clone()
        y[:, self.moved] += self._shift(x)
        return y

    def inverse(self, y: Tensor) -> Tensor:
        """(n, d) to (n, d)."""
        x = y.clone()
        x[:, self.moved] -= self._shift(y)
        return x


def cosine_basis(side: int) -> Tensor:
    """The orthonormal 2-D cosine transform of side x side images, (side^2, side^2), one basis image per row."""
    k = torch.arange(side, dtype=torch.float64)
    basis = torch.cos(math.pi * k.unsqueeze(1) * (k + 0.5) / side) * math.sqrt(2 / side)
    basis[0] /= math.sqrt(2)
    return torch.kron(basis, basis)


def amplitudes(side: int, falloff: float) -> Tensor:
    """The amplitude (1 + |frequency|)^-falloff of each frequency, (side^2,). Natural images have falloff 1."""
    k = torch.arange(side, dtype=torch.float64)
    return (1 + torch.hypot(*torch.meshgrid(k, k, indexing="ij"))).pow(-falloff).flatten()


class Teacher(trilemma.Distribution):
    """A flow with fixed random weights, which gives flattened 8 x 8 images with the spectrum of natural images.

    Noise passes through additive couplings, which give strongly dependent coefficients that are not Gaussian. The
    coefficients are the amplitudes of cosines; they fall with frequency. The couplings preserve volume, so the entropy
    is (d/2) ln(2 pi e) plus the sum of the logarithms of the amplitudes.
    """

    name = "teacher-8x8"
    title = "Frozen flow, 8 x 8"

    class Config(trilemma.DistributionConfig):
        """Size of the flow."""

        side: int = Field(8, ge=2, description="side of the images; points have side^2 coordinates")
        layers: int = Field(4, ge=0, description="number of couplings")
        hidden: int = Field(32, ge=1, description="sine units in each coupling")
        strength: float = Field(2.0, ge=0, description="approximate root mean square of what a coupling adds")
        falloff: float = Field(1.0, ge=0, description="exponent with which amplitudes fall with frequency")
        weights_seed: int = Field(0, ge=0, description="seed of the fixed weights")

    @property
    def entropy(self) -> float:
        d = int(self.config.side) ** 2
        return 0.5 * d * math.log(2 * math.pi * math.e) + float(self._amplitudes.log().sum())

    @property
    def entropy_error(self) -> float:
        return 0.0

    @cached_property
    def _amplitudes(self) -> Tensor:
        return amplitudes(self.config.side, self.config.falloff)

    @cached_property
    def _basis(self) -> Tensor:
        return cosine_basis(self.config.side)

    @cached_property
    def _couplings(self) -> list[AdditiveCoupling]:
        c = self.config
        d, state = c.side**2, np.random.RandomState(c.weights_seed)
        half = d // 2
        couplings = []
        for _ in range(c.layers):
            order = torch.from_numpy(state.permutation(d))
            kept, moved = order[:half], order[half:]
            inner = torch.from_numpy(math.sqrt(2 / half) * state.standard_normal((c.hidden, half)))
            phase = torch.from_numpy(state.uniform(0, 2 * math.pi, c.hidden))
            outer = torch.from_numpy(c.strength * math.sqrt(2 / c.hidden) * state.standard_normal((d - half, c.hidden)))
            couplings.append(AdditiveCoupling(kept, moved, inner, phase, outer))
        return couplings

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        z = torch.randn(n, self.config.side**2, generator=generator, dtype=torch.float64)
        for coupling in self._couplings:
            z = coupling.forward(z)
        return ((z * self._amplitudes) @ self._basis).float()

    def log_prob(self, x: Tensor) -> Tensor:
        z = (x.double() @ self._basis.mT) / self._amplitudes
        for coupling in reversed(self._couplings):
            z = coupling.inverse(z)
        d = int(self.config.side) ** 2
        return -0.5 * z.square().sum(1) - 0.5 * d * math.log(2 * math.pi) - self._amplitudes.log().sum()
