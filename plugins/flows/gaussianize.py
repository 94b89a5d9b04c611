"""The spline that maps a sample to a standard normal one. Spline layers start from it."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .spline import LOG_SLOPE

GAP = 100
"""A gap is a spacing of neighboring points that is larger than the typical spacing there by more than this factor."""


def gaussianizing_spline(x: Tensor, bins: int, bound: float) -> Tensor:
    """Raw parameters `(3 bins - 1, d)` of splines that map each coordinate of a sample `(n, d)` roughly to N(0, 1).

    Knots lie at quantiles of the sample and of N(0, 1), as in one layer of a Gaussianization flow (Meng et al. 2020,
    section 4.1). Where points have the density f, knots have a density proportional to f^0.3, because the sides of a
    peak are as hard to fit as its top. Both ends of a gap between peaks get a knot, and the gap gets almost no mass.
    """
    inner = 0.99 * bound
    x = x.double().clamp(-inner, inner).sort(0).values
    spacings = x.diff(dim=0)
    typical = _smooth(spacings)
    gap = spacings > GAP * typical
    end = torch.full_like(x[:1], bound)
    left = _apart(torch.cat([-end, x.gather(0, _knot_ranks(typical, gap, bins)), end]))
    bottom = torch.special.ndtri(_shares_below(left[1:-1], x, gap)).clamp(-inner, inner)
    sizes = [knots.diff(dim=0).log() for knots in (left, _apart(torch.cat([-end, bottom, end])))]
    secants = sizes[1] - sizes[0]
    slopes = (secants[1:] + secants[:-1]) / 2
    centered = [size - (size.amax(0) + size.amin(0)) / 2 for size in sizes]
    raw = torch.cat([_soft_clip_inverse(torch.cat(centered), LOG_SLOPE / 2), _soft_clip_inverse(slopes, LOG_SLOPE)])
    return raw.float()


def _smooth(spacings: Tensor) -> Tensor:
    """Geometric means over neighboring spacings, `(n - 1, d)`."""
    near = 4
    logs = spacings.clamp_min(1e-6).log().T.unsqueeze(1)
    padded = F.pad(logs, (near, near), mode="replicate")
    return F.avg_pool1d(padded, 2 * near + 1, 1).squeeze(1).T.exp()


def _knot_ranks(typical: Tensor, gap: Tensor, bins: int) -> Tensor:
    """The ranks of the points at which the `bins - 1` inner knots lie, in rising order, `(bins - 1, d)`."""
    effort = typical**0.7
    share = 2 / (bins - 2) if bins > 2 else 0.0
    two_knots = share * effort.sum(0) / (1 - share * gap.sum(0)).clamp_min(0.5)
    passed = F.pad(torch.where(gap, two_knots, effort).cumsum(0), (0, 0, 1, 0)).T.contiguous()
    shares = torch.linspace(0, 1, bins - 1, dtype=passed.dtype, device=passed.device)
    wanted = passed[:, -1:] * shares
    above = torch.searchsorted(passed, wanted).clamp(1, passed.shape[1] - 1)
    start, stop = passed.gather(1, above - 1), passed.gather(1, above)
    return (above - 1 + ((wanted - start) / (stop - start)).round().long()).T


def _apart(knots: Tensor) -> Tensor:
    """The knots `(bins + 1, d)`, where a knot that is too close to the one before it is moved up.

    This is needed because the sizes of the bins of a spline can differ only by a bounded factor.
    """
    least = knots.diff(dim=0).amax(0) * math.exp(-0.9 * LOG_SLOPE)
    steps = least * torch.arange(len(knots), dtype=knots.dtype, device=knots.device).unsqueeze(1)
    return (knots - steps).cummax(0).values + steps


def _shares_below(knots: Tensor, x: Tensor, gap: Tensor) -> Tensor:
    """The share of the sorted points `x`, `(n, d)`, below each knot, in (0, 1), nearly equal at both ends of a gap."""
    n, points, at = len(x), x.T.contiguous(), knots.T.contiguous()
    below, up_to = (torch.searchsorted(points, at, right=right).T for right in (False, True))
    before, after = (F.pad(gap, pad).gather(0, below.clamp_max(n - 1)).double() for pad in ((0, 0, 1, 0), (0, 0, 0, 1)))
    # A point counts as half below itself. The point before a gap counts almost fully, so that the gap gets no mass.
    part = 0.5 + 0.49 * (after - before)
    return ((below + part * (up_to > below)) / n).clamp(0.5 / n, 1 - 0.5 / n)


def _soft_clip_inverse(y: Tensor, bound: float) -> Tensor:
    """The x with soft_clip(x) = y, after y is clipped to 0.9 of the range (-bound, bound) of the soft clip."""
    y = y.clamp(-0.9 * bound, 0.9 * bound)
    return y / (1 - y.abs() / bound)
