"""What cold diffusion is made of: a degradation D(x, t), a restorer R(x_t, t), and the two ways to sample with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..networks.points import per_point

Restore = Callable[[Tensor, Tensor], Tensor]


class Degradation(nn.Module, ABC):
    """A degradation D(x, t) of severity 0 <= t <= 1, with D(x, 0) = x.

    What it learns from training points it keeps in buffers whose shapes are known when it is made. A degradation
    towards something random draws that something, the partner z, once for each point.
    """

    @abstractmethod
    def forward(self, x: Tensor, t: Tensor, z: Tensor | None = None) -> Tensor:
        """D(x, t) of points `(n, *shape)` at severities `()` or `(n,)`, with their partners where there are any."""

    def fit(self, x: Tensor, generator: torch.Generator) -> None:
        """Learn from training points `(n, *shape)`."""
        return None

    def partner(self, x: Tensor, generator: torch.Generator) -> Tensor | None:
        """Partners for points of training; None where the degradation is a function of x and t alone."""
        return None

    def estimate_partner(self, degraded: Tensor, x: Tensor, t: Tensor) -> Tensor | None:
        """The partner that explains the degraded points if they were `x`."""
        return None

    def end(self, n: int, generator: torch.Generator) -> Tensor | None:
        """`n` draws of the fully degraded state, where its distribution is known; None: a mixture fitted to training
        points.
        """
        return None

    def times(self, steps: int, power: float) -> Tensor:
        """The severities (1 - i / steps)^power that `steps` steps of sampling go through, from 1 to 0, float64."""
        return torch.linspace(1, 0, steps + 1, dtype=torch.float64) ** power


class Restorer(nn.Module, ABC):
    """R(x_t, t) around a raw network F, and the error that it is trained on."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        t = t.to(x).expand(len(x))
        return self.estimate(x, per_point(t, x), self.network(x, t.log() / 2))

    @abstractmethod
    def estimate(self, x: Tensor, t: Tensor, raw: Tensor) -> Tensor:
        """R from the degraded points, their severities (broadcast), and the values of F, all of the shape of `x`."""

    @abstractmethod
    def error(self, degraded: Tensor, t: Tensor, x: Tensor) -> Tensor:
        """The mean error of R at degraded points and their severities `(n,)`, where the points were `x`."""


class AnchoredRestorer(Restorer):
    """R = (1 - t) x_t + t F, for vectors, trained on |R - x|^2 / t^2.

    It leaves points alone as t goes to 0 and asks of F values of the size of the data at every severity. The weight
    makes the error that of F: each severity starts with the same.
    """

    def estimate(self, x: Tensor, t: Tensor, raw: Tensor) -> Tensor:
        return (1 - t) * x + t * raw

    def error(self, degraded: Tensor, t: Tensor, x: Tensor) -> Tensor:
        difference = self(degraded, t) - x
        error: Tensor = (difference.flatten(1) / t.unsqueeze(1)).square().mean()
        return error


class ResidualRestorer(Restorer):
    """R = x_t + F, for images, trained on |R - x|."""

    def estimate(self, x: Tensor, t: Tensor, raw: Tensor) -> Tensor:
        return x + raw

    def error(self, degraded: Tensor, t: Tensor, x: Tensor) -> Tensor:
        error: Tensor = (self(degraded, t) - x).abs().mean()
        return error


class ColdSampler(trilemma.Sampler):
    """Steps from the fully degraded state to data, one evaluation each."""

    steps: int = Field(40, ge=1, description="steps from severity 1 to 0; at most as many as the degradation has")
    power: float = Field(1.0, gt=0, description="exponent of the severities: above 1, steps are shorter near the data")
    fixed_partner: bool = Field(
        False, description="keep the partner of the first step, instead of estimating it anew at each"
    )

    def draw(self, restore: Restore, degrade: Degradation, x: Tensor) -> Tensor:
        """Restore fully degraded states `(n, *shape)`."""
        z: Tensor | None = None
        for t, t_next in pairwise(degrade.times(self.steps, self.power).to(x)):
            estimate = restore(x, t)
            if z is None or not self.fixed_partner:
                z = degrade.estimate_partner(x, estimate, t)
            x = self.step(degrade, x, estimate, t, t_next, z)
        return x

    @abstractmethod
    def step(
        self, degrade: Degradation, x: Tensor, estimate: Tensor, t: Tensor, t_next: Tensor, z: Tensor | None
    ) -> Tensor:
        """The state at severity `t_next` from that at `t` and the estimate of the point behind it."""


class Naive(ColdSampler):
    """Algorithm 1 of Bansal et al. 2023: degrade the restored point again, a little less. `steps` evaluations."""

    name = "naive"

    def step(
        self, degrade: Degradation, x: Tensor, estimate: Tensor, t: Tensor, t_next: Tensor, z: Tensor | None
    ) -> Tensor:
        return degrade(estimate, t_next, z)  # type: ignore[no-any-return]


class Tacos(ColdSampler):
    """Algorithm 2 of Bansal et al. 2023 (TACoS): x - D(R, t) + D(R, t'), where errors of R cancel to first order.

    For D(x, t) = x + t e it is exact whatever R gives (section 3.3). `steps` evaluations.
    """

    name = "tacos"

    def step(
        self, degrade: Degradation, x: Tensor, estimate: Tensor, t: Tensor, t_next: Tensor, z: Tensor | None
    ) -> Tensor:
        return x - degrade(estimate, t, z) + degrade(estimate, t_next, z)  # type: ignore[no-any-return]
