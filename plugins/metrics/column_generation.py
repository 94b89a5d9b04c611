"""Exact optimal transport by column generation: few arcs, a sparse network simplex, and a scan that proves optimality.

An optimal plan from n points to m points uses at most n + m - 1 of the n m arcs. The algorithm guesses a set of arcs
and solves the problem restricted to them exactly. The dual potentials of the solution give the reduced cost of every
arc that was left out. Arcs with a negative reduced cost are added, and the solver starts again from the same
potentials. When no such arc is left, the plan is optimal over all arcs.

The first set of arcs comes from a coarse problem between the centroids of small cells (multiscale, as in
Gerber & Maggioni 2017 and Schmitzer 2016). It holds the arcs between cells that exchange mass, and the arcs whose
reduced cost under the coarse potentials is smallest. This guess is also good for distant clusters of unequal mass,
where a guess by nearest neighbors fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_CELL = 8  # points per cell of the coarse problem
_GUESS = 20  # arcs per point in the first restricted problem
_ADDED = 10  # most arcs per point that one pass adds
_HOPELESS = 60  # violated arcs per point after which a dense solver is faster
_PASSES = 40
_TOLERANCE = 1e-10  # on reduced costs, in units of the mean squared norm
_GAP = 1e-9  # between the cost and the proven lower bound, relative
_BLOCK = 300_000  # entries of the cost matrix at a time: bounds memory
_SLICE = 50_000  # arcs whose costs are computed at a time
_SMALL = 600  # points up to which all arcs are there from the start
_MAX_ITERATIONS = 100_000_000


class HopelessError(Exception):
    """Column generation gave up on this problem; use a dense solver instead."""


@dataclass(frozen=True)
class Plan:
    """An optimal plan: its cost, the dual potentials that prove it optimal, and the arcs that carry mass."""

    cost: float
    u: Array
    v: Array
    rows: Index
    columns: Index


def solve(x: Array, y: Array, a: Array, b: Array) -> Plan:
    """The optimal plan under squared Euclidean cost from `x` (n, d), weights `a`, to `y` (m, d), weights `b`.

    The weights must be whole numbers with equal sums, so that flows stay exact. The potentials satisfy
    u_i + v_j <= |x_i - y_j|^2 up to rounding, so no plan costs less than sum(a u) + sum(b v). This lower bound equals
    the cost up to a relative error of 1e-9.
    Raises HopelessError if too many arcs are missing after a pass, or if the solver does not converge.
    """
    from ot.lp.emd_wrap import emd_c_sparse

    center = (x.mean(0) + y.mean(0)) / 2
    x, y = x - center, y - center
    scale = float((x * x).sum(1).mean() + (y * y).sum(1).mean())
    arcs, u, v = _start(x, y, a, b)
    for _ in range(_PASSES):
        rows, columns = np.divmod(arcs, len(y))
        costs = _costs(x, y, rows, columns)
        sources, targets, _, cost, u, v, code = emd_c_sparse(
            a, b, rows.astype(np.uint64), columns.astype(np.uint64), costs, _MAX_ITERATIONS, u, v
        )
        if code != 1:
            raise HopelessError("the sparse solver did not converge")
        missing, reduced = _below(x, y, u, v, -_TOLERANCE * scale, most=_HOPELESS * len(x))
        worst = np.zeros(len(y))  # added to v, it removes every violation: the dual solution becomes feasible
        np.minimum.at(worst, missing % len(y), reduced)
        gap = cost - (a @ u + b @ (v + worst))
        if gap <= _GAP * cost + _TOLERANCE / 10 * scale * a.sum():
            return Plan(float(cost), u, v + worst, sources.astype(np.int64), targets.astype(np.int64))
        if len(missing) > _ADDED * len(x):
            missing = missing[np.argpartition(reduced, _ADDED * len(x))[: _ADDED * len(x)]]
        known = len(arcs)
        arcs = np.unique(np.concatenate([arcs, missing]))
        if len(arcs) == known:
            raise HopelessError("the potentials of the sparse solver are not precise enough")
    raise HopelessError(f"arcs are still missing after {_PASSES} passes")


def _start(x: Array, y: Array, a: Array, b: Array) -> tuple[Index, Array | None, Array | None]:
    """The first guess: arcs, as sorted numbers i * m + j, among which a feasible plan exists, and potentials."""
    if max(len(x), len(y)) <= _SMALL:
        return np.arange(len(x) * len(y)), None, None
    cells_x, cells_y = _cells(x), _cells(y)
    (coarse_x, coarse_a), (coarse_y, coarse_b) = _centroids(x, a, cells_x), _centroids(y, b, cells_y)
    coarse = solve(coarse_x, coarse_y, coarse_a, coarse_b)
    v = _transform(y, coarse_x, coarse.u)
    u = _transform(x, y, v)
    v = _transform(y, x, u)
    sample = np.random.default_rng(0).integers(len(x), size=256)
    threshold = np.quantile(
        np.concatenate([block.copy() for block in _reduced(x[sample], y, u[sample], v)]), _GUESS / len(y)
    )
    cheap, _ = _below(x, y, u, v, float(threshold), most=4 * _GUESS * len(x))
    exchanged = [
        np.add.outer(cells_x[i] * len(y), cells_y[j]).ravel() for i, j in zip(coarse.rows, coarse.columns, strict=True)
    ]
    return np.unique(np.concatenate([cheap, *exchanged, _monotone(x, y, a, b)])), u, v


def _cells(points: Array) -> list[Index]:
    """Index sets of at most `_CELL` points each, by a k-d tree that halves the axis of largest variance."""
    pending, done = [np.arange(len(points))], []
    while pending:
        cell = pending.pop()
        if len(cell) <= _CELL:
            done.append(cell)
            continue
        inside = points[cell]
        half = len(cell) // 2
        order = np.argpartition(inside[:, int(np.argmax(inside.var(0)))], half)
        pending += [cell[order[:half]], cell[order[half:]]]
    return done


def _centroids(points: Array, weights: Array, cells: list[Index]) -> tuple[Array, Array]:
    mass = np.array([weights[cell].sum() for cell in cells])
    return np.stack([weights[cell] @ points[cell] for cell in cells]) / mass[:, None], mass


def _monotone(x: Array, y: Array, a: Array, b: Array) -> Index:
    """The arcs of the plan that is optimal along the first principal axis. They make every problem feasible."""
    axis = np.linalg.svd(np.concatenate([x, y])[:: max(1, len(x) // 500)], full_matrices=False)[2][0]
    order_x, order_y = np.argsort(x @ axis), np.argsort(y @ axis)
    ends_x, ends_y = np.cumsum(a[order_x]), np.cumsum(b[order_y])
    ends = np.union1d(ends_x, ends_y)
    rows, columns = np.searchsorted(ends_x, ends), np.searchsorted(ends_y, ends)
    return order_x[rows] * len(y) + order_y[columns]


def _costs(x: Array, y: Array, rows: Index, columns: Index) -> Array:
    """Squared distances along arcs, a slice at a time, because all differences at once may not fit in memory."""
    costs = np.empty(len(rows))
    for start in range(0, len(rows), _SLICE):
        part = slice(start, start + _SLICE)
        difference = x[rows[part]] - y[columns[part]]
        np.einsum("ij,ij->i", difference, difference, out=costs[part])
    return costs


def _reduced(x: Array, y: Array, u: Array, v: Array) -> Iterator[Array]:
    """Blocks of rows of |x_i - y_j|^2 - u_i - v_j, by one matrix product each. All blocks reuse one buffer."""
    left = np.concatenate([-2 * x, ((x * x).sum(1) - u)[:, None], np.ones((len(x), 1))], axis=1)
    right = np.concatenate([y, np.ones((len(y), 1)), ((y * y).sum(1) - v)[:, None]], axis=1).T.copy()
    rows = max(1, _BLOCK // len(y))
    buffer = np.empty((min(rows, len(x)), len(y)))
    for start in range(0, len(x), rows):
        part = left[start : start + rows]
        yield np.matmul(part, right, out=buffer[: len(part)])


def _below(x: Array, y: Array, u: Array, v: Array, threshold: float, most: int) -> tuple[Index, Array]:
    """All arcs with a reduced cost below `threshold`, and these costs. Raises HopelessError for more than `most`."""
    arcs: list[Index] = []
    costs: list[Array] = []
    count = start = 0
    for reduced in _reduced(x, y, u, v):
        found = np.flatnonzero(reduced < threshold)
        count += len(found)
        if count > most:
            raise HopelessError(f"more than {most} arcs have a reduced cost below the threshold")
        arcs.append(found + start)
        start += reduced.size
        costs.append(reduced.ravel()[found])
    return np.concatenate(arcs), np.concatenate(costs)


def _transform(x: Array, y: Array, v: Array) -> Array:
    """The c-transform u_i = min_j |x_i - y_j|^2 - v_j: the best potential that stays feasible."""
    return np.concatenate([block.min(1) for block in _reduced(x, y, np.zeros(len(x)), v)])
