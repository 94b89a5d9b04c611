"""The defects that metrics are tested on: each spoils fresh points of the true distribution in one way."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .panel_data import Supply

Plant = Callable[[int, Supply, float, torch.Generator], Tensor]
"""A function of the number of points, their supply, the amount of the defect and a generator that gives points
`(n, *shape)` in data space, float64.
"""


@dataclass(frozen=True)
class Defect:
    """A defect with two amounts, of which the second is the stronger one. `text` says what an amount means."""

    name: str
    text: str
    amounts: tuple[float, float]
    plant: Plant


def truth(n: int, supply: Supply, amount: float, generator: torch.Generator) -> Tensor:
    """Points without a defect."""
    return supply.take(n, generator)[0]


def shift(n: int, supply: Supply, amount: float, generator: torch.Generator) -> Tensor:
    """Every coordinate is moved by `amount` of its standard deviation."""
    return supply.take(n, generator)[0] + amount * supply.train.std(0)


def scale(n: int, supply: Supply, amount: float, generator: torch.Generator) -> Tensor:
    """Distances from the mean are multiplied by `amount`."""
    mean = supply.train.mean(0)
    return mean + amount * (supply.take(n, generator)[0] - mean)


def mode_scale(n: int, supply: Supply, amount: float, generator: torch.Generator) -> Tensor:
    """Distances from the center of the own mode are multiplied by `amount`."""
    x, labels = supply.take(n, generator)
    centers = supply.data.centers[labels]
    return centers + amount * (x - centers)


def modes_gone(n: int, supply: Supply, amount: float, generator: torch.Generator) -> Tensor:
    """`amount` neighboring modes have no points."""
    keep = torch.ones_like(supply.data.shares)
    keep[(supply.first + torch.arange(round(amount))) % len(keep)] = 0
    return supply.take(n, generator, keep)[0]


def mode_loses(n: int, supply: Supply, amount: float, generator: torch.Generator) -> Tensor:
    """One mode loses the share `amount` of all points to the others."""
    shares = supply.data.shares
    wanted = shares * (1 + amount / (1 - shares[supply.first]))
    wanted[supply.first] = shares[supply.first] - amount
    return supply.take(n, generator, _keep(shares, wanted))[0]


def skewed_modes(n: int, supply: Supply, amount: float, generator: torch.Generator) -> Tensor:
    """The share of each mode is `amount` times that of the one before."""
    shares = supply.data.shares
    rank = (torch.arange(len(shares)) - supply.first) % len(shares)
    return supply.take(n, generator, _keep(shares, shares * amount**rank))[0]


def bridges(n: int, supply: Supply, amount: float, generator: torch.Generator) -> Tensor:
    """The share `amount` of the points lies evenly on segments between points of two neighboring modes."""
    x, labels = supply.take(n, generator)
    count, k = round(amount * n), len(supply.data.shares)
    by_label = [x[labels == label] for label in range(k)]
    spoiled = x.clone()
    for row in range(count):
        next_mode = by_label[(int(labels[row]) + 1) % k]
        if len(next_mode):
            other = next_mode[int(torch.randint(len(next_mode), (), generator=generator))]
            u = torch.rand((), generator=generator, dtype=torch.float64)
            spoiled[row] = (1 - u) * x[row] + u * other
    return spoiled


def outliers(n: int, supply: Supply, amount: float, generator: torch.Generator) -> Tensor:
    """The share `amount` of the points, at least one, lies ten standard deviations away in a random direction."""
    x = supply.take(n, generator)[0]
    count = max(1, round(amount * n))
    away = torch.randn(x[:count].shape, generator=generator, dtype=torch.float64)
    away /= away.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.ndim - 1))
    radius = 10 * supply.train.flatten(1).var(0).mean().sqrt()
    return torch.cat([x[:count] + radius * away, x[count:]])


def duplicates(n: int, supply: Supply, amount: float, generator: torch.Generator) -> Tensor:
    """Each point occurs `amount` times."""
    copies = round(amount)
    unique = supply.take(math.ceil(n / copies), generator)[0]
    return unique.repeat_interleave(copies, 0)[:n]


def memorized(n: int, supply: Supply, amount: float, generator: torch.Generator) -> Tensor:
    """The share `amount` of the points are training points, none of them twice in a set if there are enough."""
    count = round(amount * n)
    passes = -(-count // len(supply.train))
    rows = torch.cat([torch.randperm(len(supply.train), generator=generator) for _ in range(passes)])
    return torch.cat([supply.train[rows[:count]], supply.take(n - count, generator)[0]])


def unrelated(n: int, supply: Supply, amount: float, generator: torch.Generator) -> Tensor:
    """In the share `amount` of the points, each coordinate comes from another point, so that none are related."""
    x = supply.take(n, generator)[0]
    flat = x.flatten(1)
    count = round(amount * n)
    rows = torch.stack([torch.randperm(count, generator=generator) for _ in range(flat.shape[1])], 1)
    shuffled = flat[:count].gather(0, rows)
    return torch.cat([shuffled, flat[count:]]).reshape(x.shape)


def heavy_tails(n: int, supply: Supply, amount: float, generator: torch.Generator) -> Tensor:
    """Within modes, points follow a Student t of `amount` degrees of freedom with the same covariance.

    A Gaussian vector times sqrt((nu - 2) / chi^2_nu) is such a t.
    """
    x, labels = supply.take(n, generator)
    nu = round(amount)
    chi2 = torch.randn((n, nu), generator=generator, dtype=torch.float64).square().sum(1, keepdim=True)
    centers = supply.data.centers[labels]
    return centers + (x - centers) * ((nu - 2) / chi2).sqrt()


def pixel_noise(n: int, supply: Supply, amount: float, generator: torch.Generator) -> Tensor:
    """Gaussian noise of standard deviation `amount`, as a share of the range of intensities."""
    x = supply.take(n, generator)[0]
    return x + amount * _range(supply) * torch.randn(x.shape, generator=generator, dtype=torch.float64)


def blur(n: int, supply: Supply, amount: float, generator: torch.Generator) -> Tensor:
    """The share `amount` of each pixel's intensity is replaced by the binomial mean of its 3 x 3 neighborhood."""
    x = supply.take(n, generator)[0]
    side = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64) / 4
    kernel = (side[:, None] * side).expand(x.shape[1], 1, 3, 3)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
    smooth = torch.nn.functional.conv2d(padded, kernel, groups=x.shape[1])
    return (1 - amount) * x + amount * smooth


