"""The fully degraded state from which a restoration starts, its distribution fitted to degraded training points."""

from __future__ import annotations

import math
import warnings
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..controls.mixture import mixture_log_prob, sample_mixture

COORDINATES = 64  # principal ones that the mixture is fitted in: what is fully degraded has few
POINTS = 20_000  # training points at most


class EndStateConfig(trilemma.Config):
    """The distribution of the fully degraded state."""

    components: int = Field(10, ge=1, description="components of the Gaussian mixture of the fully degraded state")
    regularization: float = Field(
        1e-6, gt=0, description="variance added to the mixture in every direction: it hides detail finer than its root"
    )


class PriorAlone(trilemma.Sampler):
    """The fully degraded state itself, without the restoration network: no evaluations.

    An invertible degradation only scales what is in the data, so that a mixture fitted to its end holds all of it, and
    a restoration that looks like a generator may do no more than to undo the scaling. `linear` is the control of that:
    the best linear way back, which a network has to beat.
    """

    name = "prior-alone"
    restore: Literal["none", "linear"] = Field(
        "none", description="the state as it is, or sent back by the best linear map, fitted to training points"
    )


class EndState(nn.Module):
    """A Gaussian mixture (EM, scikit-learn's) of fully degraded points, and the best linear way back from them.

    The mixture is fitted in the leading principal coordinates, 64 at most; along the others the state is Gaussian with
    one variance for all.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor
    mean: Tensor
    basis: Tensor
    way_back: Tensor
    restored_mean: Tensor
    rest: Tensor

    def __init__(self, shape: tuple[int, ...], config: EndStateConfig) -> None:
        super().__init__()
        self.shape, self.config = shape, config
        d, c = torch.Size(shape).numel(), config.components
        k = min(d, COORDINATES)
        sizes = {
            "weights": (c,),
            "means": (c, k),
            "factors": (c, k, k),
            "mean": (d,),
            "basis": (k, d),
            "way_back": (k, d),
            "restored_mean": (d,),
            "rest": (),
        }
        for name, size in sizes.items():
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64))

    def fit(self, degraded: Tensor, x: Tensor, generator: torch.Generator) -> None:
        """Fit to fully degraded training points and the points `x` that they were, both `(n, *shape)`."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        kept = torch.randperm(len(x), generator=generator, device=generator.device)[:POINTS].to(x.device)
        ends, origins = (points[kept].flatten(1).double() for points in (degraded, x))
        self.mean.copy_(ends.mean(0))
        self.restored_mean.copy_(origins.mean(0))
        ends, origins = ends - self.mean, origins - self.restored_mean
        d, k, noise = ends.shape[1], len(self.basis), self.config.regularization
        variances, directions = torch.linalg.eigh(ends.T @ ends / len(ends))
        self.basis.copy_(directions.flip(1)[:, :k].T)
        self.rest.copy_(noise + variances[: d - k].clamp(min=0).sum() / max(d - k, 1))
        coordinates = ends @ self.basis.T
        # The linear estimate knows of the noise that the regularization is, and amplifies nothing that lies below it.
        inner = coordinates.T @ coordinates / len(ends) + noise * torch.eye(k).to(ends)
        self.way_back.copy_(torch.linalg.solve(inner, coordinates.T @ origins / len(ends)))
        seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
        mixture = GaussianMixture(len(self.weights), reg_covar=noise, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a fit cut short is still a distribution to start from
            mixture.fit(coordinates.cpu().numpy())
        self.weights.copy_(torch.from_numpy(mixture.weights_))
        self.means.copy_(torch.from_numpy(mixture.means_))
        self.factors.copy_(torch.linalg.cholesky(torch.from_numpy(mixture.covariances_)))

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` fully degraded states, shape `(n, *shape)`, float32."""
        coordinates = sample_mixture(n, self.weights, self.means, self.factors, generator).double()
        state = self.mean + coordinates @ self.basis
        if len(self.mean) > len(self.basis):
            noise = torch.randn(state.shape, generator=generator, device=state.device, dtype=state.dtype)
            state = state + self.rest.sqrt() * (noise - noise @ self.basis.T @ self.basis)
        return state.float().reshape(n, *self.shape)

    def log_prob(self, state: Tensor) -> Tensor:
        """Log-density in nats of states `(n, *shape)`, shape `(n,)`, float64."""
        centered = state.flatten(1).double() - self.mean
        coordinates = centered @ self.basis.T
        others = len(self.mean) - len(self.basis)
        squared = centered.square().sum(1) - coordinates.square().sum(1)
        rest = 0.5 * (squared / self.rest + others * (2 * math.pi * self.rest).log()) if others else 0.0
        return mixture_log_prob(coordinates, self.weights, self.means, self.factors) - rest

    def restore(self, state: Tensor) -> Tensor:
        """The best linear estimate of the points that states `(n, *shape)` come from."""
        coordinates = (state.flatten(1).double() - self.mean) @ self.basis.T
        return (self.restored_mean + coordinates @ self.way_back).to(state).reshape(state.shape)

    def alone(self, state: Tensor, sampler: PriorAlone) -> Tensor:
        """What the sampler `prior-alone` shows of states `(n, *shape)`."""
        return self.restore(state) if sampler.restore == "linear" else state
