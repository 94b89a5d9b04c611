"""The parts of cold diffusion: a degradation D(x, t), a restorer R(x_t, t), and two samplers that use them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..networks.points import per_point, standard_normal

Restore = Callable[[Tensor, Tensor], Tensor]


class Degradation(nn.Module, ABC):
    """A degradation D(x, t) of severity 0 <= t <= 1, with D(x, 0) = x.

    A degradation keeps what it learns from training points in buffers; their shapes must be known when it is built. A
    degradation with a random end state draws a partner z for each point, towards which the point is degraded.
    """

    @abstractmethod
    def forward(self, x: Tensor, t: Tensor, z: Tensor | None = None) -> Tensor:
        """D(x, t) of points `(n, *shape)` at severities `()` or `(n,)`, with their partners if there are any."""

    def fit(self, x: Tensor, generator: torch.Generator) -> None:
        """Learn from training points `(n, *shape)`."""
        return None

    def partner(self, x: Tensor, generator: torch.Generator) -> Tensor | None:
        """Draw partners for training points; None if the degradation is a function of x and t alone."""
        return None

    def estimate_partner(self, degraded: Tensor, x: Tensor, t: Tensor) -> Tensor | None:
        """The partners z for which D(x, t) with z gives the points `degraded`; None if there are no partners."""
        return None

    def end(self, n: int, generator: torch.Generator) -> Tensor | None:
        """Draw `n` fully degraded states, if their distribution is known.

        With None, a mixture fitted to degraded training points is used instead.
        """
        return None

    def times(self, steps: int, power: float) -> Tensor:
        """The severities (1 - i / steps)^power of `steps` sampling steps, from 1 to 0: `(steps + 1,)`, float64."""
        return torch.linspace(1, 0, steps + 1, dtype=torch.float64) ** power


class Restorer(nn.Module, ABC):
    """Base class of restorers R(x_t, t) around a raw network F, with the error on which they are trained."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        t = t.to(x).expand(len(x))
        return self.estimate(x, per_point(t, x), self.network(x, t.log() / 2))

    @abstractmethod
    def estimate(self, x: Tensor, t: Tensor, raw: Tensor) -> Tensor:
        """R from degraded points `x`, severities `t` that broadcast against `x`, and values `raw` of F."""

    @abstractmethod
    def error(self, degraded: Tensor, t: Tensor, x: Tensor) -> Tensor:
        """The mean error of R against the original points `x`, at `degraded` points of severities `t` `(n,)`."""


class AnchoredRestorer(Restorer):
    """R = (1 - t) x_t + t F, for vectors, trained on |R - x|^2 / t^2.

    As t tends to 0, R tends to the identity, and F has values of the size of the data at every severity. With the
    weight 1 / t^2, the error is the squared error of F, so that all severities start with about the same error.
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
    """Base class of samplers that go from the fully degraded state to data, with one evaluation per step."""

    steps: int = Field(40, ge=1, description="steps from severity 1 to 0; at most as many as the degradation has")
    power: float = Field(1.0, gt=0, description="exponent of the severities; above 1, steps are shorter near the data")
    start_noise: float = Field(
        0.0,
        ge=0,
        description="standard deviation, in model space, of noise that is added to the start; it breaks the symmetry "
        "of a constant image",
    )

    def begin(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Fully degraded states with the noise that breaks their symmetry (Bansal et al. 2023, section 5.2)."""
        return x + self.start_noise * standard_normal(x, generator) if self.start_noise else x

    def holds(self) -> bool:
        """Whether all steps use the partner of the first step, which is the start itself."""
        return True

    def draw(self, restore: Restore, degrade: Degradation, x: Tensor) -> Tensor:
        """Restore fully degraded states `(n, *shape)`."""
        z: Tensor | None = None
        for t, t_next in pairwise(degrade.times(self.steps, self.power).to(x)):
            estimate = restore(x, t)
            if z is None or not self.holds():
                z = degrade.estimate_partner(x, estimate, t)
            x = self.step(degrade, x, estimate, t, t_next, z)
        return x

    @abstractmethod
    def step(
        self, degrade: Degradation, x: Tensor, estimate: Tensor, t: Tensor, t_next: Tensor, z: Tensor | None
    ) -> Tensor:
        """The state at severity `t_next`, from the state `x` at severity `t` and the restored point `estimate`."""


class Naive(ColdSampler):
    """Naive sampling (Bansal et al. 2023, algorithm 1): degrade the restored point again, to a lower severity.

    It takes `steps` evaluations. With one step it gives R itself, the direct reconstruction of the paper. A degradation
    with partners keeps the partner that it starts from.
    """

    name = "naive"

    def step(
        self, degrade: Degradation, x: Tensor, estimate: Tensor, t: Tensor, t_next: Tensor, z: Tensor | None
    ) -> Tensor:
        return degrade(estimate, t_next, z)  # type: ignore[no-any-return]


class Tacos(ColdSampler):
    """TACoS (Bansal et al. 2023, algorithm 2): steps x - D(R, t) + D(R, t'); errors of R cancel to first order.

    For D(x, t) = x + t e it is exact for any R (section 3.3). It takes `steps` evaluations. If a degradation has
    partners, the partner can be estimated at each step as the z with D(R, t) = x. Then x - D(R, t) vanishes, the step
    is that of algorithm 1, and for Gaussian partners it is that of DDIM (section 5.1).
    """

    name = "tacos"
    partner: Literal["estimated", "held"] = Field(
        "estimated",
        description="partner of a degradation with partners: estimated at each step, or held from the start",
    )

    def holds(self) -> bool:
        return self.partner == "held"

    def step(
        self, degrade: Degradation, x: Tensor, estimate: Tensor, t: Tensor, t_next: Tensor, z: Tensor | None
    ) -> Tensor:
        return x - degrade(estimate, t, z) + degrade(estimate, t_next, z)  # type: ignore[no-any-return]