def contrast(n: int, supply: Supply, amount: float, generator: torch.Generator) -> Tensor:
    """Distances of intensities from the mean intensity of the data are multiplied by `amount`."""
    mean = supply.train.mean()
    return mean + amount * (supply.take(n, generator)[0] - mean)


def junk(n: int, supply: Supply, amount: float, generator: torch.Generator) -> Tensor:
    """The share `amount` of the images has its own pixels in random order."""
    x = supply.take(n, generator)[0]
    flat, count = x.flatten(1).clone(), round(amount * n)
    for row in range(count):
        flat[row] = flat[row, torch.randperm(flat.shape[1], generator=generator)]
    return flat.reshape(x.shape)


def moved(n: int, supply: Supply, amount: float, generator: torch.Generator) -> Tensor:
    """The share `amount` of the images is moved by one pixel to the right."""
    x = supply.take(n, generator)[0].clone()
    count = round(amount * n)
    x[:count] = torch.cat([torch.zeros_like(x[:count, ..., :1]), x[:count, ..., :-1]], -1)
    return x


def _keep(shares: Tensor, wanted: Tensor) -> Tensor:
    """The probabilities with which points of each mode are kept, so that the modes have shares like `wanted`."""
    ratio = wanted / shares
    return ratio / ratio.max()


def _range(supply: Supply) -> float:
    levels = supply.data.levels
    assert levels is not None
    return levels - 1.0


TRUTH = Defect("truth", "the true distribution itself", (0.0, 0.0), truth)

VECTORS = (
    Defect("shift", "every coordinate moved, in standard deviations", (0.05, 0.2), shift),
    Defect("narrower", "distances from the mean, factor", (0.95, 0.8), scale),
    Defect("wider", "distances from the mean, factor", (1.05, 1.25), scale),
    Defect("modes narrower", "spread within modes, factor", (0.9, 0.7), mode_scale),
    Defect("modes wider", "spread within modes, factor", (1.25, 1.5), mode_scale),
    Defect("modes gone", "modes without points, of 8", (1, 2), modes_gone),
    Defect("mode loses", "share of all points that one mode of 8 loses", (0.05, 0.1), mode_loses),
    Defect("modes skewed", "ratio of the share of a mode and the one before", (0.9, 0.75), skewed_modes),
    Defect("bridges", "share of points between modes", (0.02, 0.05), bridges),
    Defect("outliers", "share of points ten standard deviations away", (0.002, 0.01), outliers),
    Defect("duplicates", "times that each point occurs", (2, 4), duplicates),
    Defect("memorized", "share of training points", (0.5, 1.0), memorized),
    Defect("unrelated", "share of points with unrelated coordinates", (0.1, 0.5), unrelated),
    Defect("heavy tails", "degrees of freedom of a t within modes", (10, 3), heavy_tails),
)
"""The defects of vectors."""

IMAGES = (
    Defect("pixel noise", "standard deviation, share of the range of intensities", (0.03, 0.06), pixel_noise),
    Defect("blur", "share of the mean of 3 x 3 pixels", (0.1, 0.3), blur),
    Defect("contrast", "distances from the mean intensity, factor", (0.93, 0.8), contrast),
    Defect("junk", "share of images with their pixels in random order", (0.02, 0.05), junk),
    Defect("moved", "share of images moved by one pixel", (0.25, 1.0), moved),
    Defect("narrower", "distances from the mean image, factor", (0.95, 0.8), scale),
    Defect("wider", "distances from the mean image, factor", (1.05, 1.25), scale),
    Defect("classes gone", "digits without images, of 10", (1, 2), modes_gone),
    Defect("bridges", "share of images between two images of neighboring digits", (0.02, 0.05), bridges),
    Defect("duplicates", "times that each image occurs", (2, 4), duplicates),
    Defect("memorized", "share of training images", (0.5, 1.0), memorized),
    Defect("unrelated", "share of images whose pixels come from different images", (0.02, 0.1), unrelated),
)
"""The defects of images."""
