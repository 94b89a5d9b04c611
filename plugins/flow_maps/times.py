"""The times of a flow, from noise at time 0 to data at time 1, and the path between noise and data.

The path is x_t = cos(a) z + sin(a) x with the angle a = pi t / 2, one of the interpolants of Albergo et al. 2023. It
has unit variance at every time if the data has.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from ..networks.points import per_point, shuffled

QUARTER = math.pi / 2
"""The angle of the whole path."""

RESOLUTION = 0.005
"""About the smallest angle from the ends of a path that a network tells apart."""


def on_path(x: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """The points at the times `t` `(n,)` on the paths from `noise` to `x` `(n, *shape)`, and their velocities."""
    angle = per_point(QUARTER * t, x)
    sine, cosine = angle.sin(), angle.cos()
    return cosine * noise + sine * x, QUARTER * (cosine * x - sine * noise)


def denoised_velocity(points: Tensor, denoised: Tensor, t: Tensor) -> Tensor:
    """The expected velocity of paths through `points` whose expected data points are `denoised`, both `(n, *shape)`."""
    angle = per_point(QUARTER * t, points)
    return QUARTER * (denoised - angle.sin() * points) / angle.cos()


def noise_level(t: Tensor) -> Tensor:
    """The noise level sigma of a diffusion at the time `t`: x_t / sin(a) is a data point with noise cot(a) z."""
    return 1 / (QUARTER * t).tan()


def time_at(sigma: Tensor) -> Tensor:
    """The time at a noise level, the inverse of `noise_level`."""
    return 1 - sigma.atan() / QUARTER


def time_label(t: Tensor, resolution: float = RESOLUTION) -> Tensor:
    """ln((cos a + r) / (sin a + r)) / 4, of the shape of `t`, where r is the `resolution`.

    It is the label ln(sigma) / 4 of diffusions (Karras et al. 2022, table 1), but finite at both ends.
    """
    angle = QUARTER * t
    return ((angle.cos() + resolution).log() - (angle.sin() + resolution).log()) / 4


def label_rate(t: Tensor, resolution: float = RESOLUTION) -> Tensor:
    """The derivative of `time_label` in `t`, of its shape."""
    sine, cosine = (QUARTER * t).sin(), (QUARTER * t).cos()
    return -QUARTER / 4 * (sine / (cosine + resolution) + cosine / (sine + resolution))


def solver_times(steps: int, sigma_min: float = 0.002, sigma_max: float = 500.0) -> Tensor:
    """`steps` + 1 falling times from 1 to 0, float64, with even steps of ln(sigma) between two noise levels."""
    levels = torch.linspace(math.log(sigma_min), math.log(sigma_max), steps + 1, dtype=torch.float64).exp()
    times = time_at(levels)
    times[0], times[-1] = 1.0, 0.0
    return times


class TimeOptions(trilemma.Config):
    """Options of the times in training."""

    log_level: tuple[float, float] = Field(
        (-0.8, 1.6),
        description="mean and standard deviation of ln(sigma) for times in training, normal as in EDM (-1.2, 1.2)",
    )
    from_end: float = Field(
        0.5, ge=0, le=1, description="share of steps that start at the noise, or at the data if they go back"
    )
    to_data: bool = Field(False, description="whether all steps end at the data, as in consistency models")
    backward: float = Field(
        0.25, ge=0, le=1, description="share of steps that go back, for likelihoods; none with `to_data`"
    )

    def times(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` times in random order whose noise levels are stratified draws of the log-normal distribution."""
        mean, deviation = self.log_level
        normal = math.sqrt(2) * torch.erfinv(2 * shuffled(n, generator).clamp(1e-6, 1 - 1e-6) - 1)
        return time_at((mean + deviation * normal).exp())

    def pairs(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The times `s` and `t` of `n` steps: from noise to data in the first rows, and back in the last ones."""
        one, two = self.times(n, generator), self.times(n, generator)
        s, t = torch.minimum(one, two), torch.maximum(one, two)
        back = torch.arange(n, device=s.device) >= n - round(self.backward * n)
        s, t = torch.where(back, t, s), torch.where(back, s, t)
        whole = torch.rand(n, generator=generator, device=s.device) < self.from_end
        # A step from an end has the first of the two draws as its end, not the larger or smaller one.
        s, t = torch.where(whole, back.to(s), s), torch.where(whole, one, t)
        return (torch.where(back, t, s), torch.ones_like(t)) if self.to_data else (s, t)
