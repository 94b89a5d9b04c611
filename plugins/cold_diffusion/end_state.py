"""The distribution of the fully degraded state, from which a restoration starts, fitted to degraded training points."""

from __future__ import annotations

import math
import warnings
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..controls.mixture import mixture_log_prob, sample_mixture

COORDINATES = 64  # most principal coordinates of the mixture; fully degraded points vary in few directions
POINTS = 20_000  # most training points used for the fit


class EndStateConfig(trilemma.Config):
    """The distribution of the fully degraded state."""

    components: int = Field(10, ge=1, description="components of the Gaussian mixture of the fully degraded state")
    regularization: float = Field(
        1e-6, gt=0, description="variance added to the mixture in every direction; it hides finer detail"
    )


class PriorAlone(trilemma.Sampler):
    """Returns the fully degraded state without the restoration network, with no evaluations. It is a control.

    An invertible degradation loses no information, so a mixture fitted to fully degraded points can already hold the
    whole data distribution. Then the restoration network only has to undo a scaling. The option `linear` shows how far
    the best linear map comes in this. A restoration network is useful only if it does better.
    """

    name = "prior-alone"
    restore: Literal["none", "linear"] = Field(
        "none", description="'none' gives the state itself; 'linear' restores it by the best linear map"
    )


class EndState(nn.Module):
    """A Gaussian mixture of fully degraded points, and the best linear map back to the data.

    The mixture is fitted by EM with scikit-learn in the leading principal coordinates, at most 64. Along the other
    coordinates the state is Gaussian, with one variance for all.
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
        """Fit the mixture and the linear map to `degraded` points and the training points `x`, both `(n, *shape)`."""
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
        # The regularization counts as noise in the linear estimate, so that it does not amplify detail below it.
        inner = coordinates.T @ coordinates / len(ends) + noise * torch.eye(k).to(ends)
        self.way_back.copy_(torch.linalg.solve(inner, coordinates.T @ origins / len(ends)))
        seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
        mixture = GaussianMixture(len(self.weights), reg_covar=noise, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a fit that has not converged still serves as a start
            mixture.fit(coordinates.cpu().numpy())
        self.weights.copy_(torch.from_numpy(mixture.weights_))
        self.means.copy_(torch.from_numpy(mixture.means_))
        self.factors.copy_(torch.linalg.cholesky(torch.from_numpy(mixture.covariances_)))

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw `n` fully degraded states, shape `(n, *shape)`, float32."""
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
        """The best linear estimate of the original points, from states `(n, *shape)`."""
        coordinates = (state.flatten(1).double() - self.mean) @ self.basis.T
        return (self.restored_mean + coordinates @ self.way_back).to(state).reshape(state.shape)

    def alone(self, state: Tensor, sampler: PriorAlone) -> Tensor:
        """The samples of the sampler `prior-alone` for states `(n, *shape)`."""
        return self.restore(state) if sampler.restore == "linear" else state
