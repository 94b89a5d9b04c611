"""Gaussian mixtures: sampling, density and entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .quadrature import Estimate, monte_carlo

_SCALES = 4.0  # largest ratio of the standard deviations at which quadrature is used


@dataclass(frozen=True)
class GaussianMixture:
    """The Gaussian mixture sum_k weights[k] N(centers[k], factors[k] factors[k]^T), in float64.

    Shapes: `weights` (k,) summing to 1, `centers` (k, d), `factors` (k, d, d) lower triangular.
    """

    weights: Tensor
    centers: Tensor
    factors: Tensor

    @classmethod
    def isotropic(cls, centers: Tensor, sigmas: float | Tensor, weights: Tensor | None = None) -> GaussianMixture:
        """A mixture of isotropic components.

        `sigmas` is one standard deviation, or one for each component. Weights are normalized; by default they are
        equal.
        """
        centers = centers.double()
        k, d = centers.shape
        weights = torch.ones(k, dtype=torch.float64) if weights is None else weights.double()
        scale = torch.as_tensor(sigmas, dtype=torch.float64).expand(k)
        factors = scale.reshape(k, 1, 1) * torch.eye(d, dtype=torch.float64)
        return cls(weights / weights.sum(), centers, factors)

    @property
    def covariances(self) -> Tensor:
        """The covariances of the components, `(k, d, d)`."""
        return self.factors @ self.factors.mT

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw `n` independent points (n, d), float64."""
        k, d = self.centers.shape
        labels = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        x = torch.randn(n, d, generator=generator, dtype=torch.float64)
        for label in range(k):
            rows = labels == label
            x[rows] = self.centers[label] + x[rows] @ self.factors[label].mT
        return x

    def component_log_probs(self, x: Tensor) -> Tensor:
        """log(weights[k] N(x; centers[k], covariances[k])) for each component k, shape (k, n)."""
        d = self.centers.shape[1]
        whitening = torch.linalg.inv(self.factors)
        log_heights = (
            self.weights.log() - self.factors.diagonal(dim1=1, dim2=2).log().sum(1) - 0.5 * d * math.log(2 * math.pi)
        )
        if (self.factors == self.factors[0]).all():
            shared = whitening[0].mT
            distances = torch.cdist(self.centers @ shared, x @ shared, compute_mode="donot_use_mm_for_euclid_dist")
        else:
            pairs = zip(self.centers, whitening, strict=True)
            distances = torch.stack([((x - center) @ matrix.mT).norm(dim=1) for center, matrix in pairs])
        return log_heights.unsqueeze(1) - 0.5 * distances.square()

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density (n,) at the points x (n, d)."""
        return self.component_log_probs(x.double()).logsumexp(0)

    def entropy(self) -> Estimate:
        """The entropy: by quadrature in two dimensions if one grid resolves all components, else by Monte Carlo."""
        scales = torch.linalg.svdvals(self.factors)
        if self.centers.shape[1] == 2 and float(scales.max() / scales.min()) <= _SCALES:
            return self.planar_entropy()
        return self.monte_carlo_entropy()

    def planar_entropy(self, step: float = 0.2) -> Estimate:
        """The entropy for d = 2: E[-log p] under each component by the trapezoidal rule in its whitened coordinates.

        The rule is accurate to rounding for components of similar scales. The error is the difference from the value on
        a coarser grid.
        """
        fine, coarse = (self._entropy_on_grid(h) for h in (step, 1.25 * step))
        return Estimate(fine, abs(fine - coarse) + 1e-12)

    def _entropy_on_grid(self, step: float) -> float:
        axis = torch.arange(-round(9 / step), round(9 / step) + 1, dtype=torch.float64) * step
        u = torch.cartesian_prod(axis, axis)
        mass = torch.exp(-0.5 * u.square().sum(1)) * step**2 / (2 * math.pi)
        total = 0.0
        for weight, center, factor in zip(self.weights, self.centers, self.factors, strict=True):
            total -= float(weight) * float(mass @ self.log_prob(center + u @ factor.mT))
        return total

    def monte_carlo_entropy(self, n: int = 200_000) -> Estimate:
        """The entropy for any d as H(X|Z) + H(Z) - E[H(Z|X)], the last term by Monte Carlo with a fixed seed."""
        d = self.centers.shape[1]
        log_volumes = self.factors.diagonal(dim1=1, dim2=2).log().sum(1)
        within = 0.5 * d * math.log(2 * math.pi * math.e) + float(self.weights @ log_volumes)
        between = -float(torch.special.xlogy(self.weights, self.weights).sum())
        log_posterior = self.component_log_probs(self.sample(n, torch.Generator().manual_seed(0))).log_softmax(0)
        ambiguity = monte_carlo(-(log_posterior.exp() * log_posterior).sum(0))
        return Estimate(within + between - ambiguity.value, ambiguity.error)
