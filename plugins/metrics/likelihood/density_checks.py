"""Checks that a log-density is one: a function of one point, the same at each call, and not constant."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import trilemma

Array = NDArray[np.float64]

POINTS = 64  # points at which the density is computed again
FAR = 10.0  # distance of far points, in standard deviations of the data
CONSTANT = "constant log-density"
CHANGES = "log-density changes from call to call"
BATCH = "log-density of a point depends on the other points"
IMPOSSIBLE = "NLL below that of any distribution of images"
SHARE = 0.05  # share of points that must differ: single ones may be numerically unstable


def density_marks(evaluation: trilemma.Evaluation) -> tuple[str, ...]:
    """The reasons why the likelihood of a model of the kind `exact`, `ode` or `map` is not a density; usually none.

    An ODE whose divergence is estimated by random probes changes from call to call, and says so in its details.
    """
    if evaluation.likelihood not in ("exact", "ode", "map"):
        return ()
    test, train = (_points(evaluation, split) for split in ("test", "train"))
    marks = []
    both = torch.cat([test, train])
    together = evaluation.log_prob_at(both, model_space=True)
    spread = np.concatenate([together, evaluation.log_prob_at(_far(evaluation, test), model_space=True)])
    if is_constant(spread):
        marks.append(CONSTANT)
    if evaluation.likelihood == "ode" and _random_probes(evaluation.likelihood_details):
        return tuple(marks)
    alone = evaluation.log_prob_at(test, model_space=True)
    again = evaluation.log_prob_at(test, draw=1, model_space=True)
    if differs(alone, again):
        marks.append(CHANGES)
    elif differs(alone, together[: len(test)]):
        marks.append(BATCH)
    return tuple(marks)


def least_nll(images: Tensor) -> float:
    """The least mean NLL in nats that any distribution can give `images` of intensity levels, `(n, *shape)`.

    It is the entropy of the images themselves, by Gibbs' inequality: log n, if no two of them are equal. It holds for a
    density of images with uniform noise too, because its mean log-density is at most the log-mass of the unit cube.
    """
    counts = torch.unique(images.flatten(1), dim=0, return_counts=True)[1].double()
    shares = counts / counts.sum()
    return float(-(shares * shares.log()).sum())


def is_constant(values: Array) -> bool:
    """Whether log-densities at points near to and far from the data are one number, up to rounding."""
    return bool(np.isfinite(values).all() and np.ptp(values) <= 1e-5 * (1 + np.abs(values).max()))


def differs(one: Array, other: Array) -> bool:
    """Whether two calls gave other log-densities at the same points, beyond what single precision explains."""
    with np.errstate(invalid="ignore"):
        apart = ~(np.abs(one - other) <= 1e-3 + 1e-4 * np.abs(one)) & (one != other)
    return bool(apart.mean() > SHARE)


def _random_probes(details: dict[str, Any]) -> bool:
    return bool(details.get("divergence", "exact") != "exact")


def _points(evaluation: trilemma.Evaluation, split: str) -> Tensor:
    """The first points of a split; levels of images are moved to the middle of their unit intervals."""
    points: Tensor = getattr(evaluation.dataset.splits, split)[:POINTS].double()
    return points if evaluation.dataset.levels is None else points + 0.5


def _far(evaluation: trilemma.Evaluation, points: Tensor) -> Tensor:
    """Points far from the data: in random directions, and for images noise of all intensities."""
    generator = torch.Generator().manual_seed(0)
    if evaluation.dataset.levels is not None:
        return evaluation.dataset.levels * torch.rand(points.shape, generator=generator, dtype=torch.float64)
    train = evaluation.dataset.splits.train.double()
    signs = 2 * torch.randint(2, points.shape, generator=generator) - 1
    return train.mean(0) + FAR * train.std(0) * signs
