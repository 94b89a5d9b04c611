"""Points that a user gives, as points of a dataset."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError


def points_of(x: ArrayLike, shape: tuple[int, ...], levels: int | None) -> NDArray[np.float64]:
    """The points `x` as float64 of shape `(n, *shape)`. They may also be flat, `(n, d)`.

    Raises DataError for another shape, for values that are not finite, and for image intensities that are no whole
    numbers from 0 to `levels - 1`.
    """
    try:
        given: NDArray[Any] = np.asarray(x)
        points = np.ascontiguousarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"the points cannot be read as numbers: {error}") from None
    d = math.prod(shape)
    if points.shape[1:] not in (shape, (d,)) or points.ndim < 2:
        flat = "" if shape == (d,) else f" or (n, {d})"
        expected = ", ".join(map(str, ("n", *shape)))
        raise DataError(
            f"the points have the shape {given.shape}; the model has points of the shape ({expected}){flat}"
        )
    finite = np.isfinite(points.reshape(len(points), -1)).all(1)
    if not finite.all():
        raise DataError(
            f"{int((~finite).sum())} of {len(points)} points are not finite, the first in row {_first(~finite)}"
        )
    if levels is not None:
        whole = ((points == np.floor(points)) & (points >= 0) & (points <= levels - 1)).reshape(len(points), -1).all(1)
        if not whole.all():
            raise DataError(
                f"row {_first(~whole)} holds intensities that are not whole numbers from 0 to {levels - 1}; "
                "give the images as intensity levels"
            )
    return points.reshape(len(points), *shape)


def _first(wrong: Any) -> int:
    return int(np.flatnonzero(wrong)[0])
